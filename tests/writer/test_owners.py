"""A writer dies, freezes, loses its lease, or shares the work: what is shown is shown once."""

import asyncio
import contextlib
import time
from typing import Any

import pytest
from msgspec.structs import replace

from schemas import events
from schemas.buckets import Cursor, PartitionOwner
from schemas.bus import CURSORS, LEASE_LIFE, WRITERS
from schemas.keys import SessionKey
from services.ingress.writer import leases
from services.ingress.writer.app import Writer
from services.ingress.writer.leases import Leases
from services.ingress.writer.ledger import Mark, metadata
from services.ingress.writer.partition import partition_of
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import Conflict, StreamFull, Unavailable

from .conftest import (
    FAST,
    Session,
    Slack,
    expire,
    finals,
    kinds,
    lease_key,
    ours,
    place_after,
    signs,
    slow_start,
    writing,
)


async def seize(bus: Bus, session: Session) -> None:
    """Somebody else has the lease of the session's partition, between two renewals of its owner."""
    writers = Bucket(bus, WRITERS.name, PartitionOwner)
    for _ in range(20):
        entry = await writers.get(lease_key(session))
        with contextlib.suppress(Conflict):
            await writers.put(entry.key, PartitionOwner(holder="somebody else"), entry.revision)
            return
    raise AssertionError("the lease could not be taken")


async def rewind(bus: Bus, session: Session, sequence: int) -> None:
    """The place in the log was not saved after `sequence`."""
    cursors = Bucket(bus, CURSORS.name, Cursor)
    entry = await cursors.get(lease_key(session))
    await cursors.put(entry.key, Cursor(sequence=sequence), entry.revision)


