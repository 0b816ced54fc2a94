"""The broker made to look like the map: what is there grows, nothing is lost, nobody takes anything back."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from schemas import bus as bus_map
from schemas.events import Notice
from schemas.keys import SessionKey
from services.local.broker import Broker
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.consume import Consume
from services.runtime.errors import SettingsError
from services.runtime.follow import read
from services.runtime.pull import Delivery
from services.runtime.tasks import cancel
from services.runtime.topology import apply_map, ensure_consumer, stream_config

KEY = SessionKey("T1", "C1", "1-1")
OUT = f"session.{KEY}.out"
GIB = 2**30

SetMap = Callable[..., None]


@pytest.fixture
def the_map(monkeypatch: pytest.MonkeyPatch) -> SetMap:
    """Makes this process one of a version whose map says otherwise."""

    def change(**parts: object) -> None:
        for name, value in parts.items():
            monkeypatch.setattr(bus_map, name, value)

    return change


def sessions(**otherwise: Any) -> bus_map.Stream:
    return msgspec.structs.replace(bus_map.SESSIONS, **otherwise)


async def config(bus: Bus, stream: str) -> dict[str, Any]:
    info = await bus.api(f"STREAM.INFO.{stream}", None)
    found: dict[str, Any] = info["config"]
    return found


async def say(bus: Bus, count: int) -> None:
    for n in range(count):
        await bus.publish(Draft(subject=OUT, message=Notice(text=str(n)), session=str(KEY)))


async def test_a_changed_map_changes_the_stream_and_keeps_every_message(bus: Bus, the_map: SetMap) -> None:
    await say(bus, 20)
    new = sessions(
        description="Every session's log, and its mood.",
        subjects=(*bus_map.SESSIONS.subjects, "session.*.*.*.mood"),
        max_bytes=16 * GIB,
        message_ttl=True,
    )
    the_map(STREAMS=(new, *bus_map.STREAMS[1:]))
    await apply_map(bus)
    changed = await config(bus, "SESSIONS")
    assert changed["description"] == "Every session's log, and its mood."
    assert "session.*.*.*.mood" in changed["subjects"]
    assert (changed["max_bytes"], changed["allow_msg_ttl"]) == (16 * GIB, True)
    texts = [Notice.decode(delivery.data).text for delivery in await read(bus, "SESSIONS", [OUT])]
    assert texts == [str(n) for n in range(20)]


async def test_an_older_service_takes_nothing_back(bus: Bus, the_map: SetMap) -> None:
    new = sessions(subjects=(*bus_map.SESSIONS.subjects, "session.*.*.*.mood"), message_ttl=True)
    heard = msgspec.structs.replace(bus_map.SCHEDULER, filters=(*bus_map.SCHEDULER.filters, bus_map.OUT))
    old = bus_map.STREAMS, bus_map.CONSUMERS
    the_map(STREAMS=(new, *bus_map.STREAMS[1:]), CONSUMERS=(heard, bus_map.ARCHIVER))
    await apply_map(bus)
    the_map(STREAMS=old[0], CONSUMERS=old[1])
    await apply_map(bus)
    kept = await config(bus, "SESSIONS")
    assert "session.*.*.*.mood" in kept["subjects"]
    assert kept["allow_msg_ttl"]
    info = await bus.api("CONSUMER.INFO.SESSIONS.scheduler", None)
    assert set(info["config"]["filter_subjects"]) == set(heard.filters)


async def test_two_versions_side_by_side_end_in_both_maps_while_messages_flow(
    broker: Broker, the_map: SetMap
) -> None:
    """The old one knows fewer streams, buckets, subjects and filters, the new one dropped a filter."""
    mood = "session.*.*.*.mood"
    old = {
        "STREAMS": (sessions(), *(stream for stream in bus_map.STREAMS if stream.name != "AUDIT")),
        "CONSUMERS": (bus_map.SCHEDULER, bus_map.ARCHIVER),
        "BUCKETS": bus_map.BUCKETS,
    }
    hears_more = msgspec.structs.replace(bus_map.SCHEDULER, filters=(*bus_map.SCHEDULER.filters, mood))
    new = {
        "STREAMS": (
            sessions(subjects=(*bus_map.SESSIONS.subjects, mood), max_bytes=16 * GIB),
            *bus_map.STREAMS[1:],
        ),
        "CONSUMERS": (hears_more, msgspec.structs.replace(bus_map.ARCHIVER, filters=(bus_map.IN, mood))),
        "BUCKETS": (*bus_map.BUCKETS, bus_map.Bucket(name="moods", description="How it feels.")),
    }
    clients = [
        await open_connection(BusSettings(url=broker.url), version, lambda: None)
        for version in ("old", "new")
    ]
    bus, other = map(Bus, clients)
    the_map(**old)
    await apply_map(bus)
    assert "error" in await bus.api("STREAM.INFO.AUDIT", None)
    stop = asyncio.Event()
    speaking, hearing = asyncio.create_task(speak_until(bus, stop)), asyncio.create_task(heard(bus))
    for _ in range(5):
        the_map(**new)
        await apply_map(other)
        the_map(**old)
        await apply_map(bus)
    stop.set()
    said = await speaking
    await bus.publish(Draft(subject=f"session.{KEY}.mood", message=Notice(text="glad"), session=str(KEY)))

    kept = await config(bus, "SESSIONS")
    assert set(kept["subjects"]) == {*bus_map.SESSIONS.subjects, mood}
    assert kept["max_bytes"] == 16 * GIB
    assert (await config(bus, "AUDIT"))["name"] == "AUDIT"
    assert (await config(bus, "KV_moods"))["name"] == "KV_moods"
    for name, filters in (("scheduler", hears_more.filters), ("archiver", (*bus_map.ARCHIVER.filters, mood))):
        info = await bus.api(f"CONSUMER.INFO.SESSIONS.{name}", None)
        assert set(info["config"]["filter_subjects"]) == set(filters)
    assert said > 0
    texts = [Notice.decode(delivery.data).text for delivery in await read(bus, "SESSIONS", [OUT])]
    assert texts == [str(n) for n in range(said)]
    assert await hearing == [*texts, "glad"]
    for client in clients:
        await close_connection(client)


async def speak_until(bus: Bus, stop: asyncio.Event) -> int:
    """Say one thing after another; return how many."""
    count = 0
    while not stop.is_set():
        await bus.publish(Draft(subject=OUT, message=Notice(text=str(count)), session=str(KEY)))
        count += 1
    return count


async def heard(bus: Bus) -> list[str]:
    """Return what the archiver's consumer is given until the last words, each acknowledged once."""
    texts: list[str] = []
    done = asyncio.Event()

    async def hear(delivery: Delivery) -> None:
        texts.append(Notice.decode(delivery.data).text)
        if delivery.subject.endswith(".mood"):
            done.set()

    consuming = asyncio.create_task(Consume(bus, bus_map.ARCHIVER, "test", hear, lambda _: "one").run())
    await done.wait()
    await cancel(consuming)
    return texts


