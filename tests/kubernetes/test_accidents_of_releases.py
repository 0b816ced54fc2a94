"""A new release of the workers while people work: its image comes, cannot be pulled, or its workers live shorter."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.conftest import shown_text
from tests.kubernetes.api import Object
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.objects import phase
from tests.kubernetes.overlay import overlay
from tests.kubernetes.recordings import asks, writes
from tests.kubernetes.stage import Stage, name_of, stage
from tests.kubernetes.town import SERVICES, WORKERS

pytestmark = [
    pytest.mark.xdist_group("accidents-of-releases"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]
WARM = 2
RULES = {"turns_per_window": 100, "warm": WARM}
UNPULLED = "threadmill/worker:0.3.0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("town")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def deployed(shared_cluster: Cluster, folder: Path) -> AsyncIterator[Stage]:
    async with stage(shared_cluster.plane, shared_cluster, folder, released(folder, "0.1.0")) as running:
        yield running


def released(folder: Path, tag: str) -> Path:
    """Return the overlay that an operator applies for a release of the worker's image."""
    return overlay(folder / tag, scheduler=RULES, worker=tag)


def other_pool(folder: Path, image: str) -> Path:
    """Return one whose workers have an image of their own, and hand over ten seconds after they began.

    A start is given ten seconds too, and nothing is tried twice: a turn that is handed over is not.
    """
    rules = RULES | {"launch_timeout": 10, "max_attempts": 1}
    return overlay(
        folder / "other-pool",
        scheduler=rules,
        pool={"image": image, "life_seconds": 120, "grace_seconds": 110},
    )


def tag_of(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


def all_are(tag: str, *, but: tuple[Object, ...] = ()) -> object:
    """Return what tells whether the warm workers are of a release, and all there are but those that are busy."""
    busy = {name_of(pod) for pod in but}
    return lambda pods: [tag_of(pod) for pod in pods if name_of(pod) not in busy] == [tag] * WARM


async def rolled_out(stage: Stage) -> None:
    """Return when the schedulers of the former release are gone."""

    def is_new(it: Object) -> bool:
        wanted, status = it["spec"]["replicas"], it["status"]
        seen = status.get("observedGeneration", 0) >= it["metadata"]["generation"]
        return seen and status.get("updatedReplicas") == wanted == status.get("replicas")

    await stage.cluster.until("deployments", SERVICES, "scheduler", is_new, 90)


async def test_a_new_image_takes_over_from_idle_workers_and_waits_for_a_busy_one(
    stage: Stage, folder: Path
) -> None:
    stage.plays(writes("first.md"), asks("Shall I go on?"), writes("second.md"))
    ts = await stage.town.say("do it in two steps")
    await stage.town.until(ts, lambda thread: "Shall I go on?" in shown_text(thread))
    busy = await stage.worker_of(ts)

    await stage.town.apply(released(folder, "0.2.0"))
    await rolled_out(stage)
    await stage.until_workers(all_are("0.2.0", but=(busy,)))

    await stage.town.say("yes", ts)
    await stage.ended(ts)
    assert (await stage.only_end(ts)).attempt == 1
    assert tag_of(busy) == "0.1.0"
    stage.plays(writes("third.md"))
    fresh = await stage.town.say("the next one")
    await stage.ended(fresh)
    assert tag_of(await stage.worker_of(fresh)) == "0.2.0"


async def test_an_image_that_cannot_be_pulled_is_told_until_it_can(stage: Stage, folder: Path) -> None:
    stage.cluster.images.break_pull(UNPULLED, "manifest unknown")
    await stage.town.apply(other_pool(folder, UNPULLED))
    await rolled_out(stage)
    await stage.until_workers(all_are("0.3.0"))

    why = f"its image {UNPULLED} cannot be pulled"
    ts = await stage.town.say("are you there?")
    await stage.town.until(ts, lambda thread: f"is starting a worker: {why}" in str(thread.get("status")))
    thread = await stage.ended(ts)
    assert (
        f"No worker could finish it in 1 try; say it again to try once more. No worker came in time: {why}"
        in (shown_text(thread))
    )

    stage.plays(writes("fourth.md"))
    await stage.town.say("and now?", ts)
    await stage.town.until(ts, lambda thread: why in str(thread.get("status")))
    stage.cluster.images.mend_pull(UNPULLED)
    await stage.ended(ts, turns=2)
    assert [end.outcome for end in await stage.ends(ts)] == ["failed", "completed"]


async def test_a_worker_near_its_deadline_hands_over_in_the_middle_of_a_turn(stage: Stage) -> None:
    ts, first = await stage.begun(writes("first.md"))
    stage.plays(writes("second.md"))
    await stage.ended(ts)
    end = await stage.only_end(ts)
    assert (end.outcome, end.attempt) == ("completed", 1)
    assert await stage.files(end) >= {"first.md", "second.md"}
    assert await stage.worker_of(ts, but=first)
    # It left by itself, long before its Job's own deadline.
    left = await stage.cluster.until("pods", WORKERS, name_of(first), phase("Succeeded", "Failed"))
    assert left["status"]["phase"] == "Succeeded"
