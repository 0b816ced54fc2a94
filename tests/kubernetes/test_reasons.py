"""Why a worker does not come, or went, in words that a person in a thread understands."""

import pytest

from services.scheduler.jobs.reasons import (
    QUOTA,
    farewell,
    may_come,
    not_begun,
    refused,
    trouble,
    without_pod,
)


def waiting(reason: str, message: str = "") -> dict:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"status": {"phase": "Pending", "containerStatuses": [{"image": "worker:9", "state": state}]}}


def ended(phase: str = "Failed", reason: str = "", code: int = 0, **status) -> dict:
    state = {"terminated": {"reason": reason, "exitCode": code}}
    return {"status": {"phase": phase, "containerStatuses": [{"state": state}], **status}}


UNSCHEDULABLE = {
    "status": {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available:\n 3 Insufficient memory.",
            }
        ],
    }
}
DEADLINE = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}
PREEMPTED = {"type": "DisruptionTarget", "status": "True", "message": "preempted by a higher priority"}


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (waiting("ImagePullBackOff"), "its image worker:9 cannot be pulled"),
        (waiting("ErrImagePull", "not found"), "its image worker:9 cannot be pulled (not found)"),
        (waiting("CreateContainerConfigError"), "a ConfigMap or Secret that it needs is missing"),
        (waiting("ContainerCreating"), ""),
        (
            UNSCHEDULABLE,
            "no node has room for it (0/3 nodes are available: 3 Insufficient memory.)",
        ),
        ({"status": {"phase": "Pending"}}, ""),
        ({}, ""),
    ],
)
def test_why_it_does_not_come(pod: dict, told: str):
    assert trouble(pod) == told


@pytest.mark.parametrize(
    ("pod", "comes"),
    [
        (None, True),
        ({"status": {"phase": "Pending"}}, True),
        (UNSCHEDULABLE, True),
        (waiting("ContainerCreating"), True),
        (waiting("ErrImagePull"), False),
        ({"status": {"phase": "Running"}}, False),
        (ended(), False),
    ],
)
def test_what_only_needs_more_time(pod: dict | None, comes: bool):
    assert may_come(pod) is comes


@pytest.mark.parametrize(
    ("pod", "job", "told"),
    [
        (ended("Succeeded", "Completed"), None, ""),
        (ended(reason="OOMKilled", code=137), None, "it ran out of memory"),
        (ended(reason="Error", code=137), None, "it was killed"),
        (ended(reason="Error", code=3), None, "it ended with exit code 3"),
        (
            ended(code=137, reason="Error", conditions=[PREEMPTED]),
            None,
            "it had to leave its node (preempted by a higher priority)",
        ),
        (
            {"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}},
            None,
            "it had to leave its node (low on memory)",
        ),
        (ended(code=143, reason="Error"), DEADLINE, "it had run for as long as a worker may"),
        (None, DEADLINE, "it had run for as long as a worker may"),
        (waiting("ErrImagePull"), None, "its image worker:9 cannot be pulled"),
        (None, None, ""),
    ],
)
def test_why_it_went(pod: dict | None, job: dict | None, told: str):
    assert farewell(pod, job) == told


def test_what_a_cluster_says_at_length_is_cut():
    assert len(trouble(waiting("ErrImagePull", "x" * 5000))) < 300


def test_why_there_is_no_pod():
    quota = {
        "reason": "FailedCreate",
        "message": 'pods "a" is forbidden: exceeded quota: workers',
        "lastTimestamp": "2",
    }
    other = {"reason": "FailedCreate", "message": "violates PodSecurity", "lastTimestamp": "1"}
    assert without_pod([quota]) == QUOTA
    assert without_pod([{"reason": "SuccessfulCreate"}, other]) == "violates PodSecurity"
    assert without_pod([other, quota]) == QUOTA
    busy = "Operation cannot be fulfilled on resourcequotas: the object has been modified; please apply"
    assert without_pod([quota, {"reason": "FailedCreate", "message": busy, "lastTimestamp": "3"}]) == ""
    assert without_pod([]) == ""


@pytest.mark.parametrize("overcome", ["Pulling", "Pulled", "Created", "Started"])
def test_what_held_a_pod_up_is_no_reason_once_its_kubelet_goes_on(overcome: str) -> None:
    mount = {"reason": "FailedMount", "message": "timed out", "lastTimestamp": "2026-01-01T00:00:01Z"}
    later = {"reason": overcome, "lastTimestamp": "2026-01-01T00:00:03Z"}
    assert not_begun([mount, later]) == ""
    assert not_begun([mount, later | {"lastTimestamp": mount["lastTimestamp"]}]) == ""
    again = {"reason": "FailedCreatePodSandBox", "lastTimestamp": "2026-01-01T00:00:05Z"}
    assert not_begun([mount, later, again]) == "its node cannot make room for it"
    assert not_begun([mount, {"reason": "Scheduled", "lastTimestamp": later["lastTimestamp"]}]) != ""


def test_a_job_that_cannot_be_made() -> None:
    assert refused("") == "the cluster does not answer"
    assert refused('jobs "a" is forbidden: exceeded quota: workers') == QUOTA
    assert refused("jobs.batch is  forbidden") == "the cluster refuses its job (jobs.batch is forbidden)"
