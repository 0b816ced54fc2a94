"""A message until its agent's start through a Pod, on a real API server: one that waits, and one that is yet to be made."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from nats.aio.msg import Msg

from benchmarks.bare_git import bare_clone
from benchmarks.child import child
from benchmarks.git_host import Host
from benchmarks.phases import AGENT as AGENTS_OWN
from benchmarks.phases import start_of
from benchmarks.report import Section, Table, median, ms, percentile, ratio
from schemas.events import EVENTS, Claimed
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.scheduler.jobs.naming import uid_of_worker
from services.scheduler.jobs.state import job_uid_of
from tests.e2e.conftest import turns_done
from tests.kubernetes.api import path_of
from tests.kubernetes.audit import answers
from tests.kubernetes.cluster import Cluster, cluster
from tests.kubernetes.control_plane import control_plane
from tests.kubernetes.flags import AUDIT_LOG
from tests.kubernetes.overlay import overlay
from tests.kubernetes.town import AGENT, SERVICES, WORKERS, Town, town

COLUMNS = ("phase", "p50 ms", "p99 ms", "share of ours")
PATIENCE = 60.0
# As where a laptop's start is measured.
WARM = 2
CALM_SECONDS = 2.0
# One person asks for all of it.
NO_LIMIT = "THREADMILL_SCHEDULER_TURNS_PER_WINDOW=10000"
PHASES = {
    "assigned": "message posted, stored, admitted, assignment stored",
    "made": "scheduler: Job created",
    "cluster": "bare: the Job's Pod made, placed, its process started",
    "served": "bare: the API server's answers to the scheduler: one Job made, it and its Pod read",
    "claimed": "worker: its process up, let in, assignment taken, lease created, claim stored",
    "started": "worker: workspace cloned, branch taken, agent told",
}
CLUSTER, SERVED = "cluster", "served"


class Seen(msgspec.Struct):
    """When an assignment was handed out, by session, and a Job made and its process running, by the Job's uid: Unix times."""

    assigned: dict[str, float] = {}
    made: dict[str, float] = {}
    running: dict[str, float] = {}

    async def look(self, nodes: Cluster) -> None:
        """See Jobs and Pods for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(nodes, "jobs"))
            tasks.create_task(self._watch(nodes, "pods"))

    async def _watch(self, nodes: Cluster, kind: str) -> None:
        place = path_of(kind, WORKERS)
        version = (await nodes.api.get(place))["metadata"]["resourceVersion"]
        async for event, thing in nodes.api.watch(place, version):
            if kind == "jobs" and event == "ADDED":
                self.made[thing["metadata"]["uid"]] = time.time()
            elif kind == "pods" and _runs(thing):
                self.running.setdefault(job_uid_of(thing), time.time())

    async def hear(self, message: Msg) -> None:
        """Hear of an assignment."""
        self.assigned[(message.headers or {}).get("Threadmill-Session", "")] = time.time()


class Start(msgspec.Struct):
    """One start: the seconds of each phase."""

    phases: dict[str, float]

    @property
    def ours(self) -> float:
        """All of it but the cluster's."""
        return sum(seconds for name, seconds in self.phases.items() if name not in {CLUSTER, SERVED})

    @property
    def others(self) -> float:
        """The cluster's share."""
        return self.phases.get(CLUSTER, 0) + self.phases.get(SERVED, 0)


async def run(quick: bool) -> Section:
    section = Section(
        title="Start through a Pod",
        told=(
            "The overlay `ci` on a real kube-apiserver with etcd and the controller manager; a Pod is a process of this"
            " machine, and all share its processors. The repository is behind a password on git's own HTTP server, as a"
            " team's is. The agent's own start is left out. Bare is the cluster's share of a cold start (from the Job's"
            " creation until its Pod's process runs, and what the API server takes to answer, by its own audit log), and, within"
            " the last phase, `git clone` and `git checkout -b` alone. The agent is `recorded`: Claude's SDK takes half a second"
            " more to load, which a warm worker has done."
        ),
    )
    count = 3 if quick else 20
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with _deployed(Path(folder)) as (place, repository):
            for caption, warm in (("a Pod that waits", WARM), ("a Pod that is yet to be made", 0)):
                starts = await _starts(place, warm, count)
                git = median([await bare_clone(repository) for _ in range(count)])
                section.tables[caption] = _table(starts, git, warm=bool(warm))
    return section


@contextlib.asynccontextmanager
async def _deployed(folder: Path) -> AsyncIterator[tuple[Town, str]]:
    """Deploy all of it for the body; beside it, the address of its repository, password and all."""
    user, password = AGENT["GIT_USER"], AGENT["GIT_PASSWORD"]
    host = Host(folder=str(folder / "repositories"), user=user, password=password)
    async with (
        child("benchmarks.git_host", host) as running,
        control_plane(folder / "plane") as plane,
        cluster(plane, folder / "cluster") as nodes,
    ):
        repository = running.answer(str)
        chosen = overlay(folder / "overlay", pool={"environment": {"THREADMILL_REPO": repository}})
        async with town(plane, nodes, folder, chosen) as place:
            yield place, repository.replace("://", f"://{user}:{password}@")


