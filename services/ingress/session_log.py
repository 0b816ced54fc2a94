"""The session's log as ingress writes it: what people say and press, each once, under their names."""

import contextlib
import time

import msgspec

from schemas.base import HEADER_ID, Message
from schemas.bus import SESSIONS
from schemas.inputs import Answered, Continued, Stop
from schemas.operations import Audited
from services.ingress.bounded import Bounded
from services.ingress.decisions import Store
from services.ingress.directory import Directory
from services.ingress.sessions import Sessions
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Conflict
from services.runtime.follow import read
from services.runtime.group_commit import GroupCommit
from services.runtime.topology import DUPLICATE_WINDOW

STORE_WITHIN = 2.0
# Slack brings a mention twice, and what it takes for lost again: what was stored here a moment ago need not be asked.
MOST_STORED = 20_000
# The broker knows a stop again by its id during its window alone; with a margin for clocks that differ.
STOP_IS_LATE = DUPLICATE_WINDOW - 20
# What changes the course of somebody's work leaves a trail, before it is acknowledged.
AUDITED: dict[type, str] = {Answered: "answered", Stop: "stopped", Continued: "continued"}


class SessionLog:
    """Stores messages; a second time is a success that stores nothing. Raises `Unavailable` and `StreamFull`."""

    def __init__(self, bus: Bus, sessions: Sessions, directory: Directory) -> None:
        self._bus = bus
        self._inputs = GroupCommit(bus)
        self._sessions = sessions
        self._directory = directory
        self._stored: Bounded[str, bool] = Bounded(MOST_STORED)

    def has(self, store: Store) -> bool:
        """Whether it is known to be stored; asks nobody."""
        return self._stored.get(_id(store)) is not None

    async def put(self, store: Store) -> None:
        """Store an input."""
        user = await self._directory.named(store.message.user)
        draft = _draft(store, msgspec.structs.replace(store.message, user=user), Fence(0))
        # The subject is the input's own: whoever came first stored the same.
        with contextlib.suppress(Conflict):
            await self._inputs.publish(draft, deadline=STORE_WITHIN)
        await self._done(store)
        self._stored.put(_id(store), True)

    async def stop(self, store: Store) -> None:
        """Store a stop. It waits for nothing, not even for a name, and does not strike again when it comes late."""
        late = time.time() - store.message.at.timestamp() > STOP_IS_LATE
        if not (late and await self._heard(store)):
            user = self._directory.known(store.message.user)
            draft = _draft(store, msgspec.structs.replace(store.message, user=user), None)
            await self._bus.publish(draft, deadline=STORE_WITHIN)
        # Where it is there already, what has to follow it may be missing.
        await self._done(store)

    async def _heard(self, store: Store) -> bool:
        controls = await read(self._bus, SESSIONS.name, [store.message.subject(store.key)])
        return any(control.headers.get(HEADER_ID) == _id(store) for control in controls)

    async def _done(self, store: Store) -> None:
        self._sessions.remember(store.key)
        if did := AUDITED.get(type(store.message)):
            await self._audit(store, did)

    async def _audit(self, store: Store, did: str) -> None:
        key, message = store.key, store.message
        detail = f"{message.question}: {message.choice}" if isinstance(message, Answered) else ""
        audited = Audited(
            team=key.team, who=message.user.id, did=did, session=str(key), detail=detail, at=message.at
        )
        draft = Draft(subject=audited.subject(), message=audited, session=str(key), id=_id(store))
        await self._bus.publish(draft, deadline=STORE_WITHIN)


def _draft(store: Store, message: Message, fence: Fence | None) -> Draft:
    subject = store.message.subject(store.key)
    return Draft(subject=subject, message=message, session=str(store.key), id=_id(store), fence=fence)


def _id(store: Store) -> str:
    return f"{store.key}/{store.id}"
