"""What a session hears: its log in order, and its controls ahead of that."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from nats.aio.msg import Msg

from schemas.base import HEADER_ID, MalformedMessage, Message, Unknown
from schemas.ends import ENDS
from schemas.inputs import CONTROLS, INPUTS, Control
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.counting import count_refused
from services.runtime.follow import Follow
from services.runtime.pull import Delivery
from services.worker.happenings import Happening, Logged, StopHeard

log = structlog.get_logger(__name__)

STORED_AT = "Nats-Sequence"
FAMILIES = {"in": INPUTS, "control": CONTROLS, "end": ENDS}


class Hearing:
    """Reports what is said, pressed and ended in the session `key`.

    `caught_up` is set once all is told that was there when this worker came into the session.
    """

    def __init__(self, bus: Bus, key: SessionKey, report: Callable[[Happening], None]) -> None:
        self._bus = bus
        self._key = key
        self._subject = f"session.{key}.control"
        self._report = report
        self._logged: set[str] = set()
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Listen for ever."""
        control = await self._bus.client.subscribe(self._subject, cb=self._heard)
        try:
            filters = [f"session.{self._key}.{leaf}" for leaf in ("in.*", "control", "end.*")]
            async for delivery in Follow(self._bus, "SESSIONS", filters).deliveries():
                if delivery is None:
                    self.caught_up.set()
                else:
                    self._read(delivery)
        finally:
            if not self._bus.client.is_closed:
                await control.unsubscribe()

    async def _heard(self, message: Msg) -> None:
        # One that the log told first has done its work, and must not hit the turn after.
        known = (message.headers or {}).get(HEADER_ID) in self._logged
        if not known and message.subject == self._subject and (control := _control(message)):
            self._report(StopHeard(control))

    def _read(self, delivery: Delivery) -> None:
        leaf = delivery.subject.split(".")[4]
        if leaf == "control":
            self._logged.add(delivery.headers.get(HEADER_ID, ""))
        if message := _decoded(leaf, delivery):
            self._report(Logged(delivery.sequence, message))


def _control(message: Msg) -> Control | None:
    """Return what was pressed; None for what is none, which the log counts.

    Other workers can have an answer sent here: what JetStream delivers of theirs keeps its subject, and what it answers
    tells its place.
    """
    if STORED_AT in (message.headers or {}):
        return None
    with contextlib.suppress(MalformedMessage):
        if isinstance(control := CONTROLS.decode(message.data), Control):
            return control
    return None


def _decoded(leaf: str, delivery: Delivery) -> Message | Unknown | None:
    try:
        return FAMILIES[leaf].decode(delivery.data)
    except MalformedMessage as e:
        count_refused("worker", "malformed")
        log.warning("passed over", subject=delivery.subject, sequence=delivery.sequence, error=str(e))
        return None