async def test_a_broker_of_an_older_version_gets_what_it_lacks(broker: Broker, the_map: SetMap) -> None:
    client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
    bus = Bus(client)
    whole = bus_map.STREAMS, bus_map.BUCKETS, bus_map.CONSUMERS
    the_map(STREAMS=(sessions(atomic=False),), BUCKETS=(bus_map.LEASES,), CONSUMERS=())
    await apply_map(bus)
    await say(bus, 5)
    the_map(STREAMS=whole[0], BUCKETS=whole[1], CONSUMERS=whole[2])
    await apply_map(bus, pools=("default",))
    listed = await bus.api("STREAM.NAMES", None)
    assert set(listed["streams"]) == {
        *(stream.name for stream in bus_map.STREAMS),
        *(f"KV_{bucket.name}" for bucket in bus_map.BUCKETS),
    }
    assert (await config(bus, "SESSIONS"))["allow_atomic"]
    info = await bus.api("CONSUMER.INFO.SESSIONS.archiver", None)
    assert info["num_pending"] == 5
    await close_connection(client)


async def test_services_that_start_at_once_agree(broker: Broker) -> None:
    clients = [
        await open_connection(BusSettings(url=broker.url), f"test {n}", lambda: None) for n in range(4)
    ]
    await asyncio.gather(*(apply_map(Bus(client), pools=("default",)) for client in clients))
    assert (await config(Bus(clients[0]), "SESSIONS"))["max_bytes"] == bus_map.SESSIONS.max_bytes
    for client in clients:
        await close_connection(client)


@pytest.mark.parametrize(
    "larger",
    [{"max_bytes": 32 * GIB}, {"max_bytes": -1}, {"max_msg_size": 2**22}, {"max_consumers": 500}],
    ids=str,
)
async def test_what_an_operator_set_stays(bus: Bus, larger: dict[str, int]) -> None:
    await bus.api("STREAM.UPDATE.SESSIONS", await config(bus, "SESSIONS") | larger)
    before = await config(bus, "SESSIONS")
    assert larger.items() <= before.items()
    await apply_map(bus)
    assert await config(bus, "SESSIONS") == before


async def test_an_age_without_limit_stays_without(bus: Bus) -> None:
    await bus.api("STREAM.UPDATE.AUDIT", await config(bus, "AUDIT") | {"max_age": 0})
    await apply_map(bus)
    assert (await config(bus, "AUDIT"))["max_age"] == 0


async def test_a_rollup_that_an_older_version_allowed_is_forbidden(bus: Bus) -> None:
    await bus.api("STREAM.UPDATE.KV_leases", await config(bus, "KV_leases") | {"allow_rollup_hdrs": True})
    assert (await config(bus, "KV_leases"))["allow_rollup_hdrs"]
    await apply_map(bus)
    assert not (await config(bus, "KV_leases")).get("allow_rollup_hdrs")


async def test_what_cannot_be_changed_is_told_in_one_sentence(bus: Bus, the_map: SetMap) -> None:
    await say(bus, 1)
    the_map(STREAMS=(sessions(retention="workqueue"),))
    with pytest.raises(SettingsError, match=r"^the broker refuses SESSIONS: .*retention"):
        await apply_map(bus)
    assert len(await read(bus, "SESSIONS", [OUT])) == 1


async def test_a_stranger_on_our_subjects_is_told_in_one_sentence(broker: Broker) -> None:
    client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
    bus = Bus(client)
    await bus.api("STREAM.CREATE.MINE", stream_config(sessions(name="MINE"), 1))
    with pytest.raises(SettingsError, match=r"^the broker refuses SESSIONS: .*overlap"):
        await apply_map(bus)
    await close_connection(client)


async def test_a_consumer_changed_goes_on_where_it_was(bus: Bus) -> None:
    await say(bus, 3)
    before = await bus.api("CONSUMER.INFO.SESSIONS.archiver", None)
    await ensure_consumer(bus, msgspec.structs.replace(bus_map.ARCHIVER, ack_wait=5.0, max_ack_pending=7))
    after = await bus.api("CONSUMER.INFO.SESSIONS.archiver", None)
    assert (after["config"]["ack_wait"], after["config"]["max_ack_pending"]) == (5 * 10**9, 7)
    assert (after["created"], after["num_pending"]) == (before["created"], 3)
