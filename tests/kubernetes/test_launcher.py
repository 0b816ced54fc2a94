"""The launcher on a real API server with the real Job controller; the test plays the node."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from schemas.keys import SessionKey
from services.runtime.tasks import cancel
from services.scheduler.jobs.cluster import Cluster
from services.scheduler.jobs.gate import JobGate
from services.scheduler.jobs.job import SAFE_TO_EVICT, SESSION_ANNOTATION, UID_LABEL
from services.scheduler.jobs.launcher import JobLauncher
from services.scheduler.jobs.naming import uid_of_worker
from services.scheduler.jobs.pools import Pool, Pools
from services.scheduler.launcher import Exit
from tests.kubernetes.api import Api, Object, path_of
from tests.kubernetes.control_plane import ControlPlane

WORKERS = "threadmill-workers"
KEY = SessionKey("T1", "C1", "1-1")
PATIENCE = 30.0


def pools(image: str = "registry.test/worker:1") -> Pools:
    return Pools(
        namespace=WORKERS,
        service_account="worker",
        door="door",
        audience="threadmill",
        pools={"default": Pool(image=image)},
    )


class Field:
    """A namespace for workers on a control plane, and launchers that see it as the scheduler does."""

    def __init__(self, plane: ControlPlane, api: Api, account: Path) -> None:
        self.plane = plane
        self.api = api
        self.account = account
        self._running: list[asyncio.Task[None]] = []
        self._clusters: list[Cluster] = []

    def cluster(self) -> Cluster:
        self._clusters.append(Cluster.inside(WORKERS, self.account))
        return self._clusters[-1]

    async def launcher(self, image: str = "registry.test/worker:1") -> JobLauncher:
        launcher = JobLauncher(self.cluster(), pools(image), "default")
        self._running.append(asyncio.create_task(launcher.run()))
        await launcher.recover()
        return launcher

    async def pod_of(self, worker: str) -> Object:
        """Return the Pod that the Job controller made for `worker`."""
        selector = f"{UID_LABEL}={uid_of_worker(worker)}"
        return await self._sometime(lambda: self._first("pods", selector))

    async def jobs(self) -> list[Object]:
        return (await self.api.get(path_of("jobs", WORKERS)))["items"]

    async def pods(self) -> list[Object]:
        return (await self.api.get(path_of("pods", WORKERS)))["items"]

    async def says(self, pod: Object, status: Object) -> None:
        """Say about `pod` what its node would."""
        where = path_of("pods", WORKERS, pod["metadata"]["name"], "status")
        await self.api.patch(where, {"status": status})

    async def close(self) -> None:
        await cancel(*self._running)
        for cluster in self._clusters:
            await cluster.close()

    async def _first(self, kind: str, selector: str) -> Object | None:
        return next(iter((await self.api.get(path_of(kind, WORKERS), labelSelector=selector))["items"]), None)

    async def _sometime(self, look: Callable) -> Object:
        async with asyncio.timeout(PATIENCE):
            while not (found := await look()):  # noqa: ASYNC110 (asked, so that no watch is needed to test ours)
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def field(plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Field]:
    for name in ("worker", "scheduler"):
        await plane.kubectl("create", "namespace", WORKERS) if name == "worker" else None
        await plane.kubectl("create", "serviceaccount", name, "--namespace", WORKERS)
    rights = ("--verb=create,get,list,watch,delete", "--resource=jobs")
    await plane.kubectl("create", "role", "jobs", *rights, "--namespace", WORKERS)
    rights = ("--verb=get,list,watch,patch", "--resource=pods")
    await plane.kubectl("create", "role", "pods", *rights, "--namespace", WORKERS)
    await plane.kubectl(
        "create", "role", "events", "--verb=get,list", "--resource=events", "--namespace", WORKERS
    )
    for name in ("jobs", "pods", "events"):
        account = f"--serviceaccount={WORKERS}:scheduler"
        await plane.kubectl("create", "rolebinding", name, f"--role={name}", account, "--namespace", WORKERS)
    token = await plane.kubectl("create", "token", "scheduler", "--namespace", WORKERS)
    (tmp_path / "account").mkdir()
    (tmp_path / "account" / "token").write_text(token.strip())
    (tmp_path / "account" / "ca.crt").write_text(plane.certificate.read_text())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(plane.port))
    api = Api(plane.url, plane.certificate, plane.token)
    field = Field(plane, api, tmp_path / "account")
    yield field
    await field.close()
    await api.close()


def ended(reason: str, code: int) -> Object:
    state = {"terminated": {"reason": reason, "exitCode": code}}
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [of_container(state)]}


def of_container(state: Object) -> Object:
    return {
        "name": "worker",
        "image": "registry.test/worker:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


async def told(launcher: JobLauncher) -> Exit:
    async with asyncio.timeout(PATIENCE), contextlib.aclosing(launcher.exited()) as exits:
        return await anext(exits)


async def trouble_of(launcher: JobLauncher) -> str:
    async with asyncio.timeout(PATIENCE), contextlib.aclosing(launcher.troubles()) as troubles:
        return await anext(troubles)


async def test_two_replicas_that_want_the_same_worker_make_one(field: Field) -> None:
    one, other = await field.launcher(), await field.launcher()
    names = await asyncio.gather(one.launch("default"), other.launch("default"))
    assert len(set(names)) == 1
    assert len(await field.jobs()) == 1
    assert set(one.workers()) == set(other.workers()) == set(names)
    assert await one.launch("default") != names[0]
    assert len(await field.jobs()) == 2


async def test_a_scheduler_that_comes_back_finds_its_workers_and_hears_of_their_end(field: Field) -> None:
    before = await field.launcher()
    worker = await before.launch("default")
    after = await field.launcher()
    assert set(after.workers()) == {worker}
    await field.says(await field.pod_of(worker), ended("Completed", 0))
    assert await told(after) == Exit(worker)
    assert not after.workers()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (ended("OOMKilled", 137), "it ran out of memory"),
        (ended("Error", 3), "it ended with exit code 3"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            "it had to leave its node (low on memory)",
        ),
    ],
)
async def test_the_end_of_a_worker_is_told_with_its_reason(field: Field, status: Object, reason: str) -> None:
    launcher = await field.launcher()
    worker = await launcher.launch("default")
    await field.says(await field.pod_of(worker), status)
    assert await told(launcher) == Exit(worker, reason)


async def test_why_a_worker_does_not_come_is_told_and_when_it_does(field: Field) -> None:
    launcher = await field.launcher()
    pod = await field.pod_of(await launcher.launch("default"))
    waiting = of_container({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    await field.says(pod, {"phase": "Pending", "containerStatuses": [waiting]})
    assert await trouble_of(launcher) == "its image registry.test/worker:1 cannot be pulled (no such image)"
    running = of_container({"running": {}})
    await field.says(pod, {"phase": "Running", "containerStatuses": [running]})
    assert await trouble_of(launcher) == ""


async def test_a_quota_that_is_used_up_makes_the_place_full_and_leaves_no_job(field: Field) -> None:
    await field.plane.kubectl("create", "quota", "workers", "--hard=pods=1", "--namespace", WORKERS)
    await field.plane.kubectl(
        "wait", "quota/workers", "--for=jsonpath={.status.hard.pods}=1", "--namespace", WORKERS
    )
    launcher = await field.launcher()
    first = await launcher.launch("default")
    await field.pod_of(first)
    second = await launcher.launch("default")
    assert await trouble_of(launcher) == "the quota of the workers' namespace is used up"
    assert launcher.is_full()
    assert (await told(launcher)).name == second
    assert set(launcher.workers()) == {first}


async def test_an_api_server_that_restarts_is_no_reason_to_lose_sight(field: Field) -> None:
    launcher = await field.launcher()
    worker = await launcher.launch("default")
    pod = await field.pod_of(worker)
    field.plane.apiserver.kill()
    field.plane.apiserver.start()
    await field.plane.until_ready()
    await field.says(pod, ended("Completed", 0))
    assert await told(launcher) == Exit(worker)


async def test_a_worker_that_works_is_marked_for_people_and_autoscalers(field: Field) -> None:
    launcher = await field.launcher()
    worker = await launcher.launch("default")
    launcher.working(worker, KEY)
    pod = await field.pod_of(worker)
    async with asyncio.timeout(PATIENCE):
        while SESSION_ANNOTATION not in pod["metadata"]["annotations"]:
            pod = await field.pod_of(worker)
    assert (
        pod["metadata"]["annotations"] | {SAFE_TO_EVICT: "false", SESSION_ANNOTATION: str(KEY)}
        == pod["metadata"]["annotations"]
    )


async def test_a_worker_that_is_retired_is_leaving_until_its_pod_is_gone(field: Field) -> None:
    launcher = await field.launcher()
    worker = await launcher.launch("default")
    await field.pod_of(worker)
    assert await launcher.retire(worker)
    assert (await told(launcher)).name == worker
    assert not await launcher.retire(worker)
    assert await field.jobs() == []


async def test_workers_of_another_release_are_outdated(field: Field) -> None:
    old = await field.launcher()
    worker = await old.launch("default")
    new = await field.launcher(image="registry.test/worker:2")
    assert set(new.outdated()) == {worker}
    fresh = await new.launch("default")
    assert set(new.outdated()) == {worker}
    assert set(old.outdated()) == set()
    assert {worker, fresh} == set(new.workers())
    late = await old.launch("default")
    async with asyncio.timeout(PATIENCE):
        while set(new.outdated()) != {worker, late}:  # noqa: ASYNC110 (nobody is told: it looks whenever it acts)
            await asyncio.sleep(0.05)
    assert set(old.outdated()) == set()


async def test_a_job_that_has_ended_is_removed_after_a_while_and_its_pod_with_it(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scheduler.jobs.job.KEPT_SECONDS", 1)
    launcher = await field.launcher()
    worker = await launcher.launch("default")
    await field.says(await field.pod_of(worker), ended("Error", 3))
    assert await told(launcher) == Exit(worker, "it ended with exit code 3")
    async with asyncio.timeout(PATIENCE):
        while await field.jobs() or await field.pods():  # noqa: ASYNC110 (its controller tells nobody)
            await asyncio.sleep(0.05)


async def test_draining_deletes_no_job(field: Field) -> None:
    launcher = await field.launcher()
    await launcher.launch("default")
    await launcher.terminate_all(0)
    (job,) = await field.jobs()
    assert "deletionTimestamp" not in job["metadata"]


async def token_of(field: Field, pod: Object, audience: str = "threadmill") -> str:
    bound = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
    }
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound},
    }
    where = path_of("serviceaccounts", WORKERS, "worker", "token")
    return (await field.api.create(where, asked))["status"]["token"]


def made_by_hand(pod: Object, uid: str) -> Object:
    """Return a Pod that somebody made look like the worker in `pod`, but of a Job that is not there."""
    labels = pod["metadata"]["labels"] | {UID_LABEL: uid}
    kept = ("containers", "volumes", "serviceAccountName", "securityContext", "restartPolicy")
    spec = {name: pod["spec"][name] for name in kept}
    return {"metadata": {"name": "by-hand", "labels": labels}, "spec": spec}


async def test_the_gate_knows_a_worker_by_its_pods_token_and_nobody_else(field: Field) -> None:
    launcher, cluster = await field.launcher(), field.cluster()

    class Gate:
        async def refusal(self, *knock: str) -> str:
            return await JobGate(cluster, pools()).refusal(
                *knock
            )  # each time as if nobody had knocked before

    gate = Gate()
    worker, other = await launcher.launch("default"), await launcher.launch("default")
    pod = await field.pod_of(worker)
    token = await token_of(field, pod)
    assert await gate.refusal("default", worker, token) == ""
    assert "another worker" in await gate.refusal("default", other, token)
    assert "another worker" in await gate.refusal("elsewhere", worker, token)
    for_the_api = await token_of(field, pod, "https://kubernetes.default.svc.cluster.local")
    assert "none that this cluster gave" in await gate.refusal("default", worker, for_the_api)
    assert "none that this cluster gave" in await gate.refusal("default", worker, token[:-4] + "AAAA")
    assert "none that this cluster gave" in await gate.refusal("default", worker, "x")
    scheduler = (field.account / "token").read_text()
    assert "none that this cluster gave" in await gate.refusal("default", worker, scheduler)
    by_hand = await field.api.create(path_of("pods", WORKERS), made_by_hand(pod, "u-1"))
    assert "of no job" in await gate.refusal("default", "w-u-1", await token_of(field, by_hand))
    await launcher.retire(worker)
    await told(launcher)
    assert "gone" in await gate.refusal("default", worker, token)


async def test_a_job_is_what_the_api_server_takes_in_a_restricted_namespace(field: Field) -> None:
    level = "pod-security.kubernetes.io/enforce=restricted"
    await field.plane.kubectl("label", "namespace", WORKERS, level)
    launcher = await field.launcher()
    pod = await field.pod_of(await launcher.launch("default"))
    (container,) = pod["spec"]["containers"]
    uid = next(each for each in container["env"] if each["name"] == "JOB_UID")
    assert UID_LABEL in json.dumps(uid)


async def test_a_worker_is_coming_until_its_pod_runs(field: Field) -> None:
    launcher = await field.launcher()
    worker = await launcher.launch("default")
    assert set(launcher.coming()) == {worker}
    await field.says(await field.pod_of(worker), {"phase": "Running"})
    async with asyncio.timeout(PATIENCE):
        while launcher.coming():  # noqa: ASYNC110 (nobody is told: the scheduler looks when it has to know)
            await asyncio.sleep(0.05)
    assert set(launcher.workers()) == {worker}
