"""What a worker may do on the bus: knock, wait in its pool, work on one session; and what its accounts borrow.

Workers are users of an account of their own. Whoever asks chooses where the answer goes, and the broker checks no right
on that: in the services' account a worker could have JetStream's answers stored in another session's log. Across
accounts an answer ends in the asker's account, where nothing is stored.
"""

from collections.abc import Sequence

import msgspec

from schemas.bus import CONTROL, END, FILES, LEASES, OUT, SESSIONS, STATE, WORK, pool_consumer
from schemas.keys import SessionKey
from schemas.rights import API, Rights, inbox

KEY = "*.*.*"
DIRECT = f"{API}.DIRECT.GET"
NEXT = f"{API}.CONSUMER.MSG.NEXT"

# A worker has about ten: what it asks, what it pulls, what it hears.
SUBSCRIPTIONS = 100


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """A subject that the services' account lends to the workers': asked with one answer, with `many`, or `heard`."""

    subject: str
    many: bool = False
    heard: bool = False


SHARED = (
    *(
        Shared(subject=subject)
        for subject in (
            OUT,
            END,
            STATE,
            f"live.{KEY}",
            f"files.{KEY}.*.*",
            f"$KV.{LEASES.name}.{KEY}",
            f"{DIRECT}.{SESSIONS.name}.session.>",
            f"{DIRECT}.KV_{LEASES.name}.$KV.{LEASES.name}.{KEY}",
            f"{DIRECT}.{FILES.name}.files.>",
            f"$JS.ACK.{WORK.name}.>",
            "dead.worker.work.*",
            "scheduler.enter.*",
            "scheduler.stay.*.*",
            f"scheduler.renew.{KEY}.*",
            f"scheduler.reader.{KEY}.*",
            f"scheduler.admit.{KEY}",
            f"archiver.read.{KEY}",
        )
    ),
    *(Shared(subject=f"{NEXT}.{stream.name}.*", many=True) for stream in (WORK, SESSIONS)),
    Shared(subject=CONTROL, heard=True),
)

# And to the account of those who knock.
AT_THE_DOOR = (Shared(subject="scheduler.knock.*.*"),)

# What a worker reads in order, by consumers that the scheduler makes for it.
READINGS = {
    "log": ("in.*", "control", "end.*"),
    "out": ("out",),
    # A holder's own `claimed` on `out` tells it that nothing of an earlier one's `state` is missing.
    "memory": ("state", "out"),
    "state": ("state",),
    "words": ("in.*", "end.*"),
}
# An older worker reads `state` alone; and an older scheduler's credential lets a newer one pull by this name.
_NAMES = {"memory": "state"}


def reader(worker: str, reading: str) -> str:
    """Return the name of the consumer by which `worker` reads."""
    return f"{worker}-{_NAMES.get(reading, reading)}"


def filters(key: SessionKey, reading: str) -> tuple[str, ...]:
    """Return the subjects of `reading` in the session `key`."""
    return tuple(f"session.{key}.{leaf}" for leaf in READINGS[reading])


def reading_of(key: SessionKey, wanted: Sequence[str]) -> str:
    """Return the reading whose subjects are `wanted`. Raises `KeyError`."""
    return {filters(key, name): name for name in READINGS}[tuple(wanted)]


# A token of a cluster has one or two thousand.
KNOCK_BYTES = 16 * 1024

# Whoever has it may ask to be let in, and nothing else: it proves nothing, and lies where every worker can read it.
DOOR = Rights(
    name="door",
    publish=("scheduler.knock.*.*",),
    subscribe=(f"{inbox('door')}.>",),
    subscriptions=SUBSCRIPTIONS,
    payload=KNOCK_BYTES,
)


def pool_rights(pool: str, worker: str) -> Rights:
    """Return the rights of a worker that waits in `pool`."""
    name = pool_consumer(pool).name
    return Rights(
        name=worker,
        publish=(
            f"{NEXT}.{WORK.name}.{name}",
            f"$JS.ACK.{WORK.name}.{name}.>",
            f"dead.worker.work.{pool}",
            f"scheduler.enter.{worker}",
            f"scheduler.stay.{pool}.{worker}",
        ),
        subscribe=(f"{inbox(worker)}.>",),
        subscriptions=SUBSCRIPTIONS,
    )


def session_rights(key: SessionKey, worker: str) -> Rights:
    """Return the rights of a worker that works on the session `key`."""
    return Rights(
        name=worker,
        publish=(
            f"session.{key}.out",
            f"session.{key}.end.*",
            f"session.{key}.state",
            f"live.{key}",
            f"files.{key}.*.*",
            f"$KV.{LEASES.name}.{key}",
            f"{DIRECT}.{SESSIONS.name}.session.{key}.>",
            f"{DIRECT}.KV_{LEASES.name}.$KV.{LEASES.name}.{key}",
            f"{DIRECT}.{FILES.name}.files.{key}.>",
            *dict.fromkeys(f"{NEXT}.{SESSIONS.name}.{reader(worker, name)}" for name in READINGS),
            f"scheduler.renew.{key}.{worker}",
            f"scheduler.reader.{key}.{worker}",
            f"scheduler.admit.{key}",
            f"archiver.read.{key}",
        ),
        subscribe=(f"{inbox(worker)}.>", f"session.{key}.control"),
        subscriptions=SUBSCRIPTIONS,
    )
