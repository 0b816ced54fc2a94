"""A town in which a story is told: its agents play what the story wants, and an operator looks at Pods, log and branch."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from schemas.ends import TurnEnd
from schemas.keys import SessionKey
from services.runtime.follow import read
from services.scheduler.jobs.job import SESSION_ANNOTATION
from tests.e2e.conftest import Thread, finals, shown_text, turns_done
from tests.kubernetes.api import Object
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.kubelet.placement import is_over
from tests.kubernetes.overlay import CI
from tests.kubernetes.recordings import IN_THE_MIDDLE, Step, never_ends, plays
from tests.kubernetes.town import SERVICES, WORKERS, Town, town, workers_image

REPOSITORY = Path("claims") / SERVICES / "data-repository-0" / "team.git"


class Stage:
    """Stories of one town; each begins its own thread."""

    def __init__(self, place: Town, recording: Path) -> None:
        self.town = place
        self.cluster: Cluster = place.cluster
        self.plane: ControlPlane = place.plane
        self._recording = recording

    def plays(self, *parts: list[Step], text: str = "It is done: {prompt}") -> None:
        """Let agents that start from now on play this."""
        plays(self._recording, *parts, text=text)

    async def begun(self, *parts: list[Step], text: str = "Please do it.") -> tuple[str, Object]:
        """Say `text` in a new thread; return it and the worker's Pod once a person sees it in the middle of its work."""
        self.plays(*parts, never_ends())
        ts = await self.town.say(text)
        await self.town.until(ts, lambda thread: IN_THE_MIDDLE in shown_text(thread))
        return ts, await self.worker_of(ts)

    async def ended(self, ts: str, turns: int = 1) -> Thread:
        """Return the thread once it shows the ends of so many turns, and no more of them."""
        thread = await self.town.until(ts, turns_done(turns))
        assert len(finals(thread)) == turns
        return thread

    async def worker_of(self, ts: str, *, but: Object | None = None) -> Object:
        """Return the Pod that is marked with the thread, another one than `but`."""
        key, former = str(self.key(ts)), but["metadata"]["name"] if but else ""

        def its(pods: list[Object]) -> list[Object]:
            return [pod for pod in pods if _session(pod) == key and pod["metadata"]["name"] != former]

        return its(await self.cluster.until_all("pods", WORKERS, its))[0]

    async def until_workers(
        self, holds: Callable[[list[Object]], object], seconds: float = 60.0
    ) -> list[Object]:
        """Return the workers' Pods that have not ended as soon as `holds` for them."""

        def living(pods: list[Object]) -> list[Object]:
            return [pod for pod in pods if not is_over(pod)]

        return living(
            await self.cluster.until_all("pods", WORKERS, lambda pods: holds(living(pods)), seconds)
        )

    async def ends(self, ts: str) -> list[TurnEnd]:
        """Return the ends in the session's log."""
        async with self.town.bus() as bus:
            found = await read(bus, "SESSIONS", [f"session.{self.key(ts)}.end.*"])
        return [TurnEnd.decode(entry.data) for entry in found]

    async def only_end(self, ts: str) -> TurnEnd:
        """Return how the thread's one turn ended."""
        (end,) = await self.ends(ts)
        return end

    async def files(self, end: TurnEnd) -> set[str]:
        """Return what lies on the branch of `end` in the team's repository."""
        return set((await self.git("ls-tree", "-r", "--name-only", end.branch)).split())

    async def git(self, *arguments: str) -> str:
        """Return what git says of the team's repository."""
        command = ["git", "-C", str(self.cluster.folder / REPOSITORY), *arguments]
        return await asyncio.to_thread(subprocess.check_output, command, text=True)

    @staticmethod
    def key(ts: str) -> SessionKey:
        return SessionKey.of_thread("T1", "C1", ts)


def name_of(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _session(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(SESSION_ANNOTATION, ""))


@contextlib.asynccontextmanager
async def stage(
    plane: ControlPlane, cluster: Cluster, folder: Path, overlay: Path = CI
) -> AsyncIterator[Stage]:
    """Deploy a town for stories for the body."""
    recording = folder / "recording.jsonl"
    plays(recording)
    cluster.images.known["threadmill/worker"] = workers_image(THREADMILL_RECORDING=str(recording))
    async with town(plane, cluster, folder, overlay) as place:
        yield Stage(place, recording)
