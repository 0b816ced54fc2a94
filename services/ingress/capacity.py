"""How full the log is: near its end new turns are refused, so that the running ones can still finish."""

import asyncio

import structlog

from schemas.bus import SESSIONS
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable

log = structlog.get_logger(__name__)

TIGHT = 0.8
EVERY = 5.0


class Capacity:
    """Watches SESSIONS; `tight` says what it saw last."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.tight = False

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            try:
                await self.look()
            except Unavailable as e:
                log.warning("capacity unknown", error=str(e))
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Look now. Raises `Unavailable`."""
        info = await self._bus.api(f"STREAM.INFO.{SESSIONS.name}", None)
        if "error" in info:
            raise Unavailable(f"{SESSIONS.name}: {info['error'].get('description')}")
        most = int(info["config"]["max_bytes"])
        tight = most > 0 and int(info["state"]["bytes"]) >= TIGHT * most
        if tight != self.tight:
            log.warning("log nearly full" if tight else "log has room again", most_bytes=most)
        self.tight = tight
