"""One assignment of the pool, considered: taken with its session's lease, or answered so that nobody waits for it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from nats.errors import Error as NatsError

from schemas.base import MalformedMessage
from schemas.credentials import Secrets
from schemas.keys import InvalidKey
from schemas.work import Assignment
from services.runtime.bus import Bus
from services.runtime.connection import close_connection
from services.runtime.dead_letters import bury
from services.runtime.errors import NOT_NOW, Closed, SettingsError, Unavailable
from services.runtime.pull import Delivery, Silent
from services.runtime.tasks import cancel
from services.runtime.traceparent import within
from services.worker.lease import LOOK_AGAIN_SECONDS, HeldLease, Occupied, acquire

if TYPE_CHECKING:  # it is loaded beside the way into the pool
    from services.worker.opening import Opening

# After which what we cannot take is given to somebody else, or to us again.
GIVEN_BACK_SECONDS = 0.5
# What may go well at another time.
LATER = Silent, Occupied, *NOT_NOW, NatsError


# Begins what need not wait for the lease of an assignment, as soon as the session's secrets are here.
Ahead = Callable[[Assignment, Secrets], "Opening | None"]
Begin = Callable[[Secrets], None]
# Lets the worker into the session of an assignment: the bus to work on, None where it may not. Its secrets are told first.
Enter = Callable[[Assignment, Delivery, Begin], Awaitable[Bus | None]]


class Spent(Exception):
    """This worker was let into a session, and cannot have this one: it is of no use any more."""


class Taken(msgspec.Struct, frozen=True):
    """An assignment whose lease is ours, with the `headers` that it came with; `bus` is the session's.

    Its workspace is `opening` where that was begun ahead.
    """

    assignment: Assignment
    headers: Mapping[str, str]
    lease: HeldLease
    bus: Bus
    opening: "Opening | None" = None


class Considering:
    """Considers `delivery` for `worker`. Until it is answered it is ours, though its consumer waits `ack_wait` seconds only."""

    def __init__(
        self,
        bus: Bus,
        worker: str,
        delivery: Delivery,
        enter: Enter | None,
        *,
        ack_wait: float,
        ahead: Ahead,
    ) -> None:
        self._bus = bus
        self._worker = worker
        self._delivery = delivery
        self._enter = enter
        self._ack_wait = ack_wait
        self._ahead = ahead
        self._opening: Opening | None = None
        self._ours_until = time.monotonic() + ack_wait
        self._leaving = False

    async def to_its_end(self) -> Taken | None:
        """Return the assignment where it is ours now, even when cancelled meanwhile: a lease half taken would count as a death.

        Raises `Spent`, `SettingsError` and what is `LATER`, with the assignment given back where that can be said.
        """
        task = asyncio.create_task(self._answered(), name="consider")
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                self._leaving = True
        if not self._leaving:
            return task.result()
        with contextlib.suppress(SettingsError, *LATER):  # there is no later for who has to go
            if taken := task.result():
                return taken
        raise asyncio.CancelledError

    async def _answered(self) -> Taken | None:
        keeping = asyncio.create_task(self._keep(), name="keep assignment")
        taken: Taken | None = None
        try:
            taken = await self._considered()
        except (SettingsError, *LATER):
            await self._give_back(GIVEN_BACK_SECONDS)
            raise
        finally:
            try:
                await cancel(keeping)
            finally:
                if self._opening and not taken:
                    await self._opening.close()
        return taken

    async def _keep(self) -> None:
        while self._is_ours():
            await asyncio.sleep(self._ack_wait / 3)
            if self._is_ours():
                await self._delivery.working()
                self._ours_until = time.monotonic() + self._ack_wait

    async def _give_back(self, after: float) -> None:
        if self._is_ours():
            await self._delivery.retry(after)

    def _is_ours(self) -> bool:
        # What waits for a reconnection may be said of an assignment that somebody else has by then.
        return self._bus.connected and time.monotonic() < self._ours_until

    async def _considered(self) -> Taken | None:
        try:
            assignment = Assignment.decode(self._delivery.data)
            _ = assignment.key  # one that is none is found out here
        except (MalformedMessage, InvalidKey) as e:
            await bury(self._bus, "worker", self._delivery, str(e))
            await self._delivery.terminate()
            return None
        if _is_over(assignment):
            await self._delivery.ack()
            return None
        session = await self._entered(assignment)
        if session is None:
            await self._give_back(GIVEN_BACK_SECONDS)
            return None
        return await self._leased(assignment, session)

    async def _entered(self, assignment: Assignment) -> Bus | None:
        begin = partial(self._begin, assignment)
        if self._enter is None:
            begin(Secrets())
            return self._bus
        try:
            return await self._enter(assignment, self._delivery, begin)
        except Spent:
            await self._give_back(0)  # whoever was let into no session yet may have it
            raise

    def _begin(self, assignment: Assignment, secrets: Secrets) -> None:
        with within(self._delivery.headers):
            self._opening = self._ahead(assignment, secrets)

    async def _leased(self, assignment: Assignment, session: Bus) -> Taken | None:
        try:
            lease = await self._acquired(assignment, session)
        except BaseException:
            await self._leave(session)
            raise
        # If we die from here on, the lease tells: nobody needs the assignment any more.
        await self._delivery.ack()
        if lease:
            return Taken(assignment, self._delivery.headers, lease, session, self._opening)
        await self._leave(session)
        if session is self._bus:
            return None
        raise Spent(str(assignment.key))

    async def _acquired(self, assignment: Assignment, session: Bus) -> HeldLease | None:
        def patient() -> bool:
            return not (self._leaving or _is_over(assignment))

        while True:
            try:
                return await acquire(session, assignment.key, self._worker, patient, new=assignment.new)
            except Unavailable as e:
                # It may be ours, unheard: whoever else looks at it takes it for that of somebody at work.
                if isinstance(e, Closed) or not patient():
                    raise
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _leave(self, session: Bus) -> None:
        if session is not self._bus:
            await close_connection(session.client)


def _is_over(assignment: Assignment) -> bool:
    return assignment.expires_at <= datetime.now(UTC)
