"""Asks a container whether it has started, is ready, and lives."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from tests.kubernetes.kubelet.status import Container
from tests.kubernetes.kubelet.volumes import Unsupported

Object = Mapping[str, Any]
# Until it says yes for the first time it is asked more often than it wants: a test has no time.
EAGER_SECONDS = 0.2


class Probes:
    """The probes of one container that runs; `changed` is called when one tells something new."""

    def __init__(
        self,
        spec: Object,
        known: Container,
        ports: Mapping[int, int],
        session: aiohttp.ClientSession,
        changed: Callable[[], None],
    ) -> None:
        self._spec = spec
        self._known = known
        self._session = session
        self._changed = changed
        self._ports: dict[object, int] = {**ports}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            if kind in spec and not spec[kind].keys() & {"httpGet", "tcpSocket"}:
                raise Unsupported(f"a {kind} other than httpGet and tcpSocket")
        for port in spec.get("ports") or []:
            self._ports[port.get("name")] = ports[port["containerPort"]]

    async def run(self) -> None:
        """Ask until it has to be killed."""
        startup, liveness = self._spec.get("startupProbe"), self._spec.get("livenessProbe")
        if startup and not await self._succeeds(startup):
            return
        self._known.started = True
        self._known.ready = "readinessProbe" not in self._spec
        self._changed()
        readiness = asyncio.create_task(self._watch_readiness())
        try:
            if liveness:
                await self._until_dead(liveness)
            else:
                await readiness
        finally:
            readiness.cancel()

    async def _succeeds(self, probe: Object) -> bool:
        tries = int(probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10) / EAGER_SECONDS)
        for _ in range(max(tries, 1)):
            if await self._ask(probe):
                return True
            await asyncio.sleep(EAGER_SECONDS)
        return False

    async def _watch_readiness(self) -> None:
        probe, failures = self._spec.get("readinessProbe"), 0
        while probe:
            failures = 0 if (ready := await self._ask(probe)) else failures + 1
            if self._known.ready != ready and (ready or failures >= probe.get("failureThreshold", 3)):
                self._known.ready = ready
                self._changed()
            await asyncio.sleep(probe.get("periodSeconds", 10) if self._known.ready else EAGER_SECONDS)
        await asyncio.Event().wait()

    async def _until_dead(self, probe: Object) -> None:
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        failures = 0
        while failures < probe.get("failureThreshold", 3):
            failures = 0 if await self._ask(probe) else failures + 1
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _ask(self, probe: Object) -> bool:
        return await (self._ask_page(probe) if "httpGet" in probe else self._knock(probe))

    async def _knock(self, probe: Object) -> bool:
        port = self._ports.get(probe["tcpSocket"]["port"], 0)
        try:
            async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _ask_page(self, probe: Object) -> bool:
        asked = probe["httpGet"]
        url = f"http://127.0.0.1:{self._ports.get(asked['port'], 0)}{asked.get('path', '/')}"
        limit = aiohttp.ClientTimeout(total=probe.get("timeoutSeconds", 1))
        try:
            async with self._session.get(url, timeout=limit, allow_redirects=False) as answer:
                return 200 <= answer.status < 400
        except (aiohttp.ClientError, TimeoutError):
            return False
