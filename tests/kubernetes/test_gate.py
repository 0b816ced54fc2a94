"""Who is let in at the gate, and what somebody who knocks all the time costs: the cluster is a stand-in that counts."""

import asyncio
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from services.runtime.errors import Unavailable
from services.scheduler.jobs import gate as gates
from services.scheduler.jobs.gate import JobGate
from services.scheduler.jobs.job import POOL_LABEL, SESSION_ANNOTATION, UID_LABEL
from services.scheduler.jobs.pools import Pool, Pools

ISSUER, UID = "https://cluster.test", "u-1"
POOLS = Pools(
    namespace="threadmill-workers",
    service_account="worker",
    door="door",
    audience="threadmill",
    pools={"default": Pool(image="i")},
)
KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
Object = dict[str, Any]


def public(kid: str) -> Object:
    return json.loads(ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": kid, "alg": "ES256", "use": "sig"}


def token(kid: str = "k1", key: Any = KEY, **changed: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": ["threadmill"],
        "exp": time.time() + 86_400,
        "kubernetes.io": {
            "namespace": "threadmill-workers",
            "pod": {"name": "p-1", "uid": "pod-1"},
            "serviceaccount": {"name": "worker", "uid": "s"},
        },
    }
    return jwt.encode(claims | changed, key, algorithm="ES256", headers={"kid": kid})


def pod(**changed: Any) -> Object:
    owner = {"kind": "Job", "name": "j-1", "uid": UID, "controller": True}
    metadata = {
        "name": "p-1",
        "uid": "pod-1",
        "labels": {UID_LABEL: UID, POOL_LABEL: "default"},
        "ownerReferences": [owner],
    }
    return {"metadata": metadata | changed, "status": {"phase": "Running"}}


def job(uid: str = UID, pool: str = "default", **changed: Any) -> Object:
    return {"metadata": {"name": "j-1", "uid": uid, "labels": {POOL_LABEL: pool}}} | changed


class Counted:
    """An API server that knows one Pod and one Job, and how often it was asked; `away` it does not answer."""

    def __init__(self) -> None:
        self.keys: list[Object] = [public("k1")]
        self.pods: Object | None = pod()
        self.jobs: Object | None = job()
        self.away = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked = {"signers": 0, "pod": 0, "job": 0}

    async def signers(self) -> tuple[str, Object]:
        self.asked["signers"] += 1
        await self.hold.wait()
        if self.away:
            raise Unavailable("it is away")
        return ISSUER, {"keys": self.keys}

    async def pod(self, name: str) -> Object | None:
        self.asked["pod"] += 1
        return self.pods

    async def job(self, name: str) -> Object | None:
        self.asked["job"] += 1
        return self.jobs if name == "j-1" else None


@pytest.fixture
def cluster() -> Counted:
    return Counted()


@pytest.fixture
def gate(cluster: Counted) -> JobGate:
    return JobGate(cluster, POOLS)  # type: ignore[arg-type] (what of it is asked)


def knock(gate: JobGate, shown: str, worker: str = f"w-{UID}", pool: str = "default") -> Any:
    return gate.refusal(pool, worker, shown)


async def test_a_worker_of_the_schedulers_own_job_is_let_in(gate: JobGate) -> None:
    assert await knock(gate, token()) == ""


@pytest.mark.parametrize(
    "shown",
    [
        token(aud=["https://kubernetes.default.svc"]),
        token(aud=None),
        token(iss="https://elsewhere.test"),
        token(exp=time.time() - 60),
        token(exp=None),
        token(nbf=time.time() + 86_400),
        token(key=OTHER),
        token(**{"kubernetes.io": None}),
        token(**{"kubernetes.io": {"namespace": "threadmill-workers", "serviceaccount": {"name": "worker"}}}),
        jwt.encode({"iss": ISSUER, "aud": "threadmill", "exp": 2**40}, "", "none", headers={"kid": "k1"}),
        jwt.encode({"iss": ISSUER, "aud": "threadmill", "exp": 2**40}, "x" * 64, headers={"kid": "k1"}),
        "",
        "x.y.z",
        "é",
    ],
)
async def test_what_is_no_token_of_the_cluster_for_us_costs_it_nothing(
    gate: JobGate, cluster: Counted, shown: str
) -> None:
    assert "none that this cluster gave a worker" in await knock(gate, shown)
    assert cluster.asked["pod"] == 0


@pytest.mark.parametrize(
    ("place", "name"), [("namespace", "threadmill"), ("serviceaccount", {"name": "scheduler"})]
)
async def test_another_accounts_token_is_no_workers(
    gate: JobGate, cluster: Counted, place: str, name: object
) -> None:
    whose = {
        "namespace": "threadmill-workers",
        "pod": {"name": "p-1", "uid": "pod-1"},
        "serviceaccount": {"name": "worker"},
    }
    refusal = await knock(gate, token(**{"kubernetes.io": whose | {place: name}}))
    assert refusal == "The token is not that of a worker."
    assert cluster.asked["pod"] == 0


@pytest.mark.parametrize(
    ("there", "of", "word"),
    [
        (None, job(), "gone"),
        (pod(uid="pod-2"), job(), "gone"),
        (pod(deletionTimestamp="2026-01-01T00:00:00Z"), job(), "gone"),
        (pod() | {"status": {"phase": "Failed"}}, job(), "gone"),
        (pod(labels=None), job(), "another worker"),
        (pod(labels={UID_LABEL: UID}), job(), "another worker"),
        (pod(labels={UID_LABEL: "u-2", POOL_LABEL: "default"}), job(), "another worker"),
        (pod(annotations={SESSION_ANNOTATION: "T1.C1.1-1"}), job(), "has had its session"),
        # Made by hand, and labelled as a worker.
        (pod(ownerReferences=None), job(), "no job of this pool"),
        (
            pod(ownerReferences=[{"kind": "ReplicaSet", "name": "j-1", "uid": UID, "controller": True}]),
            job(),
            "no job of this pool",
        ),
        (pod(ownerReferences=[{"kind": "Job", "name": "j-1", "uid": UID}]), job(), "no job of this pool"),
        (pod(), None, "no job of this pool"),
        (pod(), job(uid="u-9"), "no job of this pool"),
        (pod(), job(pool="other"), "no job of this pool"),
        (pod(), job(status={"conditions": [{"type": "Complete", "status": "True"}]}), "has ended"),
    ],
)
async def test_a_token_of_what_is_no_worker_now_opens_nothing(
    gate: JobGate, cluster: Counted, there: Object | None, of: Object | None, word: str
) -> None:
    cluster.pods, cluster.jobs = there, of
    assert word in await knock(gate, token())


async def test_another_workers_name_or_pool_is_not_to_be_had_for_ones_own_token(gate: JobGate) -> None:
    assert "another worker" in await knock(gate, token(), worker="w-u-2")


async def test_one_pod_that_knocks_all_the_time_asks_the_api_server_no_more_often(
    gate: JobGate, cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "KNOCK_SECONDS", 600.0)
    answers = await asyncio.gather(*(knock(gate, token()) for _ in range(200)), return_exceptions=True)
    assert [each for each in answers if each == ""] == [""]
    assert cluster.asked == {"signers": 1, "pod": 1, "job": 1}
    monkeypatch.setattr(gates, "KNOCK_SECONDS", 0.0)
    assert await knock(gate, token()) == ""


async def test_tokens_of_unknown_keys_make_nobody_ask_and_nobody_wait(
    gate: JobGate, cluster: Counted
) -> None:
    assert await knock(gate, token()) == ""
    strangers = [asyncio.create_task(knock(gate, token(kid=f"x{each}"))) for each in range(100)]
    answers = await asyncio.gather(*strangers, return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in answers)
    assert cluster.asked["signers"] == 1


async def test_an_api_server_that_hangs_over_its_keys_keeps_nobody_waiting_whose_key_is_known(
    gate: JobGate, cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "ASK_AGAIN_SECONDS", 0.0)
    assert "none that" in await knock(gate, token(kid="x"))
    cluster.hold.clear()
    stranger = asyncio.create_task(knock(gate, token(kid="x")))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await knock(gate, token()) == ""
    stranger.cancel()


async def test_a_key_that_the_cluster_has_only_now_is_learned(
    gate: JobGate, cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "ASK_AGAIN_SECONDS", 0.0)
    assert "none that" in await knock(gate, token(kid="k2"))
    cluster.keys.append(public("k2"))
    assert await knock(gate, token(kid="k2")) == ""


async def test_an_api_server_that_is_away_is_asked_again_and_refuses_nobody(
    gate: JobGate, cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = token()
    monkeypatch.setattr(gates, "AFTER_FAILURE_SECONDS", 2.0)
    cluster.away = True
    for _ in range(50):
        with pytest.raises(Unavailable):
            await knock(gate, shown)
    assert cluster.asked["signers"] == 1
    cluster.away = False
    await asyncio.sleep(gates.AFTER_FAILURE_SECONDS)
    assert await knock(gate, shown) == ""


async def test_keys_that_are_none_are_asked_for_again(gate: JobGate, cluster: Counted) -> None:
    cluster.keys = []
    with pytest.raises(Unavailable, match="does not tell its keys"):
        await knock(gate, token())