async def _starts(place: Town, warm: int, count: int) -> list[Start]:
    where = ("--namespace", SERVICES)
    await place.plane.kubectl(
        *where, "set", "env", "deploy/scheduler", f"THREADMILL_SCHEDULER_WARM={warm}", NO_LIMIT
    )
    await place.plane.kubectl(*where, "rollout", "status", "deploy/scheduler")
    starts = []
    async with place.bus() as bus, _seeing(bus, place.cluster) as seen:
        for _ in range(count + 1):
            await _calm(place.cluster, warm)
            starts.append(await _start(place, bus, seen, cold=not warm))
    # The first message makes the repository's first branch and asks Slack for names; it is no start like the others.
    return starts[1:]


@contextlib.asynccontextmanager
async def _seeing(bus: Bus, nodes: Cluster) -> AsyncIterator[Seen]:
    seen = Seen()
    await bus.client.subscribe("work.*", cb=seen.hear)
    looking = asyncio.create_task(seen.look(nodes))
    try:
        yield seen
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _calm(nodes: Cluster, warm: int) -> None:
    """Return once nothing but `warm` workers runs, and has for a moment."""
    async with asyncio.timeout(PATIENCE):
        before: set[str] | None = None
        while before is None or len(before) != warm or before != _running(nodes):
            before = _running(nodes)
            await asyncio.sleep(CALM_SECONDS)


def _running(nodes: Cluster) -> set[str]:
    return {pod["metadata"]["uid"] for pod in nodes.pods(WORKERS) if not _ended(pod)}


async def _start(place: Town, bus: Bus, seen: Seen, *, cold: bool) -> Start:
    ts = await place.say("hello")
    await place.until(ts, turns_done(1))
    key = SessionKey.of_thread("T1", "C1", ts)
    log = await read(bus, "SESSIONS", [f"session.{key}.in.*", f"session.{key}.out"])
    assigned = seen.assigned[str(key)]
    whole = start_of(float(ts), assigned, log)
    if whole.warm is cold:
        raise RuntimeError(f"a start was {'warm' if cold else 'cold'} that should not have been")
    claimed = assigned + whole.phases["claimed"]
    rest = sum(whole.phases[name] for name in ("workspace", "started", "taken"))
    if not cold:
        return Start({"assigned": assigned - float(ts), "claimed": claimed - assigned, "started": rest})
    events = (EVENTS.decode(each.data) for each in log if each.subject.endswith(".out"))
    uid = next(uid_of_worker(each.holder) for each in events if isinstance(each, Claimed))
    made, running = seen.made[uid], seen.running[uid]
    served = _served(place, assigned, claimed)
    return Start(
        {
            "assigned": assigned - float(ts),
            "made": made - assigned - served["create"],
            "cluster": running - made,
            "served": sum(served.values()),
            "claimed": claimed - running - served["get"],
            "started": rest,
        }
    )


def _served(place: Town, since: float, until: float) -> dict[str, float]:
    """Return what the scheduler waited for the API server, by verb: for the Job, and for whom a knock is from."""
    waits = {"create": 0.0, "get": 0.0}
    for each in answers(place.plane.folder / AUDIT_LOG, f"{SERVICES}:scheduler"):
        if each.verb in waits and since <= each.came <= until:
            waits[each.verb] += each.took
    return waits


def _table(starts: list[Start], git: float, *, warm: bool) -> Table:
    table, ours = Table(columns=COLUMNS), [start.ours for start in starts]
    for name in starts[0].phases:
        took = [start.phases[name] for start in starts]
        share = "-" if name in {CLUSTER, SERVED} else f"{100 * median(took) / median(ours):.0f} %"
        table.add(PHASES[name], ms(median(took)), ms(percentile(took, 0.99)), share)
    table.add(
        f"**ours** (all but {AGENTS_OWN} and cluster)",
        *map(_bold, (median(ours), percentile(ours, 0.99))),
        "100 %",
    )
    table.add("bare: git alone", ms(git), "-", "-")
    table.add("ours without what git alone takes", ms(median(ours) - git), "-", "-")
    if not warm:
        bare = median([start.others for start in starts])
        table.add("ours to the cluster's", ratio(median(ours), bare), "-", "-")
    return table


def _bold(seconds: float) -> str:
    return f"**{ms(seconds)}**"


def _runs(pod: dict[str, Any]) -> bool:
    states = [each.get("state") or {} for each in pod.get("status", {}).get("containerStatuses") or []]
    return any("running" in state for state in states)


def _ended(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
