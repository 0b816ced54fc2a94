"""Writing a decision into the log: in the order of its thread, once, with its files named."""

import asyncio
import contextlib
import time
from weakref import WeakValueDictionary

import msgspec
import structlog

from schemas.base import HEADER_ID
from schemas.buckets import Turns
from schemas.bus import SESSIONS, TURNS
from schemas.inputs import Answered, Continued, Said, Stop
from schemas.keys import SessionKey, ts_of
from schemas.operations import Audited
from schemas.people import File, Remark
from services.ingress.attachments import Attachments, choose
from services.ingress.bounded import Bounded
from services.ingress.capacity import Capacity
from services.ingress.decisions import Refuse, Store
from services.ingress.directory import Directory
from services.ingress.earlier import Earlier
from services.ingress.events import SlackFile
from services.ingress.notices import Notices
from services.ingress.sessions import Sessions
from services.ingress.slack_api import SlackError
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Conflict
from services.runtime.follow import read
from services.runtime.group_commit import GroupCommit
from services.runtime.topology import DUPLICATE_WINDOW

log = structlog.get_logger(__name__)

STORE_WITHIN = 2.0
FILES_WITHIN = EARLIER_WITHIN = 1.2
# Slack brings a mention twice, and what it takes for lost again: what was stored here a moment ago need not be asked.
MOST_STORED = 20_000
# The broker knows a stop again by its id during its window alone; with a margin for clocks that differ.
STOP_IS_LATE = DUPLICATE_WINDOW - 20
NEARLY_FULL = "The store of sessions is nearly full, so I take no new work for now; try again later, or tell whoever runs me."
UNREAD = "Slack did not tell me in time what was said in this thread before; tell me what of it matters."
# What changes the course of somebody's work leaves a trail, before it is acknowledged.
AUDITED: dict[type, str] = {Answered: "answered", Stop: "stopped", Continued: "continued"}


class Limits(msgspec.Struct, frozen=True):
    """How many files a message may bring, of how many bytes each."""

    files: int
    file_bytes: int


class Storing:
    """Stores settled decisions. Raises `Unavailable` and `StreamFull`."""

    def __init__(
        self,
        bus: Bus,
        *,
        sessions: Sessions,
        directory: Directory,
        notices: Notices,
        earlier: Earlier,
        attachments: Attachments,
        capacity: Capacity,
        limits: Limits,
    ) -> None:
        self._bus = bus
        self._inputs = GroupCommit(bus)
        self._sessions = sessions
        self._directory = directory
        self._notices = notices
        self._earlier = earlier
        self._attachments = attachments
        self._capacity = capacity
        self._limits = limits
        self._turns = Bucket(bus, TURNS.name, Turns)
        self._stored: Bounded[str, bool] = Bounded(MOST_STORED)
        self._lanes: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()

    async def store(self, store: Store) -> Refuse | None:
        """Store it, or return why it is refused. A second time is a success that stores nothing."""
        if store.refusal:
            return _refuse(store, "access", store.refusal)
        if isinstance(store.message, Stop):
            await self._stop(store, store.message)
            return None
        # A message that waits for its files must not be overtaken by the next one of its thread.
        async with self._lanes.setdefault(store.key, asyncio.Lock()):
            return await self._input(store)

    async def _input(self, store: Store) -> Refuse | None:
        if self._stored.get(_id(store)):
            return None
        if isinstance(store.message, Said):
            return await self._said(store, store.message)
        await self._publish(store, Fence(0))
        return None

    async def _said(self, store: Store, said: Said) -> Refuse | None:
        if self._capacity.tight and not await self._steers(store.key):
            return _refuse(store, "nearly_full", NEARLY_FULL)
        files, complaint = choose(store.attached, self._limits.files, self._limits.file_bytes)
        if not files and not said.text:
            return _refuse(store, "files", complaint)
        self._sessions.announce(store.key, ts_of(said.id))
        references, earlier = await self._with_it(store, files)
        message = msgspec.structs.replace(said, files=references, earlier=earlier)
        await self._publish(msgspec.structs.replace(store, message=message), Fence(0))
        if complaint:
            self._notices.tell(store.place, complaint, f"{store.place.channel}/{store.id}/files")
        return None

    async def _with_it(
        self, store: Store, files: tuple[SlackFile, ...]
    ) -> tuple[tuple[File, ...], tuple[Remark, ...]]:
        """Return what comes along: the message's files, and what its thread held before."""
        if not files:
            return (), await self._said_before(store)
        return await asyncio.gather(
            self._attachments.bring(store.key, files, FILES_WITHIN), self._said_before(store)
        )

    async def _said_before(self, store: Store) -> tuple[Remark, ...]:
        """Return what the thread held before a session begins in it; nothing in one that began before."""
        if store.place.thread_ts is None or await self._sessions.begun(store.key):
            return ()
        try:
            async with asyncio.timeout(EARLIER_WITHIN):
                return await self._earlier.before(store.key, ts_of(store.id))
        except (SlackError, TimeoutError) as e:
            log.warning("a thread was not read", session=str(store.key), error=str(e))
            self._notices.tell(store.place, UNREAD, f"{store.place.channel}/{store.id}/unread")
            return ()

    async def _steers(self, key: SessionKey) -> bool:
        turns = (await self._turns.get(str(key))).value
        return turns is not None and turns.open is not None

    async def _stop(self, store: Store, stop: Stop) -> None:
        if time.time() - stop.at.timestamp() > STOP_IS_LATE and await self._heard(store):
            return
        await self._publish(store, None)

    async def _heard(self, store: Store) -> bool:
        controls = await read(self._bus, SESSIONS.name, [store.message.subject(store.key)])
        return any(control.headers.get(HEADER_ID) == _id(store) for control in controls)

    async def _publish(self, store: Store, fence: Fence | None) -> None:
        # A stop waits for nothing, not even for a name.
        said_by = store.message.user
        stop = isinstance(store.message, Stop)
        user = self._directory.known(said_by) if stop else await self._directory.named(said_by)
        message = msgspec.structs.replace(store.message, user=user)
        draft = Draft(
            subject=message.subject(store.key),
            message=message,
            session=str(store.key),
            id=_id(store),
            fence=fence,
        )
        # The subject is the input's own: whoever came first stored the same.
        with contextlib.suppress(Conflict):
            await (self._inputs if fence else self._bus).publish(draft, deadline=STORE_WITHIN)
        self._sessions.remember(store.key)
        if did := AUDITED.get(type(message)):
            await self._audit(store, did)
        self._stored.put(_id(store), True)

    async def _audit(self, store: Store, did: str) -> None:
        key, who = store.key, store.message.user.id
        detail = (
            f"{store.message.question}: {store.message.choice}" if isinstance(store.message, Answered) else ""
        )
        audited = Audited(
            team=key.team, who=who, did=did, session=str(key), detail=detail, at=store.message.at
        )
        draft = Draft(subject=audited.subject(), message=audited, session=str(key), id=_id(store))
        await self._bus.publish(draft, deadline=STORE_WITHIN)


def _id(store: Store) -> str:
    return f"{store.key}/{store.id}"


def _refuse(store: Store, reason: str, sentence: str) -> Refuse:
    return Refuse(reason=reason, sentence=sentence, place=store.place, id=store.id)
