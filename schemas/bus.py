"""The map of the bus: every stream, consumer and bucket, as data, with the descriptions that `nats` shows."""

from typing import Literal

import msgspec

SESSION_SUBJECTS = "session.*.*.*"
IN = f"{SESSION_SUBJECTS}.in.*"
CONTROL = f"{SESSION_SUBJECTS}.control"
OUT = f"{SESSION_SUBJECTS}.out"
END = f"{SESSION_SUBJECTS}.end.*"
STATE = f"{SESSION_SUBJECTS}.state"

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
MIB, GIB = 2**20, 2**30

LEASE_LIFE = 15.0
MAX_PAYLOAD = 4 * MIB


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream. `max_age` in seconds, 0 for no limit; `max_bytes` and `per_subject` (messages) -1 for no limit."""

    name: str
    description: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"] = "limits"
    discard: Literal["old", "new"] = "old"
    max_age: float = 0
    max_bytes: int = -1
    per_subject: int = -1
    message_ttl: bool = False
    atomic: bool = False


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A durable pull consumer. `ack_wait` in seconds."""

    name: str
    stream: str
    description: str
    filters: tuple[str, ...]
    ack_wait: float = 30.0
    max_ack_pending: int = 4096


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A key-value bucket; `ttl` in seconds, 0 for none."""

    name: str
    description: str
    ttl: float = 0


SESSIONS = Stream(
    name="SESSIONS",
    description="Every session's log: in, control, out, end, state. Purged only by the archiver.",
    subjects=(IN, CONTROL, OUT, END, STATE),
    discard="new",
    max_bytes=8 * GIB,
    atomic=True,
)
WORK = Stream(
    name="WORK",
    description="One assignment per start of a turn, for whichever new worker of the pool takes it.",
    subjects=("work.*",),
    retention="workqueue",
    message_ttl=True,
    max_bytes=GIB,
)
DEADLETTER = Stream(
    name="DEADLETTER",
    description="What could not be processed, with the reason. `threadmill dead` lists and replays it.",
    subjects=("dead.>",),
    max_age=30 * DAY,
    max_bytes=GIB,
)
AUDIT = Stream(
    name="AUDIT",
    description="Who started, approved, stopped, changed, read, exported, deleted what.",
    subjects=("audit.>",),
    max_age=400 * DAY,
    max_bytes=4 * GIB,
)
FILES = Stream(
    name="FILES",
    description="Attachments on their way to a worker, and files on their way to a thread, in chunks.",
    subjects=("files.>",),
    discard="new",
    max_age=7 * DAY,
    max_bytes=4 * GIB,
    per_subject=1,
)
STREAMS = (SESSIONS, WORK, DEADLETTER, AUDIT, FILES)


def stream_of(subject: str) -> str:
    """Return the name of the stream that keeps `subject`. Raises `KeyError` for one that no stream keeps."""
    head, *rest = subject.split(".")
    if head == "$KV":
        return f"KV_{rest[0]}"
    kept_by = {"session": SESSIONS, "work": WORK, "dead": DEADLETTER, "audit": AUDIT, "files": FILES}
    return kept_by[head].name


SCHEDULER = Consumer(
    name="scheduler",
    stream="SESSIONS",
    description="The scheduler's triggers: inputs, controls and ends.",
    filters=(IN, CONTROL, END),
    ack_wait=5.0,
)
ARCHIVER = Consumer(
    name="archiver",
    stream="SESSIONS",
    description="Tells the archiver that a session has something new; acknowledged once it is in object storage.",
    filters=(IN, CONTROL, OUT, END, STATE),
    ack_wait=2 * MINUTE,
    max_ack_pending=20_000,
)
CONSUMERS = (SCHEDULER, ARCHIVER)


def pool_consumer(pool: str) -> Consumer:
    """Return the consumer that the workers of `pool` share."""
    return Consumer(
        name=f"pool-{pool}",
        stream="WORK",
        description=f"Workers of the pool {pool} wait here for an assignment.",
        filters=(f"work.{pool}",),
        ack_wait=10.0,
    )


LEASES = Bucket(
    name="leases", description="Who works on which session; gone when not renewed.", ttl=LEASE_LIFE
)
TURNS = Bucket(name="turns", description="The scheduler's memory: open inputs, attempt, deadline.")
RATELIMITS = Bucket(name="ratelimits", description="Turns started per person inside the window.", ttl=DAY)
SUMMARIES = Bucket(
    name="sessions", description="Each session at a glance: repo, branch, agent, status, cost."
)
WRITERS = Bucket(
    name="writers", description="Who writes into which partition of the channels.", ttl=LEASE_LIFE
)
CURSORS = Bucket(name="cursors", description="How far each partition's writer has come in SESSIONS.")
PREFERENCES = Bucket(
    name="preferences", description="What each channel and person prefers: the agent's instructions."
)
GRANTS = Bucket(
    name="workers", description="Which session each worker was let into: one, for all its life.", ttl=DAY
)
BUCKETS = (LEASES, TURNS, RATELIMITS, SUMMARIES, WRITERS, CURSORS, PREFERENCES, GRANTS)
