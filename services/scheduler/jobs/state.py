"""What state a Job or Pod is in, from its object. Pure."""

from services.scheduler.jobs.cluster import Object
from services.scheduler.jobs.job import SESSION_ANNOTATION, UID_LABEL

ENDED = {"Succeeded", "Failed"}


def has_ended(job: Object) -> bool:
    """Tell whether nothing of `job` runs any more."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(each["type"] in {"Complete", "Failed"} and each["status"] == "True" for each in conditions)


def is_leaving(thing: Object) -> bool:
    """Tell whether `thing` was deleted, and ends."""
    return "deletionTimestamp" in thing["metadata"]


def job_uid_of(pod: Object) -> str:
    """Return the uid of the Job that made `pod`."""
    return str(pod["metadata"].get("labels", {}).get(UID_LABEL, ""))


def has_begun(pod: Object | None) -> bool:
    """Tell whether the containers of `pod` run, or did; None where there is no Pod."""
    return bool(((pod or {}).get("status") or {}).get("phase", "Pending") != "Pending")


def pod_has_ended(pod: Object) -> bool:
    """Tell whether no container of `pod` runs any more."""
    return (pod.get("status") or {}).get("phase") in ENDED


def session_of(pod: Object) -> str:
    """Return the session that `pod` is marked with."""
    return str((pod["metadata"].get("annotations") or {}).get(SESSION_ANNOTATION, ""))
