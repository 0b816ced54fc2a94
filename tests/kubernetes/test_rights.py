"""Who may do what in the cluster: as a table, as what a whole story used of it, and as what is refused to each."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from services.scheduler.jobs.job import UID_LABEL
from tests.e2e.conftest import turns_done
from tests.kubernetes import accidents, flags
from tests.kubernetes.api import Api, Object, Refused, path_of
from tests.kubernetes.audit import Call, calls
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.objects import holds
from tests.kubernetes.town import AGENT, SERVICES, WORKERS, Town, town

pytestmark = [pytest.mark.xdist_group("rights"), pytest.mark.asyncio(loop_scope="module")]

GOLDEN = Path(__file__).parent / "golden" / "rights.txt"
ACCOUNTS = (
    *(
        (SERVICES, name)
        for name in ("archiver", "ingress", "nats", "object-store", "repository", "scheduler")
    ),
    (WORKERS, "worker"),
)
NAMESPACES = (SERVICES, WORKERS, "default", "kube-system")
SCHEDULER = f"{SERVICES}:scheduler"
# What the Role `launcher` allows; who asks for a token's signers needs no right that is not everybody's.
LAUNCHER = {
    *(f"{verb} batch/jobs in {WORKERS}" for verb in ("create", "get", "list", "watch", "delete")),
    *(f"{verb} pods in {WORKERS}" for verb in ("get", "list", "watch", "patch")),
    *(f"{verb} events in {WORKERS}" for verb in ("get", "list")),
}
SIGNERS = {"get /.well-known/openid-configuration", "get /openid/v1/jwks"}
# `kubectl describe` needs it, and whoever debugs as the scheduler; we list.
UNUSED = {f"get events in {WORKERS}"}


async def used_up_quota(place: Town) -> None:
    """A message for which there is no room, until there is."""
    before = await accidents.limit(place.cluster, WORKERS, "workers", pods="0")
    # The first take what is warm; the others have to be launched.
    others = [await place.say(f"more {each}", user=f"U{each % 2 + 1}") for each in range(4)]
    await told(place, lambda seen: f"list events in {WORKERS}" in seen)
    await accidents.limit(place.cluster, WORKERS, "workers", pods=before)
    for each in others:
        await place.until(each, turns_done(1))


async def another_release(place: Town) -> None:
    """The schedulers are drained one after another, and the warm workers of the old image retired."""
    before = place.cluster.pods(SERVICES, **{"app.kubernetes.io/component": "scheduler"})
    await place.plane.kubectl(
        "--namespace",
        SERVICES,
        "set",
        "env",
        "deployment/scheduler",
        "THREADMILL_WORKER_IMAGE=threadmill/worker:next",
    )
    for pod in before:
        await place.cluster.until("pods", SERVICES, pod["metadata"]["name"], lambda it: not it, 90)
    await place.cluster.until("deployments", SERVICES, "scheduler", holds("Available"), 60)


async def told(place: Town, shows: Callable[[set[str]], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not shows({call.what for call in of(place)}):  # noqa: ASYNC110 (a file has no event)
            await asyncio.sleep(0.1)


def of(place: Town) -> list[Call]:
    return calls(place.plane.folder / flags.AUDIT_LOG)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="story")
async def whole_story(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Town, list[Call]]]:
    """The town after a whole story, and what was asked of the API server in it."""
    async with town(shared_cluster.plane, shared_cluster, tmp_path_factory.mktemp("town")) as place:
        ts = await place.say("hello")
        await place.until(ts, turns_done(1))
        await used_up_quota(place)
        (pod, *_) = place.cluster.pods(SERVICES, **{"app.kubernetes.io/component": "scheduler"})
        await accidents.evict(place.cluster, SERVICES, pod["metadata"]["name"])
        await place.say("and after that?", thread=ts)
        await place.until(ts, turns_done(2))
        await another_release(place)
        await place.say("and now?", thread=ts)
        await place.until(ts, turns_done(3))
        yield place, of(place)


async def test_who_may_do_what_is_as_it_was_looked_at(
    story: tuple[Town, list[Call]], request: pytest.FixtureRequest
) -> None:
    tables: dict[str, list[str]] = {}
    for account in await accounts(story[0]):
        for namespace in NAMESPACES:
            table = await may(story[0], account, namespace)
            tables.setdefault(table, []).append(f"{':'.join(account)} in {namespace}")
    found = "\n".join("\n".join([*who, "", table, ""]) for table, who in tables.items())
    if request.config.getoption("--refresh-samples"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


async def accounts(place: Town) -> list[tuple[str, str]]:
    """Return all ServiceAccounts of our namespaces, those that nobody made by hand too."""
    there = [
        (namespace, each["metadata"]["name"])
        for namespace in (SERVICES, WORKERS)
        for each in (await place.cluster.api.get(path_of("serviceaccounts", namespace)))["items"]
    ]
    assert set(ACCOUNTS) == {each for each in there if each[1] != "default"}
    return there


async def may(place: Town, account: tuple[str, str], namespace: str) -> str:
    who = f"--as=system:serviceaccount:{':'.join(account)}"
    listed = await place.plane.kubectl(
        "auth", "can-i", "--list", "--no-headers", "--namespace", namespace, who
    )
    rows = (" ".join(line.split()) for line in listed.splitlines())
    return "\n".join(f"    {row}" for row in sorted(rows))


async def test_nobody_is_refused_anything_in_a_whole_story(story: tuple[Town, list[Call]]) -> None:
    assert {call for call in story[1] if call.status in {401, 403}} == set()


async def test_the_scheduler_uses_its_role_and_nobody_else_speaks_to_the_api_server(
    story: tuple[Town, list[Call]],
) -> None:
    assert {call.who for call in story[1]} == {SCHEDULER}
    used = {call.what for call in story[1]}
    assert used <= LAUNCHER | SIGNERS
    assert LAUNCHER - used == UNUSED


async def test_no_pod_but_the_schedulers_has_a_token_for_the_api_server(
    story: tuple[Town, list[Call]],
) -> None:
    def has_token(pod: Object) -> bool:
        given = [
            source
            for each in pod["spec"]["volumes"]
            for source in each.get("projected", {}).get("sources", [])
        ]
        tokens = [each["serviceAccountToken"] for each in given if "serviceAccountToken" in each]
        return any(each.get("audience") != "threadmill" for each in tokens)

    with_token = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for pod in story[0].cluster.all_pods()
        if has_token(pod)
    }
    assert with_token == {"scheduler"}
    assert {pod["metadata"]["namespace"] for pod in story[0].cluster.all_pods()} == {SERVICES, WORKERS}


Attempt = tuple[str, Callable[[Api], Awaitable[object]]]
JOB = {
    "metadata": {"name": "x"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": []}}},
}


def denied(pod: str) -> list[Attempt]:
    """Return what no ServiceAccount of ours may do; `pod` is a worker's."""
    secrets = [
        (f"{verb} secrets in {place or 'the cluster'}", path_of("secrets", place, name))
        for place in (*NAMESPACES, "")
        for verb, name in (("list", ""), ("get", "door" if place == WORKERS else "agent"))
        if place or verb == "list"
    ]
    reads = [
        *secrets,
        ("nodes", path_of("nodes")),
        ("namespaces", path_of("namespaces")),
        ("config maps", path_of("configmaps", SERVICES)),
        ("pods elsewhere", path_of("pods", SERVICES)),
        ("pods everywhere", path_of("pods")),
        ("logs", path_of("pods", WORKERS, pod, "log")),
        ("exec", path_of("pods", WORKERS, pod, "exec") + "?command=id&stdout=1"),
    ]
    token = {"spec": {"audiences": ["threadmill"], "expirationSeconds": 600}}
    writes: list[tuple[str, str, Object]] = [
        *((f"a job in {place}", path_of("jobs", place), JOB) for place in NAMESPACES if place != WORKERS),
        ("exec", path_of("pods", WORKERS, pod, "exec") + "?command=id&stdout=1", {}),
        ("an eviction", path_of("pods", WORKERS, pod, "eviction"), {}),
        ("a pod", path_of("pods", WORKERS), {"metadata": {"name": "x"}, "spec": {"containers": []}}),
        ("a token", path_of("serviceaccounts", WORKERS, "worker", "token"), token),
        ("a secret", path_of("secrets", WORKERS), {"metadata": {"name": "x"}}),
    ]
    return [
        *((f"read {name}", lambda api, path=path: api.get(path)) for name, path in reads),
        *(
            (f"make {name}", lambda api, path=path, obj=obj: api.create(path, obj))
            for name, path, obj in writes
        ),
        (
            "change a pod's containers",
            lambda api: api.patch(path_of("pods", WORKERS, pod, "ephemeralcontainers"), {"spec": {}}),
        ),
        ("delete a pod", lambda api: api.delete(path_of("pods", WORKERS, pod))),
    ]


