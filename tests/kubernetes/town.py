"""Threadmill as the overlay `ci` deploys it on a real API server, and a person in its Slack."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from services.local.guard import CLIENT_HEADER
from services.local.keys import Keys, made
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.kubelet.images import Image, Layout
from tests.kubernetes.objects import holds
from tests.kubernetes.overlay import CI, ROOT
from tests.object_store import program

SERVICES, WORKERS = "threadmill", "threadmill-workers"
DEPLOYMENTS = ("ingress", "scheduler", "archiver")
SIMULATOR_PORT = 8701
# What sessions need, and nobody else may see.
AGENT = {
    "ANTHROPIC_API_KEY": "sk-ant-of-the-team",
    "GIT_USER": "git-of-the-team",
    "GIT_PASSWORD": "password-of-the-team",
}
PATIENCE = 90.0


def object_store(command: list[str], layout: Layout) -> list[str]:
    """Return the command of the emulator: its ports are options, its folder the volume's."""
    here = layout.ports[4443]
    # Mounts are links here, and it follows none: the bucket has to lie in its folder itself.
    folder = (layout.root / "storage" / "threadmill").resolve().parent
    places = {
        "-host": "127.0.0.1",
        "-port": str(here),
        "-public-host": f"127.0.0.1:{here}",
        "-external-url": f"http://127.0.0.1:{here}",
        "-filesystem-root": str(folder),
    }
    kept = [word for word in command[1:] if word.partition("=")[0] not in places]
    return [str(program()), *kept, *(f"{name}={value}" for name, value in places.items())]


class Town:
    """The deployed whole. `say` speaks in a thread, `until` waits for what it shows."""

    def __init__(self, plane: ControlPlane, cluster: Cluster, keys: Keys) -> None:
        self.plane = plane
        self.cluster = cluster
        self.keys = keys
        self.http: aiohttp.ClientSession

    async def secrets(self) -> None:
        """Make what no manifest may hold."""
        folder = self.keys.folder
        await self._secret(SERVICES, "nats-broker", f"--from-file={folder / 'broker.conf'}")
        for name in ("ingress", "scheduler", "archiver"):
            more = [f"--from-file={self.keys.workers}"] if name == "scheduler" else []
            await self._secret(SERVICES, f"{name}-nats", f"--from-file={self.keys.of(name)}", *more)
        await self._secret(SERVICES, "slack", *_literals(SLACK_BOT_TOKEN="xoxb-1", SLACK_APP_TOKEN="xapp-1"))
        await self._secret(SERVICES, "agent", *_literals(**AGENT))
        await self._secret(WORKERS, "door", f"--from-file={self.keys.of('door')}")

    async def _secret(self, namespace: str, name: str, *given: str) -> None:
        await self.plane.kubectl("--namespace", namespace, "create", "secret", "generic", name, *given)

    async def apply(self, overlay: Path = CI) -> None:
        """Apply an overlay; return when all of it is available."""
        await self.plane.kubectl("apply", "--validate=strict", "-k", str(overlay))
        for name in DEPLOYMENTS:
            await self.cluster.until("deployments", SERVICES, name, holds("Available"), PATIENCE)

    async def enter(self) -> None:
        """Find the Slack workspace."""
        (pod,) = self.cluster.pods(SERVICES, **{"app.kubernetes.io/component": "ingress"})
        port = self.cluster.port_of(pod, SIMULATOR_PORT)
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={CLIENT_HEADER: "test"})

    async def leave(self) -> None:
        await self.http.close()

    async def post(self, door: str, **body: Any) -> dict[str, Any]:
        async with self.http.post(f"/sim/{door}", json=body) as answer:
            told: dict[str, Any] = await answer.json()
            assert answer.status == 200, told
            return told

    async def say(self, text: str, thread: str | None = None, user: str = "U1") -> str:
        where = {"thread_ts": thread} if thread else {}
        words = text if thread else f"<@UBOT> {text}"
        told = await self.post("message", user=user, channel="C1", text=words, **where)
        return str(told["ts"])

    async def thread(self, ts: str) -> dict[str, Any]:
        async with self.http.get("/sim/thread", params={"channel": "C1", "ts": ts}) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def until(
        self, ts: str, shows: Callable[[dict[str, Any]], Any], seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Return the thread as soon as it shows that."""
        shown: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while not shows(shown := await self.thread(ts)):  # noqa: ASYNC110 (looked at, as a person does)
                    await asyncio.sleep(0.1)
        except TimeoutError as e:
            raise AssertionError(f"the thread never showed that; it shows {shown}") from e
        return shown

    @contextlib.asynccontextmanager
    async def bus(self, name: str = "operator") -> AsyncIterator[Bus]:
        """Be on the bus with the rights of `name` for the body."""
        port = await self.cluster.service_port(SERVICES, "nats", 4222)
        settings = BusSettings(url=f"nats://127.0.0.1:{port}", creds=self.keys.of(name))
        client = await open_connection(settings, name, lambda: None)
        try:
            yield Bus(client)
        finally:
            await close_connection(client)


def _literals(**values: str) -> list[str]:
    return [f"--from-literal={name}={value}" for name, value in values.items()]


@contextlib.asynccontextmanager
async def town(
    plane: ControlPlane, cluster: Cluster, folder: Path, overlay: Path = CI
) -> AsyncIterator[Town]:
    """Deploy all of it for the body."""
    cluster.images.known["fake-gcs-server"] = Image(adapted=object_store)
    place = Town(plane, cluster, made(folder / "keys"))
    await plane.kubectl("apply", "-f", str(ROOT / "k8s" / "base" / "namespaces.yaml"))
    await place.secrets()
    await place.apply(overlay)
    await place.enter()
    try:
        yield place
    finally:
        await place.leave()


def workers_image(**environ: str) -> Image:
    """Return the workers' image with an environment of its own."""
    return Image(environ=environ)
