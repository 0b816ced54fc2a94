"""A decision on its way into the log: in the order of its thread, with its files and what was said before it."""

import asyncio
from weakref import WeakValueDictionary

import msgspec
import structlog

from schemas.buckets import Turns
from schemas.bus import TURNS
from schemas.inputs import Said, Stop
from schemas.keys import SessionKey, ts_of
from schemas.people import File, Remark
from services.ingress.attachments import Attachments, choose
from services.ingress.capacity import Capacity
from services.ingress.decisions import Refuse, Store
from services.ingress.directory import Directory
from services.ingress.earlier import Earlier
from services.ingress.events import SlackFile
from services.ingress.notices import Notices
from services.ingress.session_log import SessionLog
from services.ingress.sessions import Sessions
from services.ingress.slack_api import SlackError
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

log = structlog.get_logger(__name__)

FILES_WITHIN = EARLIER_WITHIN = 1.2
NEARLY_FULL = "The store of sessions is nearly full, so I take no new work for now; try again later, or tell whoever runs me."
UNREAD = "Slack did not tell me in time what was said in this thread before; tell me what of it matters."


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
        self._log = SessionLog(bus, sessions, directory)
        self._sessions = sessions
        self._notices = notices
        self._earlier = earlier
        self._attachments = attachments
        self._capacity = capacity
        self._limits = limits
        self._turns = Bucket(bus, TURNS.name, Turns)
        self._lanes: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()

    async def store(self, store: Store) -> Refuse | None:
        """Store it, or return why it is refused. A second time is a success that stores nothing."""
        if store.refusal:
            return _refuse(store, "access", store.refusal)
        if isinstance(store.message, Stop):
            await self._log.stop(store)
            return None
        # A message that waits for its files must not be overtaken by the next one of its thread.
        async with self._lanes.setdefault(store.key, asyncio.Lock()):
            return await self._input(store)

    async def _input(self, store: Store) -> Refuse | None:
        if self._log.has(store):
            return None
        if isinstance(store.message, Said):
            return await self._said(store, store.message)
        await self._log.put(store)
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
        await self._log.put(msgspec.structs.replace(store, message=message))
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


def _refuse(store: Store, reason: str, sentence: str) -> Refuse:
    return Refuse(reason=reason, sentence=sentence, place=store.place, id=store.id)
