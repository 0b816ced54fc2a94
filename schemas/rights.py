"""Who may do what on the bus, as data: for each client the subjects that it may publish and subscribe, and no others.

Whoever may make consumers of a stream could let one deliver to any subject. Services may, each for the streams that it
follows; workers, beside whom an agent runs, may not: they read through consumers that the scheduler makes for them.
"""

import msgspec

from schemas.bus import (
    ARCHIVER,
    BUCKETS,
    CONSUMERS,
    CONTROL,
    CURSORS,
    DEADLETTER,
    END,
    FILES,
    GRANTS,
    IN,
    LEASES,
    OUT,
    PREFERENCES,
    RATELIMITS,
    SCHEDULER,
    SESSIONS,
    STREAMS,
    SUMMARIES,
    TURNS,
    WORK,
    WRITERS,
    Bucket,
    Consumer,
)

API = "$JS.API"
# The `nats` CLI uses this one; the others are no subjects of it, so that nobody hears another's answers.
DEFAULT_INBOX = "_INBOX"


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may publish and subscribe; `never` wins over `publish`. With `answers` it may also answer requests.

    Each of its connections may hold `subscriptions`, and each of its messages `payload` bytes, -1 for any number.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    never: tuple[str, ...] = ()
    answers: bool = False
    subscriptions: int = -1
    payload: int = -1


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What a service does on the bus.

    It `writes` and `hears` subjects, `reads` single messages of streams, `follows` streams by consumers that it makes,
    works off its durable consumer `consumes`, and calls `api` beside.
    """

    name: str
    writes: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    consumes: tuple[Consumer, ...] = ()
    api: tuple[str, ...] = ()
    answers: bool = False


def inbox(name: str) -> str:
    """Return the prefix of the inboxes of the client `name`, one token."""
    return f"_INBOX_{name}"


def kv(*buckets: Bucket) -> tuple[str, ...]:
    """Return the streams behind `buckets`."""
    return tuple(f"KV_{bucket.name}" for bucket in buckets)


def keys(*buckets: Bucket) -> tuple[str, ...]:
    """Return the subjects of all keys of `buckets`."""
    return tuple(f"$KV.{bucket.name}.>" for bucket in buckets)


def _calls(*calls: str) -> tuple[str, ...]:
    return tuple(f"{API}.{call}" for call in calls)


def _following(stream: str) -> tuple[str, ...]:
    return _calls(
        f"CONSUMER.CREATE.{stream}.*",
        f"CONSUMER.MSG.NEXT.{stream}.*",
        f"CONSUMER.DELETE.{stream}.*",
    )


def _seen(client: Client) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*client.reads, *client.follows)))


def rights(client: Client) -> Rights:
    """Return the rights that `client` needs for what it does."""
    publish = [*client.writes]
    publish += [
        call for name in _seen(client) for call in _calls(f"STREAM.INFO.{name}", f"STREAM.MSG.GET.{name}")
    ]
    publish += [call for name in client.follows for call in _following(name)]
    for each in client.consumes:
        publish += [
            *_calls(f"CONSUMER.MSG.NEXT.{each.stream}.{each.name}"),
            f"$JS.ACK.{each.stream}.{each.name}.>",
        ]
    return Rights(
        name=client.name,
        publish=tuple(dict.fromkeys((*publish, *_calls(*client.api)))),
        subscribe=(f"{inbox(client.name)}.>", *client.hears),
        never=tuple(call for name in client.follows for call in _not_theirs(name, client.consumes)),
        answers=client.answers,
    )


def _not_theirs(stream: str, own: tuple[Consumer, ...]) -> tuple[str, ...]:
    """Return the calls by which one would change or end a service's durable consumer, or eat what is another's."""
    named = [each for each in CONSUMERS if each.stream == stream]
    refused = [f"CONSUMER.MSG.NEXT.{stream}.{each.name}" for each in named if each not in own]
    for each in named:
        refused += [
            f"CONSUMER.CREATE.{stream}.{each.name}",
            f"CONSUMER.CREATE.{stream}.{each.name}.>",
            f"CONSUMER.DELETE.{stream}.{each.name}",
        ]
    return _calls(*refused)


EVERYTHING = (*(stream.name for stream in STREAMS), *kv(*BUCKETS))
# Whoever applies the map: creates what is missing, and lets grow what may grow.
MAP = (
    *(f"STREAM.{verb}.{name}" for name in EVERYTHING for verb in ("INFO", "CREATE", "UPDATE")),
    *(
        f"CONSUMER.{verb}.{each.stream}.{each.name}"
        for each in CONSUMERS
        for verb in ("INFO", "DURABLE.CREATE")
    ),
    f"CONSUMER.INFO.{WORK.name}.*",
    f"CONSUMER.DURABLE.CREATE.{WORK.name}.*",
)

INGRESS = Client(
    name="ingress",
    writes=(IN, CONTROL, "audit.*.*", "files.>", *keys(WRITERS, CURSORS)),
    hears=("live.>",),
    reads=(SESSIONS.name, FILES.name, *kv(TURNS, SUMMARIES, WRITERS, CURSORS)),
    follows=(SESSIONS.name, *kv(WRITERS)),
)
SCHEDULING = Client(
    name="scheduler",
    writes=(
        OUT,
        END,
        "work.*",
        "live.*.*.*",
        "audit.*.*",
        "dead.scheduler.>",
        *keys(LEASES, TURNS, RATELIMITS, SUMMARIES, GRANTS),
    ),
    hears=(
        "scheduler.admit.*.*.*",
        "scheduler.knock.*.*",
        "scheduler.enter.*",
        "scheduler.stay.*.*",
        "scheduler.renew.*.*.*.*",
        "scheduler.reader.*.*.*.*",
        "scheduler.ping",
    ),
    reads=(SESSIONS.name, WORK.name, *kv(LEASES, TURNS, RATELIMITS, SUMMARIES, PREFERENCES, GRANTS)),
    follows=(SESSIONS.name, *kv(LEASES, TURNS)),
    consumes=(SCHEDULER,),
    api=MAP,
    answers=True,
)
ARCHIVING = Client(
    name="archiver",
    # Of the log only what no session writes: the filler that moves the stream past the archive.
    writes=("session.threadmill.archiver.filler.state", "audit.*.*", "dead.archiver.>", *keys(SUMMARIES)),
    hears=("archiver.read.*.*.*", "archiver.list", "archiver.delete"),
    reads=(SESSIONS.name, *kv(TURNS, SUMMARIES)),
    follows=(SESSIONS.name,),
    consumes=(ARCHIVER,),
    api=(
        f"STREAM.PURGE.{SESSIONS.name}",
        *(f"CONSUMER.INFO.{each.stream}.{each.name}" for each in CONSUMERS),
    ),
    answers=True,
)
OPERATING = Client(
    name="operator",
    # The command line, and a person with the `nats` CLI: reads everything, says what a person may say in a thread, sends
    # a dead letter again to where it came from, and takes backups.
    writes=(
        "session.>",
        "work.*",
        "audit.*.*",
        "archiver.read.*.*.*",
        "archiver.list",
        "archiver.delete",
        "scheduler.ping",
        *keys(PREFERENCES),
        "$JS.FC.>",
        "$JS.SNAPSHOT.ACK.>",
    ),
    hears=(f"{DEFAULT_INBOX}.>", "session.>", "live.>", "work.*", "dead.>", "audit.>"),
    reads=EVERYTHING,
    follows=EVERYTHING,
    api=(
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "CONSUMER.NAMES.*",
        "CONSUMER.LIST.*",
        "CONSUMER.INFO.*.*",
        "CONSUMER.CREATE.*.*.>",
        "DIRECT.GET.*",
        "DIRECT.GET.*.>",
        f"STREAM.MSG.DELETE.{DEADLETTER.name}",
        *(f"STREAM.SNAPSHOT.{name}" for name in EVERYTHING),
    ),
)
# Changing whole streams: their limits, and putting a backup back. A credential for that hour, not for every day.
ADMINISTERING = Client(
    name="admin",
    writes=("audit.*.*", "$JS.SNAPSHOT.RESTORE.>"),
    hears=(f"{DEFAULT_INBOX}.>",),
    reads=EVERYTHING,
    api=(
        "INFO",
        *(f"STREAM.{verb}.{name}" for name in EVERYTHING for verb in ("UPDATE", "RESTORE", "DELETE")),
    ),
)
# What `threadmill dev` itself does, beside its services.
LOCAL = Client(name="dev", reads=kv(SUMMARIES), api=(*MAP, *(f"STREAM.PURGE.{name}" for name in kv(WRITERS))))
SERVICES = (INGRESS, SCHEDULING, ARCHIVING)
CLIENTS = (*SERVICES, OPERATING, ADMINISTERING)


def streams_of(name: str) -> tuple[str, ...]:
    """Return the streams that the service `name` cannot do without; none for a name that is not on this page."""
    return next((_seen(each) for each in SERVICES if each.name == name), ())
