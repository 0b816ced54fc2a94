"""Moving the stream past the archive, before anybody publishes.

A restored or rolled-back broker would give out sequences a second time, and what is stored under them would be taken
for archived. An empty stream is told where to go on. One that holds something is filled up with messages of no
session, which are removed again: nothing else is touched.
"""

import structlog

from schemas.bus import SESSIONS
from schemas.state import StateAppended
from services.archiver.backend import Corrupt
from services.archiver.core import FILLER
from services.archiver.objects import highest
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.runtime.bus import Bus, Draft

log = structlog.get_logger(__name__)

_BATCH = 1000  # the server's limit for one atomic batch


async def move_past_archive(bus: Bus, store: Store, stream: SessionsStream) -> None:
    """Let the stream's next sequence be one that no object knows.

    Raises `StoreError`, both `Unavailable`, and `StreamFull` where the stream has no room for a batch.
    """
    known = await _highest(store)
    state = await stream.state()
    if state.last_seq < known:
        log.warning(
            "the stream is behind the archive, and moves past it", last=state.last_seq, archived=known
        )
        if state.messages == 0:
            await stream.skip_to(known + 1)
        else:
            await _fill(bus, stream, state.last_seq, known)
    # Those of a start that was cut off, too.
    await stream.purge(FILLER, (await stream.state()).last_seq + 1)


async def _highest(store: Store) -> int:
    known = 0
    async for info in store.list("v1/"):
        try:
            known = max(known, highest([info], SESSIONS.name))
        except Corrupt as e:
            log.warning("an object is passed over", reason=str(e))
    return known


async def _fill(bus: Bus, stream: SessionsStream, last: int, known: int) -> None:
    filler = StateAppended(batch="filler", entries="[]")
    while last < known:
        # The stream need have room for one batch alone.
        await stream.purge(FILLER, last + 1)
        count = min(_BATCH, known - last)
        last = await bus.publish_batch(
            [Draft(subject=filler.subject(FILLER), message=filler) for _ in range(count)]
        )
