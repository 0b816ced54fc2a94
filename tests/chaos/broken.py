"""Builds that break one promise each, for the checker to find: what a plausible mistake would have made of a service."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec


def fencing_off() -> None:
    """A holder writes without expecting anything: whoever lost the lease still writes."""
    from services.worker.session_log import SessionLog  # noqa: PLC0415 (only a worker has it)

    real = SessionLog._draft

    def unfenced(self: SessionLog, *args: Any, **more: Any) -> Any:
        draft = real(self, *args, **more)
        return draft if ".end." in draft.subject else msgspec.structs.replace(draft, fence=None)

    SessionLog._draft = unfenced  # type: ignore[method-assign]


def dedupe_off() -> None:
    """Ingress stores an input without expecting that there is none, under a new id each time."""
    from services.ingress import session_log  # noqa: PLC0415 (only ingress has it)

    session_log.Fence = lambda _: None  # type: ignore[assignment,misc]
    session_log._id = lambda store: f"{store.key}/{store.id}/{uuid4()}"


def ack_before_store() -> None:
    """Ingress answers Slack at once, and stores after that."""
    from services.ingress.intake import Intake, Reply  # noqa: PLC0415 (only ingress has it)

    real = Intake.event
    later: set[asyncio.Task[Any]] = set()

    async def event(self: Intake, body: bytes) -> Reply:
        task = asyncio.create_task(real(self, body))
        later.add(task)
        task.add_done_callback(later.discard)
        return Reply()

    Intake.event = event  # type: ignore[method-assign]


def archiver_acks_first() -> None:
    """The archiver acknowledges what it heard, and uploads it after that."""
    from services.archiver.trigger import Trigger  # noqa: PLC0415 (only the archiver has it)

    real = Trigger._hold

    def hold(self: Trigger, session: Any, delivery: Any) -> None:
        real(self, session, delivery)
        asyncio.ensure_future(delivery.ack())  # noqa: RUF006 (as careless as the mistake)

    Trigger._hold = hold  # type: ignore[method-assign]


@dataclass(frozen=True)
class Mistake:
    """Which service makes it, what it takes to see it, and the promise that it breaks."""

    service: str
    make: Callable[[], None]
    only: tuple[str, ...]
    promise: str
    say_every: float = 5.0


MISTAKES = {
    "fencing-off": Mistake(
        "worker",
        fencing_off,
        ("past its lease",),
        "one writer",
        # Most workers are in the middle of a turn then.
        say_every=2.5,
    ),
    "dedupe-off": Mistake("ingress", dedupe_off, ("slack: duplicates",), "once"),
    "ack-before-store": Mistake(
        "ingress", ack_before_store, ("broker: node paused", "service: SIGKILL"), "accepted means stored"
    ),
    "archiver-acks-first": Mistake(
        "archiver",
        archiver_acks_first,
        ("archivers die",),
        "nothing is lost in the archive",
        # What is said next in a session brings what was lost of it with it.
        say_every=20.0,
    ),
}