@pytest.mark.parametrize(("namespace", "name"), ACCOUNTS)
async def test_each_account_is_refused_by_its_own_token(
    story: tuple[Town, list[Call]], namespace: str, name: str
) -> None:
    place = story[0]
    plane = place.plane
    own = (await plane.kubectl("create", "token", name, "--namespace", namespace)).strip()
    worker = (await a_worker(place))["metadata"]["name"]
    api, answers = Api(plane.url, plane.certificate, own), {}
    try:
        for what, attempt in denied(worker):
            answers[what] = await status_of(attempt(api))
    finally:
        await api.close()
    assert answers == dict.fromkeys(answers, 403)


async def test_a_workers_own_token_is_none_to_the_api_server(story: tuple[Town, list[Call]]) -> None:
    place = story[0]
    files = [each for each in place.cluster.folder.rglob("token/token") if each.is_file()]
    shown = {each.read_text().strip() for each in files}
    assert shown
    for token in shown:
        api = Api(place.plane.url, place.plane.certificate, token)
        paths = ("/api", "/openid/v1/jwks", path_of("pods", WORKERS), path_of("secrets", WORKERS))
        try:
            assert {await status_of(api.get(path)) for path in paths} == {401}
        finally:
            await api.close()


async def test_what_is_in_a_jobs_spec_is_no_secret(story: tuple[Town, list[Call]]) -> None:
    place = story[0]
    everything = json.dumps(
        [await place.cluster.api.get(path_of(kind, WORKERS)) for kind in ("jobs", "pods", "events")]
    )
    assert UID_LABEL in everything
    assert "sk-ant" not in everything
    assert "hello" not in everything


async def test_what_a_session_needs_lies_nowhere_but_where_the_scheduler_reads_it(
    story: tuple[Town, list[Call]],
) -> None:
    # Volumes, claims (so the broker's streams, the object store and the workers' own) and logs of all that ever ran.
    found = [
        path
        for path in story[0].cluster.folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and AGENT["ANTHROPIC_API_KEY"].encode() in path.read_bytes()
    ]
    assert found
    assert {path.parts[-2:] for path in found} == {("agent", "ANTHROPIC_API_KEY")}
    assert all(path.stat().st_size == len(AGENT["ANTHROPIC_API_KEY"]) for path in found)


async def status_of(attempt: Awaitable[object]) -> int:
    try:
        await attempt
    except Refused as e:
        return e.status
    return 200


async def a_worker(place: Town) -> Object:
    async with asyncio.timeout(30):
        while not (found := place.cluster.pods(WORKERS)):  # noqa: ASYNC110 (the next comes in a moment)
            await asyncio.sleep(0.1)
    return found[0]
