"""Makes the broker look like the map: creates what is missing, lets grow what may grow, loses nothing.

Nothing ever shrinks here, but for what must never be. An older version of a service that still runs beside a newer one
does not take back what the newer one added, and what an operator made larger stays.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from schemas import bus as bus_map
from services.runtime.bus import Bus
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.pull import NANOSECONDS

log = structlog.get_logger(__name__)

# Where the server says "no limit" by a number that is smaller than every limit.
UNLIMITED = {"max_bytes": -1, "max_msgs_per_subject": -1, "max_age": 0}
# Whoever may write one key of a bucket could delete all the others by a rollup; older versions allowed them.
NEVER = {"allow_rollup_hdrs"}
DUPLICATE_WINDOW = 120.0
AGAIN_SECONDS = 0.2


def stream_config(stream: bus_map.Stream, replicas: int) -> dict[str, Any]:
    """Return `stream` in the server's own words."""
    return _stream(
        stream.name,
        stream.description,
        list(stream.subjects),
        replicas,
        retention=stream.retention,
        discard=stream.discard,
        max_age=int(stream.max_age * NANOSECONDS),
        max_bytes=stream.max_bytes,
        max_msgs_per_subject=stream.per_subject,
        allow_msg_ttl=stream.message_ttl,
        allow_atomic=stream.atomic,
    )


def bucket_config(bucket: bus_map.Bucket, replicas: int) -> dict[str, Any]:
    """Return the stream behind a key-value bucket."""
    window = min(DUPLICATE_WINDOW, bucket.ttl) if bucket.ttl else DUPLICATE_WINDOW
    return _stream(
        f"KV_{bucket.name}",
        bucket.description,
        [f"$KV.{bucket.name}.>"],
        replicas,
        discard="new",
        max_msgs_per_subject=1,
        max_age=int(bucket.ttl * NANOSECONDS),
        deny_delete=True,
        duplicate_window=int(window * NANOSECONDS),
    )


def _stream(name: str, description: str, subjects: list[str], replicas: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        "num_replicas": replicas,
        "allow_direct": True,
        "duplicate_window": int(DUPLICATE_WINDOW * NANOSECONDS),
    } | more


def consumer_config(consumer: bus_map.Consumer) -> dict[str, Any]:
    """Return `consumer` in the server's own words."""
    return {
        "durable_name": consumer.name,
        "name": consumer.name,
        "description": consumer.description,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "filter_subjects": list(consumer.filters),
        "ack_wait": int(consumer.ack_wait * NANOSECONDS),
        "max_ack_pending": consumer.max_ack_pending,
        "max_deliver": -1,
    }


def stream_configs(replicas: int) -> list[dict[str, Any]]:
    """Return every stream of the map, those behind buckets too, in the server's own words."""
    return [
        *(stream_config(stream, replicas) for stream in bus_map.STREAMS),
        *(bucket_config(bucket, replicas) for bucket in bus_map.BUCKETS),
    ]


async def apply_map(bus: Bus, pools: tuple[str, ...] = ()) -> None:
    """Create or update everything on the map; several services may do so at once.

    Raises `SettingsError` where the broker holds something that cannot be changed into what the map says.
    """
    for wanted in stream_configs(bus.replicas):
        await _ensure_stream(bus, wanted)
    for consumer in (*bus_map.CONSUMERS, *map(bus_map.pool_consumer, pools)):
        await ensure_consumer(bus, consumer)


async def map_applied(bus: Bus, streams: Sequence[str]) -> None:
    """Return as soon as there are all of `streams`; the scheduler makes them."""
    told = False
    for name in streams:
        while not await _exists(bus, name):
            if not told:
                log.info("waiting for the scheduler, which applies the map", missing=name)
                told = True
            await asyncio.sleep(AGAIN_SECONDS)


async def _exists(bus: Bus, stream: str) -> bool:
    try:
        return "error" not in await bus.api(f"STREAM.INFO.{stream}", None)
    except Unavailable:
        return False


async def _ensure_stream(bus: Bus, wanted: Mapping[str, Any]) -> None:
    name = wanted["name"]
    info = await bus.api(f"STREAM.INFO.{name}", None)
    if "error" in info:
        answer = await bus.api(f"STREAM.CREATE.{name}", wanted)
        if "error" not in answer:
            return
        info = await bus.api(f"STREAM.INFO.{name}", None)  # another service may have been faster
        if "error" in info:
            _raise_for(name, answer)
    current = info["config"]
    merged = grown(current, wanted)
    if merged != current:
        _raise_for(name, await bus.api(f"STREAM.UPDATE.{name}", merged))
        log.info("stream changed", stream=name)


def grown(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return `current` with what `wanted` adds: more subjects, larger limits, further features, other words.

    What is `NEVER` to be is switched off.
    """
    merged = {**current, **dict.fromkeys(NEVER & current.keys(), False)}
    for field, value in wanted.items():
        if not (field not in current and value in (0, False, -1)):  # the server leaves its defaults out
            merged[field] = _larger(field, current.get(field), value)
    return merged


def _larger(field: str, current: Any, wanted: Any) -> Any:
    if current is None or isinstance(wanted, str):
        return wanted
    if isinstance(wanted, list):
        return [*current, *(subject for subject in wanted if subject not in current)]
    if UNLIMITED.get(field) in (current, wanted):
        return UNLIMITED[field]
    return max(current, wanted)


async def ensure_consumer(bus: Bus, consumer: bus_map.Consumer) -> None:
    """Create or update a durable consumer; its position is never touched. Raises `SettingsError`.

    Its filters only grow; all else is as `consumer` says.
    """
    name = f"{consumer.stream}/{consumer.name}"
    wanted = consumer_config(consumer)
    info = await bus.api(f"CONSUMER.INFO.{consumer.stream}.{consumer.name}", None)
    if "error" not in info:
        filters = info["config"].get("filter_subjects") or [info["config"].get("filter_subject", ">")]
        wanted["filter_subjects"] = _larger("filter_subjects", filters, wanted["filter_subjects"])
    subject = f"CONSUMER.DURABLE.CREATE.{consumer.stream}.{consumer.name}"
    _raise_for(name, await bus.api(subject, {"stream_name": consumer.stream, "config": wanted}))


def _raise_for(name: str, answer: Mapping[str, Any]) -> None:
    if "error" in answer:
        raise SettingsError(f"the broker refuses {name}: {answer['error'].get('description')}")
