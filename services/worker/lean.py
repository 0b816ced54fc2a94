"""What a worker that comes up does not wait for: libraries without which those that it uses do as well."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import ModuleType

# It serves no page, draws no table and runs no green thread: nats and structlog import what does so wherever they find it.
NEVER = ("aiohttp", "rich", "greenlet")
# By the first nats would read through all that is installed for its own version, which it tells the broker as 0.0.0 so;
# of the second msgspec takes what Python has itself. An agent's adapter may need both.
LATER = ("importlib.metadata", "typing_extensions")


class Header(StrEnum):
    """All that nats itself asks of `nats.js`. The rest is an API that nobody here speaks, and 14 of 89 ms of importing."""

    STATUS = "Status"
    DESCRIPTION = "Description"
    CONSUMER_STALLED = "Nats-Consumer-Stalled"


@contextmanager
def lean() -> Iterator[None]:
    """Have the body import none of that, and `nats.js` never. For garbage, too, `lifecycle.main` is the first to look."""
    absent = [name for name in (*NEVER, *LATER) if name not in sys.modules]
    gc.disable()
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that there is none
    jetstream = sys.modules.setdefault("nats.js", _jetstream())
    try:
        yield
    finally:
        for name in set(absent) & set(LATER):
            del sys.modules[name]
    # As its import would have done.
    vars(sys.modules["nats"])["js"] = jetstream


def _jetstream() -> ModuleType:
    jetstream, api = ModuleType("nats.js"), ModuleType("nats.js.api")
    vars(api)["Header"] = Header
    vars(jetstream)["api"] = api
    return jetstream
