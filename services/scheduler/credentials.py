"""Workers' credentials: into one session, once, for as long as it is theirs; and the consumers by which they read it."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import structlog

from schemas.base import MalformedMessage
from schemas.buckets import Lease
from schemas.bus import LEASES, SESSIONS, WORK
from schemas.credentials import Credential, Denied, Enter, Knock, OpenReader, Reader, Renew, Secrets
from schemas.keys import SessionKey, token
from schemas.rights import Rights
from schemas.work import Assignment
from schemas.worker_rights import READINGS, filters, pool_rights, reader, session_rights
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.issuer import Issuer
from services.runtime.readers import OwnReaders
from services.runtime.seldom import Seldom
from services.scheduler.grants import Grants
from services.scheduler.requests import Requests

log = structlog.get_logger(__name__)

# How long a worker's credential holds. That for its pool is of use to an agent for what is left of it when work begins.
LIFE_SECONDS = 900.0
POOL_SECONDS = 120.0

_USER = re.compile(r"U[A-Z2-7]{55}")
_ACK = re.compile(
    r"\$JS\.ACK\.(?:[\w-]+\.[\w-]+\.)?WORK\.pool-[\w-]+\.\d+\.(\d+)\.\d+\.\d+\.\d+(?:\.[\w-]+)?", re.ASCII
)


def boot_creds(issuer: Issuer, pool: str, worker: str) -> str:
    """Return the creds file with which `worker` waits in `pool`."""
    return issuer.creds(pool_rights(pool, worker), seconds=POOL_SECONDS)


class Gate(Protocol):
    """Knows the workers of a cluster by the tokens that it gave them."""

    async def refusal(self, pool: str, worker: str, shown: str) -> str:
        """Return why the token `shown` is not that of `worker` in `pool`, empty where it is. Raises `Unavailable`."""


class Credentials:
    """Answers workers. Without an `issuer`, on a broker that asks nobody who they are, it only makes consumers.

    Where there is a `gate`, workers that have no credential yet may knock. `secrets` are read for whoever enters a session.
    """

    def __init__(
        self,
        bus: Bus,
        issuer: Issuer | None,
        grants: Grants,
        gate: Gate | None = None,
        secrets: Callable[[], Secrets] = Secrets,
    ) -> None:
        self._bus = bus
        self._gate = gate
        self._refusals = Seldom()
        self._secrets = secrets
        self._issuer = issuer
        self._grants = grants
        self._leases = Bucket(bus, LEASES.name, Lease)
        self._readers = OwnReaders(bus)

    def requests(self) -> Iterator[Requests]:
        """Yield what there is to answer."""
        yield Requests(self._bus, "reader", 4, self._open)
        if self._issuer:
            yield Requests(self._bus, "stay", 2, self._stay)
            yield Requests(self._bus, "enter", 1, self._enter)
            yield Requests(self._bus, "renew", 4, self._renew)
        if self._issuer and self._gate:
            yield Requests(self._bus, "knock", 2, self._knock)

    async def _knock(self, place: list[str], payload: bytes) -> Credential | Denied:
        request, (pool, worker) = Knock.decode(payload), map(token, place)
        assert self._gate
        if reason := await self._gate.refusal(pool, worker, request.token):
            if self._refusals.due():
                others = self._refusals.others
                log.warning("a knock is refused", pool=pool, worker=worker, reason=reason, others=others)
            return Denied(reason=reason)
        return await self._in_pool(pool, worker, request.user)

    async def _stay(self, place: list[str], payload: bytes) -> Credential | Denied:
        request, (pool, worker) = Renew.decode(payload), map(token, place)
        return await self._in_pool(pool, worker, request.user)

    async def _in_pool(self, pool: str, worker: str, user: str) -> Credential | Denied:
        if await self._grants.of(worker):
            return Denied(reason=f"The worker {worker} has its session already.")
        return self._signed(user, pool_rights(pool, worker), POOL_SECONDS)

    async def _enter(self, place: list[str], payload: bytes) -> Credential | Denied:
        request, worker = Enter.decode(payload), token(place[0])
        assignment = await self._assignment(request.ack)
        if assignment is None or assignment.expires_at <= datetime.now(UTC):
            return Denied(reason="There is no such assignment any more.")
        if not await self._grants.give(worker, assignment.key):
            return Denied(reason=f"The worker {worker} has its session already.", spent=True)
        log.info("let in", worker=worker, session=str(assignment.key))
        rights = session_rights(assignment.key, worker)
        return self._signed(request.user, rights, LIFE_SECONDS, self._secrets())

    async def _assignment(self, ack: str) -> Assignment | None:
        found = _ACK.fullmatch(ack)
        if found is None:
            raise MalformedMessage("`ack` acknowledges no assignment")
        stored = await self._bus.at(WORK.name, int(found[1]))
        return Assignment.decode(stored.data) if stored else None

    async def _renew(self, place: list[str], payload: bytes) -> Credential | Denied:
        request, (key, worker) = Renew.decode(payload), _whose(place)
        held = (await self._leases.get(str(key))).value
        if held is None or held.holder != worker or not await self._grants.keep(worker, key):
            return Denied(reason="The session is not this worker's any more.")
        return self._signed(request.user, session_rights(key, worker), LIFE_SECONDS)

    def _signed(
        self,
        user: str,
        rights: Rights,
        seconds: float,
        secrets: Secrets = Secrets(),  # noqa: B008 (frozen)
    ) -> Credential:
        if self._issuer is None or not _USER.fullmatch(user):
            raise MalformedMessage("`user` is no public key of a user")
        return Credential(jwt=self._issuer.jwt(user, rights, seconds=seconds), secrets=secrets)

    async def _open(self, place: list[str], payload: bytes) -> Reader:
        request, (key, worker) = OpenReader.decode(payload), _whose(place)
        if request.reading not in READINGS:
            raise MalformedMessage("nobody reads that")
        name, subjects = reader(worker, request.reading), filters(key, request.reading)
        made = await self._readers.make_named(name, SESSIONS.name, subjects, "all", max(0, request.after))
        return Reader(consumer=made.name, pending=made.pending, last=made.last)


def _whose(place: list[str]) -> tuple[SessionKey, str]:
    return SessionKey(*place[:3]), token(place[3])
