"""What a worker that comes up does not wait for: libraries without which those that it uses do as well."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import ModuleType

# It serves no page, draws no table and runs no green thread: nats and structlog import what does so wherever they find it.
NEVER = ("aiohttp", "rich", "greenlet")
# By the first nats reads through all that is installed, for a version of its own to show; an agent's adapter needs both.
LATER = ("importlib.metadata", "typing_extensions")


class Header(StrEnum):
    """All that nats itself asks of `nats.js.api`, which takes a sixth of all these imports: nobody here speaks it."""

    STATUS = "Status"
    DESCRIPTION = "Description"
    CONSUMER_STALLED = "Nats-Consumer-Stalled"


@contextmanager
def lean() -> Iterator[None]:
    """Import nothing of it in the body, and look for no garbage there."""
    gc.disable()
    for name in (*NEVER, *LATER):
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that there is none
    sys.modules["nats.js"] = jetstream = _jetstream()
    yield
    # As its import would have done.
    vars(sys.modules["nats"])["js"] = jetstream
    for name in LATER:
        del sys.modules[name]
    # What is loaded stays: no collection of what comes later looks through it again.
    gc.freeze()
    gc.enable()


def _jetstream() -> ModuleType:
    jetstream, api = ModuleType("nats.js"), ModuleType("nats.js.api")
    vars(api)["Header"] = Header
    vars(jetstream)["api"] = api
    return jetstream
