"""Builds that break one promise each, for the checker to find: what a plausible mistake would have made of a service."""

import asyncio
from collections.abc import Callable
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
    from services.ingress import storing  # noqa: PLC0415 (only ingress has it)

    storing.Fence = lambda _: None  # type: ignore[assignment,misc]
    storing._id = lambda store: f"{store.key}/{store.id}/{uuid4()}"


def ack_before_store() -> None:
    """Ingress answers Slack at once, and stores after that."""
    from services.ingress.storing import Storing  # noqa: PLC0415 (only ingress has it)

    real = Storing.store
    later: set[asyncio.Task[Any]] = set()

    async def store(self: Storing, decision: Any) -> None:
        task = asyncio.create_task(real(self, decision))
        later.add(task)
        task.add_done_callback(lambda done: (later.discard(done), done.cancelled() or done.exception()))

    Storing.store = store  # type: ignore[method-assign,assignment]


def archiver_acks_first() -> None:
    """The archiver acknowledges what it heard, and uploads it after that."""
    from services.archiver.trigger import Trigger  # noqa: PLC0415 (only the archiver has it)

    real = Trigger._hold

    def hold(self: Trigger, session: Any, delivery: Any) -> None:
        real(self, session, delivery)
        asyncio.ensure_future(delivery.ack())  # noqa: RUF006 (as careless as the mistake)

    Trigger._hold = hold  # type: ignore[method-assign]


# The service that is broken, by the name of the mistake.
SERVICE = {
    "fencing-off": "worker",
    "dedupe-off": "ingress",
    "ack-before-store": "ingress",
    "archiver-acks-first": "archiver",
}
BREAK: dict[str, Callable[[], None]] = {
    "fencing-off": fencing_off,
    "dedupe-off": dedupe_off,
    "ack-before-store": ack_before_store,
    "archiver-acks-first": archiver_acks_first,
}
