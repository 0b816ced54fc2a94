"""A log without room, which gets its room back."""

import contextlib
from collections.abc import AsyncIterator

from schemas.bus import SESSIONS
from services.runtime.bus import Bus


@contextlib.asynccontextmanager
async def full_log(bus: Bus) -> AsyncIterator[None]:
    """Have SESSIONS refuse whatever is new, for as long as this lasts."""
    config = (await bus.api(f"STREAM.INFO.{SESSIONS.name}", None))["config"]
    update = f"STREAM.UPDATE.{SESSIONS.name}"
    assert "error" not in await bus.api(update, config | {"max_bytes": 1})
    try:
        yield
    finally:
        assert "error" not in await bus.api(update, config)
