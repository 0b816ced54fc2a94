"""Calls to the API server are refused for a while, or answered to nobody: every turn ends once, by one worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.conftest import shown_text
from tests.kubernetes import accidents
from tests.kubernetes.api import Object
from tests.kubernetes.census import Census
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.kubelet.images import Image
from tests.kubernetes.overlay import overlay
from tests.kubernetes.proxy import Proxy
from tests.kubernetes.recordings import asks, writes
from tests.kubernetes.stage import Stage, name_of, stage
from tests.kubernetes.town import SERVICES, WORKERS

pytestmark = [
    pytest.mark.xdist_group("accidents-of-calls"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]
AWAY = "is starting a worker: the cluster does not answer"
# A watch is told that it is too old: whoever follows has to list anew.
NOTHING_TO_SEE = {f"{verb} {kind}": 503 for verb in ("list", "get") for kind in ("jobs", "pods")}
NOTHING_TO_SEE |= {"watch jobs": 410, "watch pods": 410}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(shared_cluster: Cluster) -> AsyncIterator[Proxy]:
    """One between the schedulers and the API server."""
    between = Proxy(shared_cluster.plane)
    async with between.serving() as port:
        known = Image(environ={"KUBERNETES_SERVICE_PORT": str(port)})
        shared_cluster.images.known["threadmill/scheduler"] = known
        yield between


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def deployed(
    proxy: Proxy, shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """Nobody waits warm: every turn needs the API server for its start."""
    folder: Path = tmp_path_factory.mktemp("town")
    changed = overlay(folder / "overlay", scheduler={"warm": 0, "turns_per_window": 100})
    async with stage(shared_cluster.plane, shared_cluster, folder, changed) as running:
        running.plays(writes("work.md"))
        yield running


def schedulers(stage: Stage) -> list[Object]:
    return stage.cluster.pods(SERVICES, **{"app.kubernetes.io/component": "scheduler"})


def restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"])


async def ended_once(stage: Stage, ts: str, census: Census) -> None:
    """See the turn end, at its first attempt, by the only worker that was made."""
    await stage.ended(ts)
    end = await stage.only_end(ts)
    assert (end.outcome, end.attempt) == ("completed", 1)
    assert len(census.jobs) == len(census.pods) == 1


@pytest.mark.parametrize(
    ("status", "done"),
    [
        pytest.param(429, "", id="too many requests"),
        pytest.param(503, "", id="unavailable"),
        pytest.param(504, "create jobs", id="done, and nobody hears so"),
    ],
)
async def test_a_job_that_is_refused_for_a_while_is_told_and_made_once(
    stage: Stage, proxy: Proxy, status: int, done: str
) -> None:
    census = await Census.begin(stage.cluster)
    proxy.fail({"create jobs": status}, done=done)
    ts = await stage.town.say("are you there?")
    if not done:
        await stage.town.until(ts, lambda thread: AWAY in str(thread.get("status")))
        await proxy.until_failed("create jobs")
    else:
        await stage.cluster.until_all("jobs", WORKERS, lambda _: census.jobs)
    proxy.mend()
    await ended_once(stage, ts, census)


async def test_schedulers_that_see_nothing_for_a_while_lose_and_double_nothing(
    stage: Stage, proxy: Proxy
) -> None:
    census = await Census.begin(stage.cluster)
    before = [restarts(pod) for pod in schedulers(stage)]
    stage.plays(writes("first.md"), asks("Shall I go on?"), writes("second.md"))
    ts = await stage.town.say("do it in two steps")
    await stage.town.until(ts, lambda thread: "Shall I go on?" in shown_text(thread))
    stage.plays(writes("work.md"))
    proxy.fail(NOTHING_TO_SEE)
    await proxy.until_failed("watch jobs", "list jobs", "watch pods", "list pods")
    await stage.town.say("yes", ts)
    await ended_once(stage, ts, census)
    later = await stage.town.say("and the next one")
    await stage.cluster.until_all("jobs", WORKERS, lambda _: len(census.jobs) == 2)
    proxy.mend()
    await stage.ended(later)
    assert (await stage.only_end(later)).attempt == 1
    assert len(census.jobs) == len(census.pods) == 2
    assert [restarts(pod) for pod in schedulers(stage)] == before


async def test_schedulers_that_die_between_a_job_and_the_word_of_it_adopt_it(
    stage: Stage, proxy: Proxy
) -> None:
    census = await Census.begin(stage.cluster)
    before = {name_of(pod): restarts(pod) for pod in schedulers(stage)}
    proxy.fall_silent("create jobs")
    ts = await stage.town.say("are you there?")
    await proxy.until_passed("create jobs", times=len(before))
    for name in before:
        accidents.killed(stage.cluster, SERVICES, name)
    for name, times in before.items():
        await stage.cluster.until("pods", SERVICES, name, lambda it, times=times: restarts(it) > times)
    proxy.speak()
    await ended_once(stage, ts, census)
