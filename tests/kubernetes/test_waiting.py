"""Workers that do not come: what is told of them, when a place counts as full, and when that is over. Events are scripted."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from services.runtime.errors import Unavailable
from services.scheduler.jobs import waiting as waitings
from services.scheduler.jobs.deletions import Deletions
from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.reasons import AWAY, NO_NODE, QUOTA
from services.scheduler.jobs.waiting import Waiting
from tests.scheduler.until import until

OVER = {"reason": "FailedCreate", "message": "exceeded quota: workers"}
REFUSED = {"reason": "FailedCreate", "message": "violates PodSecurity"}
MOUNT = {"reason": "FailedMount", "message": 'secret "door" not found'}
PENDING: Object = {"metadata": {"uid": "p-1"}, "status": {"phase": "Pending"}}
NOWHERE: Object = {
    "metadata": {"uid": "p-1"},
    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
}
RUNNING: Object = {"metadata": {"uid": "p-1"}, "status": {"phase": "Running"}}
# A loop's alarms go off up to so many seconds early.
CLOCK = 0.005


def job(uid: str, **more: str) -> Object:
    return {"metadata": {"name": f"job-{uid}", "uid": uid, "resourceVersion": f"1{uid}", **more}}


class Played:
    """An API server that tells `events` of whatever it is asked after; `away` it answers nothing."""

    def __init__(self) -> None:
        self.events: list[Object] = []
        self.asked = 0
        self.asked_at: list[float] = []
        self.deleted: list[str] = []
        self.versions: list[str] = []
        self.away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def events_of(self, uid: str) -> list[Object]:
        self.asked += 1
        self.asked_at.append(asyncio.get_running_loop().time())
        await self.may_answer.wait()
        return self.events

    async def delete_job(self, name: str, uid: str, version: str = "") -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("it is away")
        self.deleted.append(uid)
        self.versions.append(version)


@pytest.fixture
def cluster() -> Played:
    return Played()


@pytest.fixture
def pods() -> dict[str, Object]:
    return {}


@pytest.fixture
async def told() -> list[str]:
    return []


@pytest.fixture
async def waiting(cluster, pods, told, monkeypatch) -> AsyncIterator[Waiting]:
    for name in ("LOOK_AFTER", "LOOK_AGAIN", "LOOK_AT_POD"):
        monkeypatch.setattr(waitings, name, 0.01)
    waiting = Waiting(cluster, pods.get)

    async def hear() -> None:
        async with contextlib.aclosing(waiting.troubles()) as troubles:
            async for trouble in troubles:
                told.append(trouble)

    tasks = [asyncio.create_task(each) for each in (waiting.run(), hear())]
    yield waiting
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def comes(waiting: Waiting, pods: dict[str, Object], uid: str, pod: Object) -> None:
    pods[uid] = pod
    waiting.pod_changed(pod, uid)


async def test_a_quota_that_is_used_up_is_told_until_a_pod_comes(waiting, cluster, pods, told) -> None:
    cluster.events = [OVER]
    waiting.job_changed(job("a"), "a")
    await until(lambda: cluster.deleted == ["a"])
    assert cluster.versions == ["1a"], "one that has a Pod by now is another version, and stays"
    waiting.job_changed(None, "a")
    assert waiting.is_full()
    assert not waiting.may_try()
    await until(lambda: told == [QUOTA])
    cluster.events = []
    waiting.job_changed(job("b"), "b")
    assert waiting.is_full()
    comes(waiting, pods, "b", PENDING)
    assert not waiting.is_full()
    await until(lambda: told == [QUOTA, ""])


async def test_a_full_place_is_tried_now_and_then(waiting, monkeypatch) -> None:
    assert waiting.may_try()
    monkeypatch.setattr(waitings, "FULL_SECONDS", 0.5)
    waiting.filled()
    assert not waiting.may_try()
    await until(waiting.may_try)
    waiting.tried()
    assert not waiting.may_try()
    assert waiting.is_full()


async def test_a_pod_that_came_while_its_events_were_read_keeps_its_job(waiting, cluster, pods) -> None:
    cluster.events = [OVER]
    cluster.may_answer.clear()
    waiting.job_changed(job("a"), "a")
    await until(lambda: cluster.asked == 1)
    comes(waiting, pods, "a", RUNNING)
    cluster.may_answer.set()
    waiting.job_changed(job("b"), "b")
    await until(lambda: cluster.deleted == ["b"])


async def test_a_job_that_is_gone_is_no_trouble_whatever_its_events_say(waiting, cluster, told) -> None:
    cluster.events = [REFUSED]
    cluster.may_answer.clear()
    waiting.job_changed(job("a"), "a")
    await until(lambda: cluster.asked == 1)
    waiting.job_changed(job("a", deletionTimestamp="now"), "a")
    cluster.may_answer.set()
    waiting.job_changed(job("b"), "b")
    await until(lambda: told == ["violates PodSecurity"])
    waiting.job_changed(None, "b")
    await until(lambda: told == ["violates PodSecurity", ""])


async def test_a_pod_that_is_refused_is_not_on_its_way(waiting, cluster, told) -> None:
    waiting.job_changed(job("a"), "a")
    assert waiting.is_coming()
    cluster.events = [REFUSED]
    await until(lambda: told == ["violates PodSecurity"])
    assert not waiting.is_coming()


async def test_what_only_a_pods_events_tell_is_told(waiting, cluster, pods, told) -> None:
    waiting.job_changed(job("a"), "a")
    comes(waiting, pods, "a", PENDING)
    assert waiting.is_coming()
    cluster.events = [MOUNT]
    await until(lambda: told != [])
    assert told == ['a ConfigMap or Secret that it needs is missing, or a volume (secret "door" not found)']
    assert not waiting.is_coming()


async def test_a_pods_first_moments_are_let_pass_and_then_it_is_asked_after_by_one_look_at_a_time(
    waiting, cluster, pods, told, monkeypatch
) -> None:
    monkeypatch.setattr(waitings, "LOOK_AGAIN", 0.05)
    monkeypatch.setattr(waitings, "LOOK_AT_POD", 0.3)
    cluster.events = [MOUNT]
    seen = asyncio.get_running_loop().time()
    waiting.job_changed(job("a"), "a")
    comes(waiting, pods, "a", PENDING)
    await until(lambda: len(cluster.asked_at) >= 5)
    moments = [0.3, *[0.05] * 4]
    passed = [later - earlier for earlier, later in itertools.pairwise([seen, *cluster.asked_at])]
    assert all(took >= least - CLOCK for took, least in zip(passed, moments, strict=False)), passed
    assert len(told) == 1


async def test_a_pod_that_waited_for_a_node_is_let_be_once_it_is_placed(
    waiting, cluster, pods, told, monkeypatch
) -> None:
    waiting.job_changed(job("a"), "a")
    comes(waiting, pods, "a", NOWHERE)
    await until(lambda: told == [NO_NODE])
    monkeypatch.setattr(waitings, "LOOK_AT_POD", 0.3)
    placed = asyncio.get_running_loop().time()
    comes(waiting, pods, "a", PENDING)
    await until(lambda: cluster.asked)
    assert cluster.asked_at[0] - placed >= 0.3 - CLOCK


async def test_a_mount_that_failed_in_passing_is_told_no_more_once_its_image_is_pulled(
    waiting, cluster, pods, told
) -> None:
    cluster.events = [MOUNT]
    waiting.job_changed(job("a"), "a")
    comes(waiting, pods, "a", PENDING)
    await until(lambda: len(told) == 1)
    cluster.events = [MOUNT, {"reason": "Pulling"}]
    await until(lambda: told[1:] == [""])
    assert waiting.is_coming()


async def test_a_worker_that_has_not_come_for_long_is_not_on_its_way(waiting, monkeypatch) -> None:
    waiting.job_changed(job("a"), "a")
    assert waiting.is_coming()
    monkeypatch.setattr(waitings, "COMING_SECONDS", 0)
    assert not waiting.is_coming()


async def test_an_api_server_that_is_away_only_needs_time_and_is_not_told_for_ever(
    waiting, told, monkeypatch
) -> None:
    monkeypatch.setattr(waitings, "UNMADE_SECONDS", 0.5)
    waiting.not_made("")
    assert waiting.is_coming()
    await until(lambda: told == [AWAY])
    await until(lambda: told == [AWAY, ""])
    assert not waiting.is_coming()


async def test_a_refusal_is_no_matter_of_time(waiting) -> None:
    waiting.not_made("jobs.batch is forbidden")
    assert not waiting.is_coming()


async def test_whoever_ends_a_worker_waits_for_no_api_server_and_it_is_tried_until_done(
    cluster, monkeypatch
) -> None:
    monkeypatch.setattr("services.scheduler.jobs.deletions.AGAIN_SECONDS", 0.01)
    running = {"a": job("a")}
    deletions = Deletions(cluster, lambda: running)
    task = asyncio.create_task(deletions.run())
    cluster.away = True
    deletions.want("a")
    deletions.want("a")
    await until(lambda: cluster.asked >= 3)
    cluster.away = False
    await until(lambda: cluster.deleted != [])
    running["a"] = job("a", deletionTimestamp="now")
    done = len(cluster.deleted)
    await until(lambda: not deletions._wanted)
    assert len(cluster.deleted) <= done + 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
