"""The room for workers: as many as the one number says fit, one more does not, and a pod that says nothing is no more than one."""

from pathlib import Path

import pytest

from services.scheduler.settings import SchedulerSettings
from tests.kubernetes import limits
from tests.kubernetes.manifests import (
    OVERLAYS,
    WORKERS,
    Object,
    named,
    needs_kubectl,
    objects,
    of_kind,
    pools_of,
    with_worker,
)

# All that a quota of pods and amounts may say, by the names that the API server counts.
COUNTED = {
    "pods",
    *(f"{s}.{n}" for s in ("requests", "limits") for n in ("cpu", "memory", "ephemeral-storage")),
}


def most_workers(found: list[Object]) -> int:
    (config,) = (
        each for each in of_kind(found, "ConfigMap") if each["metadata"]["name"].startswith("scheduler-")
    )
    return int(config["data"]["THREADMILL_SCHEDULER_MAX_WORKERS"])


@pytest.mark.parametrize("overlay", OVERLAYS)
@needs_kubectl
def test_as_many_workers_fit_as_the_scheduler_wants_and_not_one_more(overlay: str, tmp_path: Path) -> None:
    found = with_worker(objects(overlay), tmp_path)
    quota, most = (
        named(found, "ResourceQuota", "workers", WORKERS),
        named(found, "LimitRange", "workers", WORKERS),
    )
    (job,) = of_kind(found, "Job")
    pod = job["spec"]["template"]["spec"]
    assert limits.refused(most, pod) == []
    assert set(quota["spec"]["hard"]) == COUNTED
    one = limits.usage(most, pod)
    assert limits.fit(quota, one) == most_workers(found)
    # By each amount alone, so that none of them lets in what another was meant to keep out.
    for name, hard in quota["spec"]["hard"].items():
        assert limits.amount(hard) == most_workers(found) * one[name], name


@pytest.mark.parametrize("overlay", OVERLAYS)
@needs_kubectl
def test_a_pod_that_says_nothing_gets_what_a_worker_gets(overlay: str, tmp_path: Path) -> None:
    found = with_worker(objects(overlay), tmp_path)
    most = named(found, "LimitRange", "workers", WORKERS)
    (job,) = of_kind(found, "Job")
    assert limits.usage(most, {"containers": [{"name": "x"}]}) == limits.usage(
        most, job["spec"]["template"]["spec"]
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
@needs_kubectl
def test_a_worker_outlives_a_turn_and_has_time_to_hand_over(overlay: str, tmp_path: Path) -> None:
    settings = SchedulerSettings()
    for pool in pools_of(objects(overlay), tmp_path).pools.values():
        assert pool.life_seconds - pool.grace_seconds > settings.turn_seconds + settings.deadline_grace
        assert pool.grace_seconds > settings.deadline_grace


LIMITS = {
    "spec": {"limits": [{"default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}, "max": {"cpu": "2"}}]}
}


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        ({"requests.cpu": "10"}, 20),
        ({"requests.cpu": "9999m"}, 19),
        ({"requests.cpu": "400m"}, 0),
        ({"pods": "3", "requests.cpu": "10"}, 3),
        ({"requests.memory": "1Gi"}, 0),
    ],
)
def test_a_quota_is_counted(hard: dict[str, str], expected: int) -> None:
    pod = {"containers": [{"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}}]}
    assert limits.fit({"spec": {"hard": hard}}, limits.usage(LIMITS, pod)) == expected


def test_a_limit_range_fills_in_and_refuses() -> None:
    assert limits.usage(LIMITS, {"containers": [{}, {"resources": {"limits": {"cpu": "1500m"}}}]}) == {
        "pods": 1,
        "requests.cpu": limits.amount("2500m"),
        "limits.cpu": limits.amount("3500m"),
    }
    assert limits.refused(LIMITS, {"containers": [{"resources": {"limits": {"cpu": "3"}}}]}) == ["cpu of 3"]
    assert limits.refused(LIMITS, {"containers": [{}]}) == []


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2), ("500m", 0.5), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("3G", 3e9)]
)
def test_amounts_are_read(text: str, value: float) -> None:
    assert limits.amount(text) == value