async def test_whoever_slept_with_a_partition_leaves_the_place_to_its_next_owner(
    bus: Bus, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped for longer than its lease lives just after it had taken it."""
    session = await slack.session(bus)
    cursors, get, taken = Bucket(bus, CURSORS.name, Cursor), Bucket.get, 0

    async def slept(bucket: Bucket[Any], key: str, at_least: int = 0) -> Any:
        nonlocal taken
        if bucket._name == CURSORS.name and key == lease_key(session) and not taken:
            taken += 1
            await seize(bus, session)
            entry = await get(cursors, key)
            await cursors.put(key, Cursor(sequence=7), entry.revision)
        return await get(bucket, key, at_least)

    monkeypatch.setattr(Bucket, "get", slept)
    owner = Leases(bus, FAST, lambda number, place: pytest.fail("it is somebody else's"), lambda: None)
    await owner._take(int(lease_key(session)[1:]))
    assert (taken, owner.partitions) == (1, {})


async def test_a_partition_that_was_taken_too_late_to_be_kept_is_left_to_others_at_once(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's last word on it came as late as it may expire."""
    session, put, late = SessionKey("T1", "C1", "1-1"), Bucket.put, 0.0

    async def slow(bucket: Bucket[Any], key: str, value: Any, revision: int, **more: Any) -> int:
        nonlocal late
        written = await put(bucket, key, value, revision, **more)
        late += LEASE_LIFE * bool(revision)  # not the first write, but the one that confirms it
        return written

    monkeypatch.setattr(Bucket, "put", slow)
    monkeypatch.setattr(leases, "_now", lambda: time.monotonic() + late)
    owner = Leases(bus, FAST, lambda number, place: pytest.fail("it may be somebody else's"), lambda: None)
    number = partition_of(session)
    await owner._take(number)
    assert (owner.partitions, late) == ({}, LEASE_LIFE)
    assert (await Bucket(bus, WRITERS.name, PartitionOwner).get(f"p{number:02d}")).value is None


async def test_a_full_store_ends_no_writer(bus: Bus, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    put, refused, often = Bucket.put, 0, asyncio.Event()

    async def no_room(bucket: Bucket[Any], *arguments: Any, **more: Any) -> int:
        nonlocal refused
        if refused < 40:
            refused += 1
            raise StreamFull("no room")
        often.set()
        return await put(bucket, *arguments, **more)

    async with writing(bus, slack):
        session = await slack.session(bus)
        await session.start()
        monkeypatch.setattr(Bucket, "put", no_room)
        async with asyncio.timeout(20):
            await often.wait()
        await session.text("All of it.")
        await session.end("All of it.")
        seen = await session.until(lambda t: finals(t, session.turn))
    assert len(finals(seen, session.turn)) == 1


async def test_what_was_taken_before_the_broker_went_away_is_shown(
    bus: Bus, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, take = partition_of(SessionKey("T1", "C1", "1-1")), Leases._take

    async def away(self: Leases, number: int) -> None:
        if number > last:
            raise Unavailable("the broker went away")
        await take(self, number)

    monkeypatch.setattr(Leases, "_take", away)
    async with writing(bus, slack, many=last + 1):
        session = await slack.session(bus, channel="C1")
        await session.start()
        await session.end("There.")
        assert (await session.final())["text"] == "There."


async def test_the_next_writer_goes_on_where_a_dead_one_was(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        await session.start()
        await session.until(lambda t: signs(t) == {"gear"} and kinds(t, "controls"))
        await session.delta("Half of ")
        await session.until(lambda t: any("Half of" in m["text"] for m in ours(t)))
    await expire(bus)

    async with writing(bus, slack):
        await session.delta("it.")
        await session.until(lambda t: not any(m.get("streaming_state") == "in_progress" for m in ours(t)))
        await session.text("Half of it.")
        await session.end("Half of it.")
        seen = await session.until(
            lambda t: (
                finals(t, session.turn)
                and not any(m.get("streaming_state") == "in_progress" for m in ours(t))
                and not kinds(t, "controls")
                and signs(t) == {"white_check_mark"}
            )
        )

    assert [m["text"] for m in finals(seen, session.turn)] == ["Half of it."]


async def test_what_the_next_writers_stream_says_whole_is_not_said_again(
    bus: Bus, other_bus: Bus, slack: Slack
) -> None:
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        await session.start()
        await session.until(lambda t: signs(t) == {"gear"})
    await expire(bus)

    async with writing(bus, slack):
        async with asyncio.timeout(20):  # nobody keeps what is live until the next writer listens
            while not any("All of it." in message["text"] for message in ours(await session.thread())):
                await session.delta("All of it.", offset=0)
        await session.text("All of it.")
        await session.end("All of it.")
        seen = await session.until(lambda t: finals(t, session.turn) and signs(t) == {"white_check_mark"})

    assert [m["text"] for m in ours(seen) if "All of it." in m["text"]] == ["All of it."]


async def test_a_stream_that_the_next_writer_is_just_beginning_is_not_taken_for_the_dead_ones(
    bus: Bus, other_bus: Bus, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        await session.start()
        started = await session.put(events.Titled(turn=session.turn, title="Halves"))
        await session.delta("Half of ")
        await session.until(lambda t: any("Half of" in m["text"] for m in ours(t)))
        await place_after(bus, session, started)
    await expire(bus)
    slow_start(monkeypatch)

    async with writing(bus, slack) as writer:
        async with asyncio.timeout(20):
            while writer.leases.partitions[partition_of(session.key)].horizon is None:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        await session.text("Half of it.")
        await session.until(
            lambda t: (
                [m["streaming_state"] for m in ours(t) if m.get("streaming_state")]
                == ["completed", "in_progress"]
            ),
            "the dead one's stream has ended, and the next one's has not",
        )
        await session.end("Half of it.")
        await session.final()
    ended = [call["args"]["ts"] for call in await slack.calls("chat.stopStream")]
    assert len(ended) == len(set(ended)), "the next one's stream ends once, by its own writer"


async def test_what_ended_while_nobody_wrote_is_shown(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        await session.start()
        await session.until(lambda t: signs(t) == {"gear"})
    await session.end("Nobody saw it.")
    await expire(bus)

    async with writing(bus, slack):
        assert (await session.final())["text"] == "Nobody saw it."
        await session.until(lambda t: signs(t) == {"white_check_mark"} and t["session_status"] == "active")


async def test_what_was_shown_is_not_shown_again(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    """The predecessor died after Slack had taken everything and before its place was saved."""
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        await session.start()
        await session.put(events.Notice(turn=session.turn, level="warning", text="Careful."))
        await session.put(
            events.QuestionAsked(turn=session.turn, id="q", about="choice", title="A?", choices=("A",))
        )
        await session.until(lambda t: kinds(t, "question"))
        await session.put(events.QuestionClosed(turn=session.turn, id="q", choice="A"))
        end = await session.end("Once.")
        await session.final()
        await place_after(bus, session, end)
    await expire(bus)
    await rewind(bus, session, 0)
    before = ours(await session.thread())

    async with writing(bus, slack):
        await place_after(bus, session, end)
        after = await session.until(lambda t: signs(t) == {"white_check_mark"})

    assert [m["ts"] for m in ours(after)] == [m["ts"] for m in before]


async def test_the_next_writer_reads_a_long_thread_from_the_first_message_without_an_end(
    bus: Bus, other_bus: Bus, slack: Slack
) -> None:
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        for _ in range(3):
            await session.start()
            await session.end("Done.")
            await session.final()
            asked, session.turn = await session.reply("and more")
            await place_after(bus, session, session.turn)
    await session.start()
    await expire(bus)
    read = len(await slack.calls("conversations.replies"))

    async with writing(bus, slack):
        end = await session.end("All done.")
        assert (await session.final())["text"] == "All done."
        await place_after(bus, session, end)
        reads = (await slack.calls("conversations.replies"))[read:]
    assert reads
    assert all(asked > call["args"]["oldest"] > session.key.thread_ts for call in reads)


async def test_who_loses_the_lease_writes_no_more(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    async with writing(other_bus, slack) as first:
        session = await slack.session(bus)
        await session.start()
        await session.until(lambda t: signs(t) == {"gear"})
        await seize(bus, session)
        async with asyncio.timeout(5):
            while len(first.leases.partitions) == 16:  # noqa: ASYNC110 (leases ring no bell)
                await asyncio.sleep(0.01)
        calls = len(await slack.calls())

        await session.text("Nobody shows this.")
        end = await session.end("Nobody shows this.")
        other = await slack.session(bus, channel="C2")
        await other.end("But this.")
        await other.final()

    late: list[Any] = (await slack.calls())[calls:]
    assert not [call for call in late if call["args"].get("channel") == "C1"]
    place = (await Bucket(bus, CURSORS.name, Cursor).get(lease_key(session))).value
    assert place is None or place.sequence < end


async def test_a_frozen_predecessors_double_is_deleted(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    async with writing(other_bus, slack, drain=False):
        session = await slack.session(bus)
        await session.start()
        await session.until(lambda t: signs(t) == {"gear"})
    await expire(bus)
    end = await session.end("Once.")

    late = replace(FAST, sweep_after=(2.0, 5.0, 9.0, 14.0))
    async with writing(bus, slack, late) as writer:
        await session.final()
        await writer._reader._bus.client.flush()
        double = metadata(session.key, session.turn, Mark("turn", end))
        again = {"text": "Once.", "thread_ts": session.key.thread_ts, "metadata": double}
        posted = await writer._pen.slack.call("chat.postMessage", channel="C1", **again)
        await slack.until_called("chat.delete", lambda call: call["args"]["ts"] == posted["ts"])
        seen = await session.until(lambda t: len(finals(t, session.turn)) == 1)

    assert finals(seen, session.turn)[0]["blocks"]


async def test_two_writers_share_the_partitions(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    async with writing(bus, slack) as first:
        async with writing(other_bus, slack, many=8) as second:
            async with asyncio.timeout(10):
                while len(first.leases.partitions) != 8:  # noqa: ASYNC110 (leases ring no bell)
                    await asyncio.sleep(0.01)
            assert not set(first.leases.partitions) & set(second.leases.partitions)
            for channel in ("C1", "C2", "D1"):
                session = await slack.session(bus, channel=channel)
                await session.start()
                await session.text("Shared.")
                await session.end("Shared.")
                await session.final()
                assert len(finals(await session.thread(), session.turn)) == 1
        async with asyncio.timeout(10):
            while len(first.leases.partitions) != 16:  # noqa: ASYNC110 (leases ring no bell)
                await asyncio.sleep(0.01)


async def test_leaving_in_peace_hands_a_running_turn_over(bus: Bus, other_bus: Bus, slack: Slack) -> None:
    async with writing(other_bus, slack):
        session = await slack.session(bus)
        await session.start()
        await session.until(lambda t: signs(t) == {"gear"})
        await session.delta("First half. ")
        await session.until(lambda t: any("First half." in m["text"] for m in ours(t)))
    assert not any(m.get("streaming_state") == "in_progress" for m in ours(await session.thread()))

    async with writing(bus, slack):
        await session.delta("Second half.")
        await session.text("First half. Second half.")
        await session.end("First half. Second half.")
        assert (await session.final())["text"] == "First half. Second half."
        await session.until(lambda t: signs(t) == {"white_check_mark"})


async def test_a_forgotten_thread_is_remembered(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await session.start()
    end = await session.end("one")
    await place_after(bus, session, end)
    partition = next(p for p in writer.leases.partitions.values() if session.key in p._threads)
    async with asyncio.timeout(5):
        while session.key in partition._threads:
            partition.forget_quiet(asyncio.get_running_loop().time() + FAST.forget_after + 1)
            await asyncio.sleep(0.01)

    _, session.turn = await session.reply("more")
    await session.start()
    await session.end("two")

    assert (await session.final())["text"] == "two"
    assert len(ours(await session.thread())) == 2
