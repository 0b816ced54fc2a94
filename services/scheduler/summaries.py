"""The bucket `sessions`: each session at a glance."""

from collections import OrderedDict
from collections.abc import Callable

from msgspec.structs import replace

from schemas.base import now
from schemas.buckets import Summary, Turns
from schemas.bus import SUMMARIES
from schemas.ends import TurnEnd
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus
from services.runtime.errors import Conflict
from services.scheduler.core import Held
from services.scheduler.metrics import TURNS

AT_HAND = 10_000


def status_of(memory: Turns, held: Held | None) -> str:
    """Return `working`, `queued`, `closed` or `idle`."""
    if memory.open:
        return "working" if held and not held.ours else "queued"
    if memory.waiting:
        return "queued"
    return "closed" if memory.closed_at else "idle"


def with_end(summary: Summary, end: TurnEnd) -> Summary:
    """Return `summary` at rest with one more turn; one that it already contains changes nothing.

    What waits behind the turn is shown again in a moment. Were it left `working`, a replica that showed it at rest before
    would take it for shown.
    """
    if end.turn <= summary.last_turn:
        return summary
    return replace(
        summary,
        status="idle",
        turns=summary.turns + 1,
        cost_usd=summary.cost_usd + end.cost_usd,
        last_turn=end.turn,
        last_outcome=end.outcome,
        repo=summary.repo or end.repo,
        branch=summary.branch or end.branch,
        agent=end.agent or summary.agent,
    )


class Summaries:
    """Writes summaries; fields that others write are left as they are."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, SUMMARIES.name, Summary)
        self._known: OrderedDict[SessionKey, Entry[Summary]] = OrderedDict()

    async def ended(self, key: SessionKey, end: TurnEnd) -> None:
        """Count a turn, once, however often and by whomever it is heard. Raises `Unavailable`."""
        if await self._change(key, end.user, lambda summary: with_end(summary, end)):
            TURNS.labels(end.outcome).inc()

    async def reflect(self, key: SessionKey, memory: Turns, held: Held | None) -> None:
        """Show what the session is doing, unless that is known to be over. Raises `Unavailable`."""
        status = status_of(memory, held)
        turn, user = memory.foremost or (None, None)

        def shown(summary: Summary) -> Summary:
            over = turn is not None and turn <= summary.last_turn
            return summary if over else replace(summary, status=status)

        await self._change(key, user, shown)

    async def of(self, key: SessionKey) -> Summary | None:
        """Return the session at a glance, None where nothing is known of it. Raises `Unavailable`."""
        # What is at hand may lack what another replica wrote.
        entry = await self._bucket.get(str(key))
        self._keep(key, entry)
        return entry.value

    async def _change(
        self, key: SessionKey, user: Person | None, change: Callable[[Summary], Summary]
    ) -> bool:
        """Write what `change` makes of the summary; False where that is nothing new, or nobody's."""
        while True:
            entry = self._known.pop(key, None) or await self._bucket.get(str(key))
            if entry.value is None and user is None:
                return False
            # Who was never shown at work is at rest: a turn that came and went needs no second write.
            old = entry.value or Summary(status="idle", user=user or Person(id=""))
            new = change(old)
            if new == old:
                self._keep(key, entry)
                return False
            new = replace(new, updated_at=now())
            try:
                revision = await self._bucket.put(str(key), new, entry.revision)
            except Conflict:
                continue
            self._keep(key, Entry(str(key), new, revision))
            return True

    def _keep(self, key: SessionKey, entry: Entry[Summary]) -> None:
        self._known[key] = entry
        if len(self._known) > AT_HAND:
            self._known.popitem(last=False)
