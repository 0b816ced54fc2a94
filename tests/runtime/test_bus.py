"""What the bus promises, on a real broker."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator

import msgspec
import pytest
from nats.errors import ConnectionClosedError

from schemas import bus as bus_map
from schemas.buckets import Lease
from schemas.ends import TurnEnd
from schemas.events import Claimed, Notice, TurnFinished
from schemas.keys import SessionKey
from schemas.live import Live, Status
from schemas.people import Person
from services.local.broker import Broker
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Closed, Conflict, TooLarge, Unavailable
from services.runtime.follow import Follow, read
from services.runtime.topology import apply_map

KEY = SessionKey("T1", "C1", "1-1")
OUT = f"session.{KEY}.out"


def out(message: Claimed | Notice | TurnFinished, after: int, msg_id: str | None = None) -> Draft:
    return Draft(subject=OUT, message=message, session=str(KEY), fence=Fence(after), id=msg_id)


def end_of(turn: int, outcome: str) -> Draft:
    end = TurnEnd(turn=turn, outcome=outcome, inputs=(turn,), user=Person(id="U1"))  # type: ignore[arg-type]
    return Draft(subject=end.subject(KEY), message=end, session=str(KEY), fence=Fence(0))


async def test_who_writes_with_an_old_sequence_is_refused(bus: Bus) -> None:
    first = await bus.publish(out(Claimed(lease=1, holder="a"), 0))
    await bus.publish(out(Claimed(lease=2, holder="b"), first))
    with pytest.raises(Conflict):
        await bus.publish(out(Notice(text="from the past"), first))


async def test_the_same_write_tried_again_counts_once(bus: Bus) -> None:
    first = await bus.publish(out(Claimed(lease=1, holder="a"), 0, msg_id="once"))
    again = await bus.publish(out(Claimed(lease=1, holder="a"), 0, msg_id="once"))
    assert first == again
    assert len(await read(bus, "SESSIONS", [OUT])) == 1


async def test_of_racing_ends_exactly_one_wins(bus: Bus) -> None:
    for turn in range(1, 21):
        last = await bus.last("SESSIONS", OUT)
        after = last.sequence if last else 0

        async def race(outcome: str, after: int = after, turn: int = turn) -> str | None:
            drafts = [out(TurnFinished(turn=turn, outcome=outcome), after), end_of(turn, outcome)]  # type: ignore[arg-type]
            try:
                await bus.publish_batch(drafts)
            except Conflict:
                return None
            return outcome

        winners = [
            w
            for w in await asyncio.gather(*map(race, ["completed", "failed", "cancelled", "timed_out"]))
            if w
        ]
        assert len(winners) == 1
        stored = await bus.last("SESSIONS", f"session.{KEY}.end.{turn}")
        assert stored is not None
        assert TurnEnd.decode(stored.data).outcome == winners[0]


async def test_a_batch_sent_again_is_recognised_as_ours(bus: Bus) -> None:
    drafts = [
        out(TurnFinished(turn=1, outcome="completed"), 0, msg_id="o"),
        Draft(
            subject=f"session.{KEY}.end.1",
            id="e",
            fence=Fence(0),
            message=TurnEnd(turn=1, outcome="completed", inputs=(1,), user=Person(id="U1")),
        ),
    ]
    assert await bus.publish_batch(drafts) == await bus.publish_batch(drafts)
    assert len(await read(bus, "SESSIONS", [bus_map.OUT, bus_map.END])) == 2


async def test_following_survives_a_killed_broker_and_repeats_nothing(bus: Bus, broker: Broker) -> None:
    seen: list[int] = []
    reached = asyncio.Event()

    async def follow() -> None:
        async for delivery in Follow(bus, "SESSIONS", [OUT]).deliveries():
            if delivery:
                seen.append(delivery.sequence)
                if len(seen) == 40:
                    reached.set()
                    return

    following = asyncio.create_task(follow())
    last = 0
    for n in range(40):
        if n == 20:
            await broker.kill()
            await broker.start()
        last = await bus.publish(out(Notice(text=str(n)), last), deadline=20)
    await asyncio.wait_for(reached.wait(), 20)
    await following
    assert seen == sorted(set(seen))


async def test_a_lease_is_created_renewed_released_and_expires_by_itself(bus: Bus) -> None:
    leases = Bucket(bus, "leases", Lease)
    first = await leases.create("T1.C1.1-1", Lease(holder="a"))
    with pytest.raises(Conflict):
        await leases.create("T1.C1.1-1", Lease(holder="b"))
    renewed = await leases.put("T1.C1.1-1", Lease(holder="a", token=first), first)
    await leases.delete("T1.C1.1-1", renewed)
    assert (await leases.get("T1.C1.1-1")).value is None
    assert await leases.create("T1.C1.1-1", Lease(holder="b")) > renewed


async def test_a_watch_tells_what_is_there_and_then_what_changes(bus: Bus) -> None:
    leases = Bucket(bus, "leases", Lease)
    await leases.create("T1.C1.1-1", Lease(holder="a"))
    watch = leases.watch()
    first = await anext(watch)
    assert first is not None
    assert first.value is not None
    assert await anext(watch) is None
    await leases.delete("T1.C1.1-1", first.revision)
    gone = await anext(watch)
    assert gone is not None
    assert (gone.key, gone.value) == ("T1.C1.1-1", None)
    await watch.aclose()


async def test_without_a_broker_a_write_says_so_in_time(bus: Bus, broker: Broker) -> None:
    await broker.kill()
    with pytest.raises(Unavailable):
        await bus.publish(out(Notice(text="?"), 0), deadline=0.3)


@pytest.mark.parametrize("size", [bus_map.MAX_PAYLOAD, 2 * bus_map.MAX_PAYLOAD], ids=["headers", "text"])
async def test_what_the_broker_never_takes_is_refused_before_any_of_it_is_sent(bus: Bus, size: int) -> None:
    sent = bus.client.stats["out_msgs"]
    room = len(Notice(text="").encode())
    large = out(Notice(text="x" * (size - room)), 1)
    with pytest.raises(TooLarge, match="more than the 4,194,304 that the broker takes"):
        await bus.publish(large)
    with pytest.raises(TooLarge):
        await bus.publish_batch([out(Notice(text="first"), 0), large])
    assert bus.client.stats["out_msgs"] == sent
    assert await bus.publish(out(Notice(text="small"), 0)) == 1


async def test_what_is_told_live_and_lost_is_no_news_to_who_does_not_wait(bus: Bus) -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await bus.client.close()
    with pytest.raises(ConnectionClosedError):
        await bus.live(Live.subject(KEY), Status(lease=1, turn=1, text="is late"))
    await asyncio.wait([bus.live(Live.subject(KEY), Status(lease=1, turn=1, text="is later"))])
    gc.collect()
    assert told == []


async def test_once_the_connection_is_closed_for_good_nobody_waits_for_an_answer(bus: Bus) -> None:
    await bus.client.close()
    async with asyncio.timeout(8):
        for asking in (
            bus.publish(out(Notice(text="?"), 0)),
            bus.publish_batch([out(Notice(text="?"), 0), end_of(1, "completed")]),
            bus.last("SESSIONS", OUT),
        ):
            with pytest.raises(Closed):
                await asking


async def test_applying_the_map_again_changes_nothing_and_loses_nothing(bus: Bus) -> None:
    await bus.publish(out(Notice(text="kept"), 0))
    before = await bus.api("STREAM.INFO.SESSIONS", None)
    await apply_map(bus, pools=("default",))
    after = await bus.api("STREAM.INFO.SESSIONS", None)
    assert before["config"] == after["config"]
    assert after["state"]["messages"] == 1


async def test_an_answer_that_nobody_waits_for_any_more_deafens_nobody(bus: Bus) -> None:
    waiting = asyncio.create_task(bus.client.flush())
    while not bus.client._pongs:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0)
    bus.client._pongs[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert "config" in await bus.api("STREAM.INFO.SESSIONS", None)
    await bus.client.flush()
    assert "config" in await bus.api("STREAM.INFO.SESSIONS", None)


async def test_a_stream_that_is_missing_is_not_an_empty_one(bus: Bus) -> None:
    assert await bus.last("SESSIONS", OUT) is None
    await bus.api("STREAM.DELETE.SESSIONS", None)
    with pytest.raises(Unavailable, match="stream not found"):
        await bus.last("SESSIONS", OUT)


async def test_a_replica_that_lacks_what_the_leader_told_is_no_answer(bus: Bus) -> None:
    stored = await bus.publish(out(Claimed(lease=1, holder="a"), 0))
    direct = Bus(bus.client, direct=True)
    found = await direct.last("SESSIONS", OUT, at_least=stored)
    assert found
    assert found.sequence == stored
    with pytest.raises(Unavailable, match="lags behind"):
        await direct.last("SESSIONS", OUT, at_least=stored + 1)


class Lagging(Bus):
    """Asks a replica that has got nothing yet."""

    async def _directly(self, stream: str, subject: str, until: float) -> None:
        return None


@pytest.mark.parametrize(
    "drafts",
    [
        [out(Notice(text="first"), 0, msg_id="1"), Draft(subject=OUT, message=Notice(text="second"), id="2")],
        [out(Notice(text="first"), 0), Draft(subject=OUT, message=Notice(text="second"))],
        [
            out(TurnFinished(turn=1, outcome="completed"), 0, msg_id="1"),
            msgspec.structs.replace(end_of(1, "completed"), id="2"),
        ],
    ],
    ids=["one subject, ids still known", "one subject, ids long forgotten", "a turn's end"],
)
async def test_whose_a_refused_batch_is_nobody_says_while_a_replica_lags_behind(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, drafts: list[Draft]
) -> None:
    for module in ("asking", "bus"):
        monkeypatch.setattr(f"services.runtime.{module}.CAUGHT_UP_SECONDS", 0.1)
    await bus.publish_batch(drafts)
    with pytest.raises(Unavailable, match="lags behind"):
        await Lagging(bus.client, direct=True).publish_batch(drafts)


class CatchingUp(Bucket[Lease]):
    """Reads from a replica that tells a key once for each of its changes."""

    async def watch(self, keys: str = ">") -> AsyncGenerator[Entry[Lease] | None, None]:
        lease = Lease(holder="a")
        yield Entry("a", lease, 1)
        yield Entry("b", lease, 2)
        yield Entry("a", lease, 3)
        yield Entry("b", None, 4)
        yield None


async def test_entries_are_told_as_they_stand_at_last(bus: Bus) -> None:
    entries = await CatchingUp(bus, bus_map.LEASES.name, Lease).entries()
    assert [(entry.key, entry.revision) for entry in entries] == [("a", 3)]
