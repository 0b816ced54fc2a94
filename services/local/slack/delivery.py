"""Brings events and presses to the app: over a socket if one is open, else over HTTP; again if it was not taken."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from services.local.slack.clock import Clock
from services.local.slack.events import Kind
from services.local.slack.faults import DeliveryKind, Faults
from services.local.slack.http_transport import HttpTransport
from services.local.slack.model import Json
from services.local.slack.parcels import NotTakenError, Parcel
from services.local.slack.socket_mode import Sockets

# Slack waits 3 s for the acknowledgement, and tries again at once, after a minute and after five.
ACK_WITHIN = 3.0
RETRIES = (0.0, 60.0, 300.0)
MOST_UNDER_WAY = 10_000

Way = Callable[[Parcel], Awaitable[Json]]


class Delivery:
    """Carries payloads to the app, each in a task of its own; `stop` ends them all. `given_up` counts the lost."""

    def __init__(self, *, http: HttpTransport, sockets: Sockets, faults: Faults, clock: Clock) -> None:
        self._http = http
        self._sockets = sockets
        self._faults = faults
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.given_up = 0

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, kind: Kind, payloads: list[Json], place: str, *, by_person: bool = True) -> None:
        """Set the payloads of one act on their way; those of one `place` keep their order at the first attempt."""
        copies = self._faults.copies() if by_person else 1
        late = self._faults.strikes("delay") if by_person else None
        for payload in payloads:
            parcel = Parcel(kind, payload, by_person=by_person)
            if copies > 1:
                self._begin(self._flood(parcel, copies))
            else:
                self._begin(self._first(parcel, place, late.seconds if late else 0.0))

    async def submit(self, kind: Kind, payload: Json) -> Json:
        """Deliver once and give the app's answer. Raises NotTakenError: an interaction is not tried again."""
        return await self._attempt(Parcel(kind, payload))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= MOST_UNDER_WAY:
            work.close()
            self.given_up += 1
            return
        task = asyncio.create_task(work, name="deliver")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _first(self, parcel: Parcel, place: str, delay: float) -> None:
        """The first attempt in its turn, and what has to follow."""
        await asyncio.sleep(delay)
        async with self._order[place]:
            failure = await self._failure(parcel)
        await self._again(parcel, failure)

    async def _again(self, parcel: Parcel, failure: NotTakenError | None) -> None:
        """Slack's schedule of retries; an interaction has none."""
        for attempt, wait in enumerate(RETRIES if parcel.kind == "events_api" else (), start=1):
            if failure is None or failure.final:
                break
            await self._clock.sleep(wait)
            failure = await self._failure(parcel._replace(attempt=attempt, reason=str(failure)))
        self.given_up += failure is not None

    async def _flood(self, parcel: Parcel, copies: int) -> None:
        """The same payload many times at once, over every transport in turn."""
        ways: list[Way] = [connection.deliver for connection in self._sockets.open]
        if self._http.url or not ways:
            ways.append(self._http.deliver)
        attempts = (
            ways[number % len(ways)](parcel._replace(attempt=number, reason="http_timeout" if number else ""))
            for number in range(max(copies, len(ways)))
        )
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        if not any(isinstance(answer, dict) for answer in answers):
            await self._again(parcel, NotTakenError("http_timeout"))

    async def _failure(self, parcel: Parcel) -> NotTakenError | None:
        """Why this attempt was not taken, None if it was."""
        try:
            await self._attempt(parcel)
        except NotTakenError as e:
            return e
        return NotTakenError("http_timeout") if self._struck("drop_ack", parcel) else None

    async def _attempt(self, parcel: Parcel) -> Json:
        connection = self._sockets.pick()
        if not self._struck("disconnect", parcel):
            return await (connection.deliver if connection else self._http.deliver)(parcel)
        if connection is None:
            await self._http.deliver_half(parcel)
        else:
            with contextlib.suppress(ConnectionError):
                await connection.send(parcel)
            await connection.disconnect("refresh_requested")
        raise NotTakenError("connection_failed")

    def _struck(self, kind: DeliveryKind, parcel: Parcel) -> bool:
        return parcel.by_person and self._faults.strikes(kind) is not None
