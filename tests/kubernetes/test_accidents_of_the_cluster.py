"""The API server goes away, answers late or refuses, there is no room, schedulers are killed: every turn ends once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.fleet import eventually
from tests.e2e.conftest import Thread, shown_text
from tests.kubernetes import accidents
from tests.kubernetes.api import Object
from tests.kubernetes.census import Census
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.objects import holds
from tests.kubernetes.overlay import overlay
from tests.kubernetes.recordings import asks, writes
from tests.kubernetes.stage import Stage, name_of, stage
from tests.kubernetes.town import SERVICES, WORKERS

pytestmark = [
    pytest.mark.xdist_group("accidents-of-the-cluster"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]

QUOTA = "the quota of the workers' namespace is used up"


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def deployed(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Nobody waits warm: every turn needs the API server for its start."""
    folder: Path = tmp_path_factory.mktemp("town")
    changed = overlay(folder / "overlay", scheduler={"warm": 0, "turns_per_window": 100})
    async with stage(shared_cluster.plane, shared_cluster, folder, changed) as running:
        running.plays(writes("work.md"))
        yield running


def waits(why: str) -> Callable[[Thread], bool]:
    """Return what tells whether a person sees that the turn waits for a worker, and `why`."""
    return lambda thread: f"is starting a worker: {why}" in str(thread.get("status"))


def stands_in_line(thread: Thread) -> bool:
    """Tell whether a person sees that the turn stands in line for a worker."""
    return "is waiting for a free worker (" in str(thread.get("status"))


async def ended_once(stage: Stage, *threads: str) -> None:
    for ts in threads:
        await stage.ended(ts)
        end = await stage.only_end(ts)
        assert (end.outcome, end.attempt) == ("completed", 1)


def schedulers(stage: Stage) -> list[Object]:
    return stage.cluster.pods(SERVICES, **{"app.kubernetes.io/component": "scheduler"})


async def is_logged_by_all(stage: Stage, why: str) -> bool:
    """Tell whether an operator reads in the log of each scheduler why no workers come: each finds out by itself."""
    logs = [stage.cluster.logs(SERVICES, name_of(pod)) for pod in schedulers(stage)]
    return all(why in log for log in logs)


async def test_two_schedulers_make_one_job_for_each_need(stage: Stage) -> None:
    census = await Census.begin(stage.cluster)
    threads = await asyncio.gather(*(stage.town.say(f"thing {number}") for number in range(6)))
    await ended_once(stage, *threads)
    assert len(census.jobs) == len(census.pods) == 6


async def test_schedulers_that_are_killed_adopt_the_jobs_and_make_the_others(stage: Stage) -> None:
    census = await Census.begin(stage.cluster)
    threads = await asyncio.gather(*(stage.town.say(f"thing {number}") for number in range(6)))
    await stage.cluster.until_all("jobs", WORKERS, lambda _: census.jobs)
    for pod in schedulers(stage):
        accidents.killed(stage.cluster, SERVICES, name_of(pod))
    await ended_once(stage, *threads)
    assert len(census.jobs) == len(census.pods) == 6
    for pod in schedulers(stage):
        await stage.cluster.until("pods", SERVICES, name_of(pod), holds("Ready"))
        assert (
            stage.cluster.pod(SERVICES, name_of(pod))["status"]["containerStatuses"][0]["restartCount"] == 1
        )


async def test_an_api_server_that_is_away_delays_a_start(stage: Stage) -> None:
    census = await Census.begin(stage.cluster)
    stage.plane.apiserver.kill()
    ts = await stage.town.say("are you there?")
    await stage.town.until(ts, waits("the cluster does not answer"))
    stage.plane.apiserver.start()
    await stage.plane.until_ready()
    await ended_once(stage, ts)
    assert len(census.jobs) == 1


async def test_an_api_server_that_dies_while_a_job_becomes_a_worker_is_followed_again(stage: Stage) -> None:
    census = await Census.begin(stage.cluster)
    ts = await stage.town.say("are you there?")
    await stage.cluster.until_all("jobs", WORKERS, lambda _: census.jobs)
    stage.plane.apiserver.kill()
    stage.plane.apiserver.start()
    await ended_once(stage, ts)
    assert len(census.jobs) == 1


async def test_a_turn_needs_no_api_server_to_go_on_and_end(stage: Stage) -> None:
    stage.plays(writes("first.md"), asks("Shall I go on?"), writes("second.md"))
    ts = await stage.town.say("do it in two steps")
    await stage.town.until(ts, lambda thread: "Shall I go on?" in shown_text(thread))
    stage.plane.apiserver.kill()
    await stage.town.say("yes", ts)
    await ended_once(stage, ts)
    stage.plane.apiserver.start()
    await stage.plane.until_ready()
    stage.plays(writes("work.md"))
    await ended_once(stage, await stage.town.say("and the next one"))


async def test_an_api_server_that_answers_too_late_makes_no_second_job(stage: Stage) -> None:
    census = await Census.begin(stage.cluster)
    stage.plane.apiserver.freeze()
    ts = await stage.town.say("are you there?")
    await stage.town.until(ts, waits("the cluster does not answer"))
    stage.plane.apiserver.thaw()
    await ended_once(stage, ts)
    assert len(census.jobs) == 1


async def test_a_quota_that_is_used_up_is_told_and_whoever_comes_later_stands_in_line(stage: Stage) -> None:
    before = await accidents.limit(stage.cluster, WORKERS, "workers", pods="0")
    first = await stage.town.say("is there room?")
    await stage.town.until(first, waits(QUOTA))
    assert await eventually(lambda: is_logged_by_all(stage, QUOTA), 30)
    second = await stage.town.say("and for me?")
    await stage.town.until(second, stands_in_line)
    await accidents.limit(stage.cluster, WORKERS, "workers", pods=before)
    await ended_once(stage, first, second)


async def test_a_worker_that_fits_no_node_is_told_and_comes_with_a_node(stage: Stage) -> None:
    census = await Census.begin(stage.cluster)
    await stage.cluster.nodes["node-1"].resize(pods="0")
    ts = await stage.town.say("is there room?")
    why = "no node has room for it (0/1 nodes are available: 1 Too many pods.)"
    await stage.town.until(ts, waits(why))
    await stage.cluster.add_node("node-2")
    await ended_once(stage, ts)
    assert (await stage.worker_of(ts))["spec"]["nodeName"] == "node-2"
    assert len(census.jobs) == len(census.pods) == 1
    await stage.cluster.nodes["node-1"].resize(pods="110")


async def test_a_start_that_is_refused_is_tried_until_it_is_allowed(stage: Stage) -> None:
    binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/threadmill-workers/rolebindings"
    allowed = await stage.cluster.api.get(f"{binding}/launcher")
    await stage.cluster.api.delete(f"{binding}/launcher")
    ts = await stage.town.say("may you?")
    await stage.town.until(ts, waits("the cluster refuses its job (jobs.batch is forbidden"))
    fresh = {key: allowed["metadata"][key] for key in ("name", "namespace", "labels")}
    await stage.cluster.api.create(binding, allowed | {"metadata": fresh})
    await ended_once(stage, ts)
