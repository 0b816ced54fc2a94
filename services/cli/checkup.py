"""`doctor --live`: looks at a running system over NATS."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec

from schemas import bus as bus_map
from schemas.archive import ListSessions, SessionList
from schemas.base import MalformedMessage, now
from schemas.buckets import PartitionOwner
from schemas.operations import Ping, Pong
from services.cli.findings import Finding
from services.cli.judging import consumer_finding, letters_finding, stream_finding, unarchived_finding
from services.cli.place import connected
from services.cli.standings import look, rules
from services.local.errors import LocalError
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.topology import stream_configs

ANSWER_SECONDS = 3.0
POOL = "pool-"
# What ingress keeps in the same bucket for each replica.
MEMBER = "member-"


class _Stored(msgspec.Struct):
    time: datetime


async def examine(data: Path | None) -> list[Finding]:
    """Return the findings, one look after another; where there is no broker, that alone."""
    try:
        async with connected(data) as bus:
            return [finding async for finding in _looks(bus)]
    except (LocalError, SettingsError, Unavailable) as e:
        todo = "start it, or name it: THREADMILL_NATS_URL, THREADMILL_NATS_CREDS, or --data"
        return [Finding("broker", str(e), ok=False, todo=todo)]


async def _looks(bus: Bus) -> AsyncIterator[Finding]:
    yield _broker(bus)
    there = True
    for wanted in stream_configs(bus.replicas):
        info = await bus.api(f"STREAM.INFO.{wanted['name']}", None)
        there = there and "error" not in info
        yield stream_finding(wanted, info)
    if not there:
        return
    for stream, name in await _consumers(bus):
        yield consumer_finding(f"{stream}/{name}", await bus.api(f"CONSUMER.INFO.{stream}.{name}", None))
    yield letters_finding(await bus.api(f"STREAM.INFO.{bus_map.DEADLETTER.name}", None))
    yield unarchived_finding(await _oldest_unarchived(bus), now())
    yield await _stuck(bus)
    yield await _scheduler(bus)
    yield await _archiver(bus)
    yield await _ingress(bus)


def _broker(bus: Bus) -> Finding:
    most, version = bus.client.max_payload, bus.client.connected_server_version
    found = f"version {version.major}.{version.minor}.{version.patch}, messages of up to {most:,} bytes"
    todo = f"set max_payload: {bus_map.MAX_PAYLOAD} in the broker's configuration"
    return Finding("broker", found, most >= bus_map.MAX_PAYLOAD, todo)


async def _consumers(bus: Bus) -> list[tuple[str, str]]:
    work = bus_map.WORK.name
    listed = await bus.api(f"CONSUMER.NAMES.{work}", {})
    pools = [name for name in listed.get("consumers") or [] if name.startswith(POOL)]
    named = [(consumer.stream, consumer.name) for consumer in bus_map.CONSUMERS]
    return named + [(work, name) for name in pools]


async def _oldest_unarchived(bus: Bus) -> datetime | None:
    archiver = bus_map.ARCHIVER
    info = await bus.api(f"CONSUMER.INFO.{archiver.stream}.{archiver.name}", None)
    if "error" in info or not (info["num_pending"] or info["num_ack_pending"]):
        return None
    request = {"seq": info["ack_floor"]["stream_seq"] + 1, "next_by_subj": "session.>", "no_hdr": True}
    answer = await bus.api(f"STREAM.MSG.GET.{archiver.stream}", request)
    return msgspec.convert(answer["message"], _Stored).time if "message" in answer else None


async def _stuck(bus: Bus) -> Finding:
    sessions, stuck = await look(bus, rules())
    turns = sum(seen.memory.open is not None for seen in sessions.values())
    held = sum(one.what == "lease" for one in stuck.values())
    found = f"open: {turns:,}, stuck: {len(stuck) - held:,}, leases that stay: {held:,}"
    todo = "look at them: threadmill turns --stuck, threadmill leases --stuck"
    return Finding("turns", found, not stuck, todo, needed=False)


async def _scheduler(bus: Bus) -> Finding:
    try:
        reply = await bus.request(Ping.subject("scheduler"), Ping(), deadline=ANSWER_SECONDS)
        return Finding("scheduler", f"answers, version {Pong.decode(reply).release}")
    except (Unavailable, MalformedMessage):
        return _silent("scheduler")


async def _archiver(bus: Bus) -> Finding:
    # Nobody's workspace: the question costs one listing of the store and proves that it can be reached.
    nothing = ListSessions(team="threadmill")
    try:
        SessionList.decode(await bus.request(ListSessions.subject(), nothing, deadline=ANSWER_SECONDS))
    except Unavailable:
        return _silent("archiver")
    except MalformedMessage:
        return Finding("archiver", "its store does not answer", ok=False, todo="read the archiver's log")
    return Finding("archiver", "answers, and so does its store")


async def _ingress(bus: Bus) -> Finding:
    owners = await Bucket(bus, bus_map.WRITERS.name, PartitionOwner).entries()
    partitions = sum(not owner.key.startswith(MEMBER) for owner in owners)
    if not partitions:
        return _silent("ingress")
    return Finding("ingress", f"writes into {partitions} partitions of the channels")


def _silent(service: str) -> Finding:
    todo = f"start it, or read its log: threadmill run {service}"
    return Finding(service, "does not answer", ok=False, todo=todo)
