"""What becomes of a turn when something happens to its worker: one end, whatever happens, and nothing of its work is lost."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from services.scheduler.jobs.job import SAFE_TO_EVICT
from services.scheduler.jobs.state import is_leaving
from tests.e2e.conftest import finals, shown_text
from tests.kubernetes import accidents
from tests.kubernetes.api import Object, path_of
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.overlay import overlay
from tests.kubernetes.recordings import writes
from tests.kubernetes.stage import Stage, name_of, stage
from tests.kubernetes.town import WORKERS

pytestmark = [
    pytest.mark.xdist_group("accidents-of-workers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]

# Workers have nodes of their own, as a pool of machines that come and go.
TAINT = {"key": "threadmill.dev/workers", "effect": "NoSchedule"}
POOL = {
    "node_selector": {"kind": "workers"},
    "tolerations": [{"key": "threadmill.dev/workers", "operator": "Exists", "effect": "NoSchedule"}],
}


async def add_node(cluster: Cluster, name: str) -> None:
    await cluster.add_node(name, labels=POOL["node_selector"], taints=[TAINT])


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def deployed(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("town")
    await add_node(shared_cluster, "workers-1")
    changed = overlay(
        folder / "overlay", pool=POOL, scheduler={"turns_per_window": 100, "deadline_grace": 10}
    )
    async with stage(shared_cluster.plane, shared_cluster, folder, changed) as running:
        yield running


async def ended_by_another(stage: Stage, ts: str, former: Object, *, attempt: int) -> str:
    """See the turn end once, by another Job than that of `former`, with all files; return what the thread shows."""
    thread = await stage.ended(ts)
    end = await stage.only_end(ts)
    assert (end.outcome, end.attempt) == ("completed", attempt)
    assert {"first.md", "second.md"} <= await stage.files(end)
    assert "It is done" in shown_text(finals(thread)[0])
    assert name_of(await stage.worker_of(ts, but=former))
    return shown_text(thread)


async def test_an_evicted_worker_hands_over_and_nothing_is_lost(stage: Stage) -> None:
    ts, pod = await stage.begun(writes("first.md"))
    assert pod["metadata"]["annotations"][SAFE_TO_EVICT] == "false"
    stage.plays(writes("second.md"))
    await accidents.evict(stage.cluster, WORKERS, name_of(pod))
    shown = await ended_by_another(stage, ts, pod, attempt=1)
    assert "The worker was lost" not in shown


async def test_a_drained_node_gives_its_sessions_to_another(stage: Stage) -> None:
    ts, pod = await stage.begun(writes("first.md"))
    stage.plays(writes("second.md"))
    await add_node(stage.cluster, "workers-2")
    await accidents.drain(stage.cluster, pod["spec"]["nodeName"])
    await ended_by_another(stage, ts, pod, attempt=1)
    assert (await stage.worker_of(ts, but=pod))["spec"]["nodeName"] == "workers-2"


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (accidents.out_of_memory, "it ran out of memory."),
        (accidents.pressed_out, "it had to leave its node (The node was low on resource: memory."),
    ],
)
async def test_a_killed_worker_is_told_of_and_the_turn_tried_again(
    stage: Stage, happens: Callable[[Cluster, str, str], None], told: str
) -> None:
    ts, pod = await stage.begun(writes("first.md"))
    stage.plays(writes("first.md"), writes("second.md"))
    happens(stage.cluster, WORKERS, name_of(pod))
    shown = await ended_by_another(stage, ts, pod, attempt=2)
    assert f"The worker was lost: {told}" in shown


async def over_its_deadline(stage: Stage, pod: Object) -> None:
    """Let the time be over that the Job of `pod` is given; return once its controller has its Pod leave."""
    name = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
    path = path_of("jobs", WORKERS, name)
    assert (await stage.cluster.api.get(path))["spec"]["activeDeadlineSeconds"] > 1
    await stage.cluster.api.patch(path, {"spec": {"activeDeadlineSeconds": 1}})
    await stage.cluster.until("pods", WORKERS, name_of(pod), lambda it: not it or is_leaving(it))


async def test_a_worker_whose_time_is_over_hands_over_and_nothing_is_lost(stage: Stage) -> None:
    ts, pod = await stage.begun(writes("first.md"))
    stage.plays(writes("second.md"))
    await over_its_deadline(stage, pod)
    shown = await ended_by_another(stage, ts, pod, attempt=1)
    assert "The worker was lost" not in shown


async def test_a_worker_that_hangs_until_its_time_is_over_is_told_of_and_the_turn_tried_again(
    stage: Stage,
) -> None:
    ts, pod = await stage.begun(writes("first.md"))
    stage.plays(writes("first.md"), writes("second.md"))
    accidents.frozen(stage.cluster, WORKERS, name_of(pod))
    await over_its_deadline(stage, pod)
    accidents.killed(stage.cluster, WORKERS, name_of(pod))  # as its node does when it has had its grace
    shown = await ended_by_another(stage, ts, pod, attempt=2)
    assert "The worker was lost: it had run for as long as a worker may." in shown


async def test_a_lost_node_costs_an_attempt_and_no_second_end(stage: Stage) -> None:
    ts, pod = await stage.begun(writes("first.md"))
    stage.plays(writes("first.md"), writes("second.md"))
    await add_node(stage.cluster, "workers-3")
    await accidents.lose(stage.cluster, pod["spec"]["nodeName"])
    await accidents.collect_orphans(stage.cluster)
    shown = await ended_by_another(stage, ts, pod, attempt=2)
    assert "The worker was lost: it had to leave its node" in shown


async def test_a_node_that_is_silent_and_stays_is_not_waited_for(stage: Stage) -> None:
    """Nothing in the cluster says that the worker is gone: its lease does."""
    ts, pod = await stage.begun(writes("first.md"))
    stage.plays(writes("first.md"), writes("second.md"))
    node = pod["spec"]["nodeName"]
    await add_node(stage.cluster, "workers-4")
    await accidents.silence(stage.cluster, node)
    shown = await ended_by_another(stage, ts, pod, attempt=2)
    assert "The worker was lost: it gave no sign of life any more." in shown
    # Its place is given to others once it has had its time to leave by itself.
    await stage.cluster.until("pods", WORKERS, name_of(pod), is_leaving, seconds=90)
    await accidents.forget(stage.cluster, node)
    await stage.cluster.until("pods", WORKERS, name_of(pod), lambda it: not it)
