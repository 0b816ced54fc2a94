"""What a test orders to go wrong, and how often still."""

import fnmatch
from typing import Annotated, Literal

import msgspec

from services.local.slack.model import Json

MOST_FAULTS = 1_000
Times = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
DeliveryKind = Literal["duplicate", "delay", "drop_ack", "disconnect"]


class CallFault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The next `times` calls of a method (`chat.*` is a pattern) go wrong.

    `status` and `retry_after` (seconds) with or without Slack's `error`; or `lose_reply`: carried out, but the
    connection is cut instead of answered.
    """

    method: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 200
    error: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    retry_after: Annotated[int, msgspec.Meta(ge=1, le=3600)] | None = None
    lose_reply: bool = False
    times: Times = 1

    def problem(self) -> str | None:
        """Why this would do nothing, in one sentence."""
        if self.status == 200 and self.error is None and not self.lose_reply:
            return "Give the fault a status, an error or lose_reply."
        return None

    def body(self) -> Json:
        """What Slack would answer."""
        return {
            "ok": False,
            "error": self.error or ("ratelimited" if self.status == 429 else "internal_error"),
        }


class DeliveryFault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The next deliveries go wrong.

    `duplicate`: the next thing a person does arrives `times` times, over every transport at once. `delay`: the next
    `times` things wait `seconds`. `drop_ack`: the next `times` acknowledgements are lost. `disconnect`: in the next
    `times` attempts the connection breaks before the acknowledgement.
    """

    deliver: DeliveryKind
    times: Times = 1
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0


class Faults:
    """The faults still to come, in the order in which they were ordered."""

    def __init__(self) -> None:
        self._calls: list[CallFault] = []
        self._deliveries: list[DeliveryFault] = []

    def order(self, fault: CallFault | DeliveryFault) -> None:
        """Add one. Raises ValueError where too many wait already."""
        if len(self._calls) + len(self._deliveries) >= MOST_FAULTS:
            raise ValueError(f"At most {MOST_FAULTS} faults may wait; let some happen first.")
        if isinstance(fault, CallFault):
            self._calls.append(fault)
        else:
            self._deliveries.append(fault)

    def clear(self) -> None:
        """Forget all that have not happened."""
        self._calls.clear()
        self._deliveries.clear()

    def for_call(self, method: str) -> CallFault | None:
        """The fault that this call meets; one of its times is used up."""
        for fault in self._calls:
            if fnmatch.fnmatchcase(method, fault.method):
                fault.times -= 1
                if not fault.times:
                    self._calls.remove(fault)
                return fault
        return None

    def copies(self) -> int:
        """How many times the next thing is delivered; the fault is used up at once."""
        for fault in self._deliveries:
            if fault.deliver == "duplicate":
                self._deliveries.remove(fault)
                return fault.times
        return 1

    def strikes(self, kind: DeliveryKind) -> DeliveryFault | None:
        """The fault of this kind that comes next; one of its times is used up."""
        for fault in self._deliveries:
            if fault.deliver == kind:
                fault.times -= 1
                if not fault.times:
                    self._deliveries.remove(fault)
                return fault
        return None
