"""From the pool into a session: the worker shows what it took, and is let into that session and nothing else."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

import structlog
from nats.aio.client import Client

from schemas.base import MalformedMessage
from schemas.credentials import (
    CREDENTIALS,
    READERS,
    Credential,
    Denied,
    Enter,
    OpenReader,
    Reader,
    Renew,
    Secrets,
)
from schemas.keys import SessionKey
from schemas.rights import inbox
from schemas.work import Assignment
from schemas.worker_rights import reading_of
from services.runtime.bus import Bus
from services.runtime.connection import close_connection, open_connection
from services.runtime.errors import Unavailable
from services.runtime.nkey import NKey
from services.runtime.proof import Proof
from services.runtime.pull import Delivery
from services.runtime.readers import Made, Start
from services.runtime.tasks import unattended
from services.worker.considering import Begin, Spent
from services.worker.considering import Enter as Entering
from services.worker.renewal import Renewal
from services.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

ASK_SECONDS = 5.0


class AskedReaders:
    """The consumers of a worker, which the scheduler makes for it: it may read by them, and make none."""

    def __init__(self, bus: Bus, key: SessionKey, worker: str) -> None:
        self._bus = bus
        self._key = key
        self._worker = worker
        self._log: asyncio.Task[Made] | None = None

    def begin(self) -> None:
        """Ask for the log's, which every session reads first: it takes as long as all that comes before."""
        self._log = unattended(asyncio.create_task(self._ask("log", 0), name="reader of the log"))

    async def make(self, stream: str, filters: Sequence[str], start: Start, after: int) -> Made:
        """Return a consumer for what this session reads. Raises `Unavailable`."""
        reading = reading_of(self._key, filters)
        if reading == "log" and not after and (begun := self._log):
            self._log = None
            return await begun
        return await self._ask(reading, after)

    async def _ask(self, reading: str, after: int) -> Made:
        request = OpenReader(reading=reading, after=after)
        subject = OpenReader.subject(self._key, self._worker)
        word = _word(READERS.decode, await self._bus.request(subject, request, deadline=ASK_SECONDS))
        if not isinstance(word, Reader):
            raise Unavailable(f"the session's {reading} cannot be read now: {word}")
        return Made(word.consumer, word.pending, last=word.last)

    def forget(self, stream: str, name: str) -> None:
        """Leave it: it ends by its inactivity, or when it is made anew."""


class Entrance:
    """The way of `worker` into its session; its key is made ahead, and never leaves this process."""

    def __init__(self, pool: Bus, settings: WorkerSettings, on_closed: Callable[[], None]) -> None:
        self._pool = pool
        self._settings = settings
        self._on_closed = on_closed
        self._key = NKey.generate("user")

    async def enter(self, assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus | None:
        """Return the session's bus; None where the scheduler does not let us in. Raises `Spent`, `Unavailable`.

        `begin` is given the session's secrets before that.
        """
        worker, session = self._settings.worker, assignment.key
        request = Enter(user=self._key.public, ack=delivery.reply)
        reply = await self._pool.request(Enter.subject(worker), request, deadline=ASK_SECONDS)
        word = _word(CREDENTIALS.decode, reply)
        if not isinstance(word, Credential):
            log.warning("not let in", session=str(session), reason=str(word))
            if isinstance(word, Denied) and word.spent:
                raise Spent(str(session))
            return None
        begin(word.secrets)
        proof = Proof(self._key, word.jwt)
        client = await open_connection(
            self._settings.nats,
            worker,
            self._on_closed,
            patience=ASK_SECONDS,
            inbox=inbox(worker),
            proof=proof,
        )
        return SessionBus(client, proof, session, self._settings, word.secrets)


class Pool:
    """The worker's place in its pool. `enter` leads from there into a session; None where everybody may do everything."""

    def __init__(self, bus: Bus, enter: Entering | None = None, renewal: Renewal | None = None) -> None:
        self.bus = bus
        self.enter = enter
        self.renewal = renewal
        self._leaving: asyncio.Task[None] | None = None

    @classmethod
    async def guarded(cls, settings: WorkerSettings, proof: Proof, on_closed: Callable[[], None]) -> Self:
        """Wait with the proof of the pool alone; `on_closed` hears that this connection or the session's is lost."""
        name = settings.worker
        client = await open_connection(settings.nats, name, on_closed, inbox=inbox(name), proof=proof)
        bus = Bus(client)
        renewal = Renewal(bus, proof, Renew.in_pool(settings.pool, name))
        return cls(bus, Entrance(bus, settings, on_closed).enter, renewal)

    async def leave(self) -> None:
        """Drop what the pool needed, where the session has a connection of its own; done when any call of it returns."""
        if self.enter is None:
            return
        if self._leaving is None:
            self._leaving = asyncio.create_task(close_connection(self.bus.client), name="leave pool")
        await asyncio.shield(self._leaving)


class SessionBus(Bus):
    """The bus as the worker of one session has it, and the `secrets` that came with the right to it."""

    def __init__(
        self, client: Client, proof: Proof, key: SessionKey, settings: WorkerSettings, secrets: Secrets
    ) -> None:
        super().__init__(client, replicas=settings.nats.replicas, direct=True)
        worker = settings.worker
        self.secrets = secrets
        readers = AskedReaders(self, key, worker)
        readers.begin()
        self.readers = readers
        self.renewal = Renewal(self, proof, Renew.subject(key, worker))


def _word(decode: Callable[[bytes], object], reply: bytes) -> object:
    try:
        return decode(reply)
    except MalformedMessage as e:
        raise Unavailable(f"the scheduler answered something else: {e}") from e
