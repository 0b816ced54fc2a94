"""What state a Job or Pod is in, from its object. Pure."""

from services.scheduler.jobs.job import (
    POOL_LABEL,
    SESSION_ANNOTATION,
    SINCE_ANNOTATION,
    TEMPLATE_LABEL,
    UID_LABEL,
)
from services.scheduler.jobs.objects import Object

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
    return str((pod["metadata"].get("labels") or {}).get(UID_LABEL, ""))


def owner_of(pod: Object) -> str:
    """Return the name of the Job that controls `pod` by the uid of its label, empty where none does."""
    owners = pod["metadata"].get("ownerReferences") or []
    ours = (each for each in owners if each.get("controller") and each["kind"] == "Job")
    return next((str(each["name"]) for each in ours if each["uid"] == job_uid_of(pod)), "")


def pool_of(thing: Object) -> str:
    """Return the pool of a Job or Pod."""
    return str((thing["metadata"].get("labels") or {}).get(POOL_LABEL, ""))


def is_older(job: Object, template: str, since: str) -> bool:
    """Tell whether `job` is of another `template`, and of a scheduler that began before `since`.

    The last one that began is right: an earlier release that still runs lets the later one's workers be.
    """
    marks, notes = job["metadata"].get("labels") or {}, job["metadata"].get("annotations") or {}
    return marks.get(TEMPLATE_LABEL) != template and str(notes.get(SINCE_ANNOTATION, "")) < since


def has_begun(pod: Object | None) -> bool:
    """Tell whether the containers of `pod` run, or did; None where there is no Pod."""
    return bool(((pod or {}).get("status") or {}).get("phase", "Pending") != "Pending")


def pod_has_ended(pod: Object) -> bool:
    """Tell whether no container of `pod` runs any more."""
    return (pod.get("status") or {}).get("phase") in ENDED


def session_of(pod: Object) -> str:
    """Return the session that `pod` is marked with."""
    return str((pod["metadata"].get("annotations") or {}).get(SESSION_ANNOTATION, ""))
