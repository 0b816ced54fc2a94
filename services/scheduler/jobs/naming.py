"""What Jobs and workers are called. Pure.

A Job's name is that of its place among the workers of its pool: all replicas find the same one for the worker that is
missing, so that asking twice makes one Job. A place is taken again once its Job is forgotten, and a worker is called by
its Job's own uid, which never comes again.
"""

import hashlib
from collections.abc import Collection
from itertools import count

PREFIX = "threadmill-worker-"
WORKER = "w-"


def next_name(pool: str, template: str, known: Collection[str]) -> str:
    """Return the name for one more Job of `pool`; `known` are the names of those that there are, ended ones too."""
    names = (_name(f"{pool}\n{template}\n{place}") for place in count())
    return next(name for name in names if name not in known)


def worker_of(uid: str) -> str:
    """Return the name of the worker in the Job `uid`, as its container is told too."""
    return f"{WORKER}{uid}"


def uid_of_worker(worker: str) -> str:
    """Return the uid of the Job that `worker` says to be in."""
    return worker.removeprefix(WORKER)


def _name(place: str) -> str:
    # Lower case, legal as a label, and telling nothing.
    return PREFIX + hashlib.sha256(place.encode()).hexdigest()[:16]
