"""What a worker's Job asks of the cluster."""

import json
from pathlib import Path

import msgspec
import pytest

from services.runtime.errors import SettingsError
from services.runtime.settings import load
from services.scheduler.jobs.job import LIFE, SAFE_TO_EVICT, TOKEN, job_of
from services.scheduler.jobs.naming import next_name, uid_of_worker, worker_of
from services.scheduler.jobs.pools import Pool, Pools, Resources
from services.worker.settings import WorkerSettings

POOL = Pool(
    image="registry.test/worker:1", environment={"THREADMILL_NATS_URL": "nats://nats.threadmill.svc:4222"}
)
POOLS = Pools(
    namespace="threadmill-workers",
    service_account="worker",
    door="door",
    audience="threadmill",
    pools={"default": POOL},
)


def spec_of(pool: Pool = POOL) -> dict:
    job = job_of("threadmill-worker-1", "default", msgspec.structs.replace(POOLS, pools={"default": pool}))
    return job["spec"]


def pod_of(pool: Pool = POOL) -> dict:
    return spec_of(pool)["template"]["spec"]


def environment_of(pool: Pool = POOL) -> dict[str, str]:
    (container,) = pod_of(pool)["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_it_runs_once_and_whoever_evicts_it_is_no_failure_to_be_tried_again():
    spec = spec_of()
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onPodConditions"][0]["type"]) == ("FailJob", "DisruptionTarget")


def test_it_hands_over_before_its_deadline():
    left = spec_of()["activeDeadlineSeconds"] - int(environment_of()[LIFE])
    assert left == pod_of()["terminationGracePeriodSeconds"] > 0


def test_nothing_in_it_is_secret_or_tells_of_a_session():
    told = json.dumps(job_of("threadmill-worker-1", "default", POOLS))
    for word in ("ANTHROPIC", "GIT_", "PASSWORD", "jwt", "prompt"):
        assert word not in told


def test_it_is_as_restricted_as_pod_security_asks():
    pod = pod_of()
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
    assert {path for path, read_only in mounts.items() if not read_only} == {"/data", "/tmp"}


def test_its_token_is_of_no_use_to_the_api_server():
    (source,) = next(each for each in pod_of()["volumes"] if each["name"] == "token")["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "threadmill"


def test_the_worker_can_read_its_settings():
    environ = environment_of() | {"THREADMILL_WORKER": "w-1"}
    settings = load(WorkerSettings, environ)
    assert settings.token == Path(environ[TOKEN])
    assert settings.nats.url == POOL.environment["THREADMILL_NATS_URL"]
    assert settings.pool == "default"


def test_an_idle_worker_does_not_hold_its_node():
    assert spec_of()["template"]["metadata"]["annotations"] == {SAFE_TO_EVICT: "true"}


def test_a_pool_places_its_workers():
    plain, placed = (
        pod_of(),
        pod_of(
            msgspec.structs.replace(
                POOL,
                node_selector={"disk": "fast"},
                spot="gke",
                runtime_class="gvisor",
                host_users=False,
                priority_class="low",
                pull_secret="registry",
            )
        ),
    )
    assert plain.keys().isdisjoint({"nodeSelector", "tolerations", "runtimeClassName", "hostUsers"})
    assert placed["nodeSelector"] == {"disk": "fast"}
    assert placed["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert (placed["runtimeClassName"], placed["hostUsers"]) == ("gvisor", False)
    assert placed["imagePullSecrets"] == [{"name": "registry"}]


def test_all_replicas_find_the_same_name_for_the_worker_that_is_missing():
    first = next_name("default", "t1", [])
    assert next_name("default", "t1", set()) == first
    second = next_name("default", "t1", [first])
    assert second not in {first, next_name("default", "t2", []), next_name("other", "t1", [])}
    assert next_name("default", "t1", [second]) == first


def test_a_worker_is_called_by_its_jobs_uid():
    uid = "0d9f5f0e-6a3c-4b0e-9d55-5a2d7b8b7c11"
    assert uid_of_worker(worker_of(uid)) == uid


def test_a_template_has_another_mark_when_anything_in_it_changes():
    marks = {
        pool.template
        for pool in (
            POOL,
            msgspec.structs.replace(POOL, image="registry.test/worker:2"),
            msgspec.structs.replace(POOL, resources=Resources(cpu_limit="4")),
            msgspec.structs.replace(POOL, environment={}),
        )
    }
    assert len(marks) == 4


FILE = """
namespace: threadmill-workers
service_account: worker
door: door
audience: threadmill
pools:
  default:
    environment: {THREADMILL_NATS_URL: "nats://nats.threadmill.svc:4222"}
    resources: {memory_limit: 8Gi}
"""


def test_the_file_tells_all_of_it_but_the_image(tmp_path: Path):
    path = tmp_path / "pools.yaml"
    path.write_text(FILE)
    pool = Pools.read(path, "registry.test/worker:7").pools["default"]
    assert (pool.image, pool.resources.memory_limit) == ("registry.test/worker:7", "8Gi")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("", "Expected `object`"),
        (FILE.replace("memory_limit: 8Gi", "memory_limit: lots"), "memory_limit"),
        (FILE.replace("    resources", "    rescources"), "rescources"),
        (FILE.replace("default:", "De fault:"), "De fault"),
        (FILE.replace("pools:", "pools: ["), "cannot be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_of_in_one_sentence(tmp_path: Path, changed: str, told: str):
    path = tmp_path / "pools.yaml"
    path.write_text(changed)
    with pytest.raises(SettingsError, match=told) as error:
        Pools.read(path, "image")
    assert str(path) in str(error.value)


def test_a_pool_without_an_image_says_where_to_name_one(tmp_path: Path):
    path = tmp_path / "pools.yaml"
    path.write_text(FILE)
    with pytest.raises(SettingsError, match="THREADMILL_WORKER_IMAGE"):
        Pools.read(path, "")
