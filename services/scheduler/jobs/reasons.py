"""Why a worker does not come, or went: from what the cluster says of its Pod and Job to one plain sentence. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

# Of a container that waits. The rest of what a kubelet says in between means only that it is being made.
_WAITING = {
    "ImagePullBackOff": "its image {image} cannot be pulled",
    "ErrImagePull": "its image {image} cannot be pulled",
    "InvalidImageName": "its image {image} is no image's name",
    "ErrImageNeverPull": "its image {image} is not on the node",
    "CreateContainerConfigError": "a ConfigMap or Secret that it needs is missing",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
}
# Of a Pod that is placed, by its events: the status tells nothing of these.
_HELD_UP = {
    "FailedMount": "a ConfigMap or Secret that it needs is missing, or a volume",
    "FailedAttachVolume": "a volume of its cannot be attached",
    "FailedCreatePodSandBox": "its node cannot make room for it",
}
# What its kubelet does once it is held up no more.
_GOES_ON = {"Pulling", "Pulled", "Created", "Started"}
NO_NODE = "no node has room for it"
AWAY = "the cluster does not answer"
QUOTA = "the quota of the workers' namespace is used up"
# What the API server says to whoever was faster than another one; the controller tries again at once.
_PASSING = "the object has been modified"
_KILLED_BY_KERNEL = 137
DISRUPTED = "DisruptionTarget"


def trouble(pod: Mapping[str, Any]) -> str:
    """Return why `pod` does not start, empty where it just takes its time."""
    status = pod.get("status") or {}
    if stuck := _stuck(status):
        return stuck
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return f"{NO_NODE}{_detail(scheduled)}"
    return ""


def _stuck(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if sentence := _WAITING.get(waiting.get("reason", "")):
            return f"{sentence.format(image=container.get('image', ''))}{_detail(waiting)}"
    return ""


def may_come(pod: Mapping[str, Any] | None) -> bool:
    """Tell whether `pod`, or one that is not there yet, only needs more time: a node may still be added for it."""
    status = (pod or {}).get("status") or {}
    return status.get("phase", "Pending") == "Pending" and not _stuck(status)


def farewell(pod: Mapping[str, Any] | None, job: Mapping[str, Any] | None) -> str:
    """Return why the worker in `pod` of `job` went, empty where it ended as it should; each None where it is not there."""
    status = (pod or {}).get("status") or {}
    if status.get("phase") == "Succeeded":
        return ""
    disrupted = _condition(status, DISRUPTED)
    if status.get("reason") == "Evicted" or disrupted.get("status") == "True":
        return f"it had to leave its node{_detail(disrupted or status)}"
    if status.get("reason") == "DeadlineExceeded" or _failed_by(job, "DeadlineExceeded"):
        return "it had run for as long as a worker may"
    return _ended(status) or trouble(pod or {})


def _ended(status: Mapping[str, Any]) -> str:
    ended = [
        (each.get("state") or {}).get("terminated") or {} for each in status.get("containerStatuses") or []
    ]
    if any(container.get("reason") == "OOMKilled" for container in ended):
        return "it ran out of memory"
    codes = [container["exitCode"] for container in ended if container.get("exitCode")]
    if not codes:
        return ""
    return "it was killed" if codes[0] == _KILLED_BY_KERNEL else f"it ended with exit code {codes[0]}"


def is_quota(message: str) -> bool:
    """Tell whether the API server refused something for want of quota."""
    return "exceeded quota" in message


def refused(message: str) -> str:
    """Return why a Job cannot be made, from what the API server said; empty where it does not answer."""
    if is_quota(message):
        return QUOTA
    return f"the cluster refuses its job ({_shortened(message)})" if message else AWAY


def without_pod(events: Iterable[Mapping[str, Any]]) -> str:
    """Return why a Job has no Pod, from its `events`; empty where the controller just takes its time."""
    for event in sorted(events, key=_told_at, reverse=True):
        if event.get("reason") == "SuccessfulCreate":
            return ""
        if event.get("reason") == "FailedCreate":
            message = str(event.get("message", ""))
            if _PASSING in message:
                return ""
            return QUOTA if is_quota(message) else _shortened(message)
    return ""


def not_begun(events: Iterable[Mapping[str, Any]]) -> str:
    """Return why a Pod that is placed does not begin, from its `events`; empty where it just takes its time."""
    # Times are in whole seconds: of those that are equal, what goes on came last.
    for event in sorted(events, key=lambda each: (_told_at(each), _goes_on(each)), reverse=True):
        if _goes_on(event):
            return ""
        if sentence := _HELD_UP.get(str(event.get("reason"))):
            return f"{sentence}{_detail(event)}"
    return ""


def _goes_on(event: Mapping[str, Any]) -> bool:
    return event.get("reason") in _GOES_ON


def _told_at(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or [] if each.get("type") == kind), {})


def _failed_by(job: Mapping[str, Any] | None, reason: str) -> bool:
    failed = _condition((job or {}).get("status") or {}, "Failed")
    return failed.get("status") == "True" and failed.get("reason") == reason


def _detail(said: Mapping[str, Any]) -> str:
    message = _shortened(str(said.get("message") or ""))
    return f" ({message})" if message else ""


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 200 else f"{flat[:199]}…"
