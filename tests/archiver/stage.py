"""Sessions that are written to, and archivers that archive them."""

import asyncio
import contextlib
import time

from schemas.ends import TurnEnd
from schemas.events import TextBlock
from schemas.inputs import Said
from schemas.keys import SessionKey
from schemas.people import Person
from services.archiver.app import wire
from services.archiver.folder import Folder
from services.archiver.objects import Span, session_prefix
from services.archiver.settings import ArchiverSettings
from services.archiver.store import Store
from services.runtime.bus import Draft
from services.runtime.follow import read
from services.runtime.health import Readiness
from services.runtime.tasks import cancel
from tests.archiver.lines import decode

KEY = SessionKey("T1", "C1", "1712345678-123456")
OTHER = SessionKey("T1", "C1", "1712345678-999999")
ANN = Person(id="U1", name="Ann")


async def say(bus, text="hello", key=KEY, input_id="1"):
    message = Said(id=input_id, user=ANN, text=text)
    return await bus.publish(Draft(subject=message.subject(key), message=message, session=str(key)))


async def tell(bus, text="word", key=KEY):
    message = TextBlock(block=0, text=text)
    return await bus.publish(Draft(subject=message.subject(key), message=message, session=str(key)))


async def end(bus, turn=1, key=KEY):
    message = TurnEnd(turn=turn, outcome="completed", inputs=(turn,), user=ANN)
    return await bus.publish(Draft(subject=message.subject(key), message=message, session=str(key)))


async def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def archiver(bus, folder, **settings):
    service = await wire(bus, Readiness({}), ArchiverSettings(folder=folder, **settings))
    running = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        await cancel(running)


async def described(store, name):
    """What the listing says of an object, None where there is none."""
    return {info.name: info async for info in store.list(name)}.get(name)


async def archived(folder, key=KEY):
    """Every record of a session that is in an object, in the order of the objects."""
    store = Store(Folder(folder))
    found = []
    async for info in store.list(session_prefix(key)):
        if info.name.endswith(".jsonl.gz") and Span.read(info).count:
            found += decode(await store.read(info.name))
    await store.close()
    return found


async def reaches(folder, sequence, key=KEY):
    async def there():
        records = await archived(folder, key)
        return records if records and records[-1].seq >= sequence else None

    return await until(there)


async def acknowledged(bus):
    async def nothing_left():
        info = await bus.api("CONSUMER.INFO.SESSIONS.archiver", None)
        return not info["num_ack_pending"] and not info["num_pending"]

    return await until(nothing_left)


async def is_whole(bus, folder, key=KEY):
    """Archive and stream tell the same of a session: each event once, in order, as it came."""
    records = await archived(folder, key)
    stored = await read(bus, "SESSIONS", [f"session.{key}.>"])
    assert [(r.seq, r.subject, r.payload, r.headers) for r in records] == [
        (d.sequence, d.subject, d.data, dict(d.headers)) for d in stored
    ]
