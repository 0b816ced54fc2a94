"""What people write in Slack becomes inputs of the right session, each once."""

import asyncio
import time

import pytest

from schemas.inputs import Edited, Said, Stop, Withdrawn
from schemas.keys import SessionKey, ts_token
from schemas.operations import Audited
from schemas.people import Person, Remark
from services.ingress import earlier
from services.ingress.earlier import MOST_CHARACTERS, latest
from services.local.broker import Broker
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.follow import read
from services.runtime.topology import apply_map
from tests.ingress.stage import Door, Slack, eventually, running, stored


async def said_in(bus: Bus, name: str) -> Said:
    async def look() -> Said | None:
        found = (await stored(bus)).get(name)
        assert found is None or isinstance(found, Said)
        return found

    return await eventually(look)


async def test_a_mention_starts_a_session_in_its_thread(bus: Bus, slack: Slack, ingress: Door) -> None:
    token = ts_token(await slack.says("@threadmill please fix the build &amp; &lt;deploy&gt;"))

    said = await said_in(bus, f"T1.C1.{token}.in.{token}")

    assert (said.user.id, said.text) == ("U1", "please fix the build & <deploy>")
    await slack.settled()
    assert len(await stored(bus)) == 1, "the mention and the message of the pair are one input"


async def test_a_reply_counts_without_a_mention_where_the_thread_is_a_session(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    root = await slack.says("@threadmill fix it")
    await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(root)}")

    reply = await slack.says("and add a test", user="U2", thread_ts=root)

    said = await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(reply)}")
    assert (said.user.id, said.text) == ("U2", "and add a test")


async def test_a_reply_counts_for_a_replica_that_never_heard_of_the_session(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack):
        root = await slack.says("@threadmill fix it")
        await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(root)}")
    async with running(bus, slack):
        reply = await slack.says("and add a test", thread_ts=root)
        await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(reply)}")
    assert not await slack.calls("conversations.replies"), "the log knows, Slack is not asked"


async def test_a_reply_that_comes_before_its_mention_is_stored_counts(bus: Bus, slack: Slack) -> None:
    root = await slack.says("@threadmill fix it")
    async with running(bus, slack):
        reply = await slack.says("and add a test", thread_ts=root)
        await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(reply)}")


async def test_its_mention_may_stand_at_the_end_of_a_long_thread(
    bus: Bus, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingress.sessions.LOOKED_AT", 2)
    clock = slack.simulator.workspace.clock
    with monkeypatch.context() as earlier:
        earlier.setattr(clock, "now", lambda: time.time() - 3_600)
        root = await slack.says("the import drops the last line")
        for text in ("only for CSV", "since Monday", "who knows about it?"):
            await slack.says(text, user="U2", thread_ts=root)
    await slack.says("@threadmill can you fix it?", thread_ts=root)
    async with running(bus, slack):
        reply = await slack.says("and add a test", thread_ts=root)
        await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(reply)}")


async def test_what_was_said_before_the_mention_is_nobodys_even_when_it_comes_behind_it(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    root = await slack.says("the import drops the last line", user="U2")
    before = {"type": "message", "channel": "C1", "user": "U1", "text": "only for CSV", "thread_ts": root}
    late = slack.event(before | {"ts": slack.now(-0.001)})
    asked = await slack.says("@threadmill can you fix it?", thread_ts=root)
    await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(asked)}")

    assert (await slack.post(ingress, late))[0] == 200

    assert list(await stored(bus)) == [f"T1.C1.{ts_token(root)}.in.{ts_token(asked)}"]
    async with running(bus, slack) as another:
        assert (await slack.post(another, late))[0] == 200
    assert list(await stored(bus)) == [f"T1.C1.{ts_token(root)}.in.{ts_token(asked)}"]


async def test_a_reply_counts_though_a_later_mention_in_its_thread_came_first_and_is_not_stored(
    bus: Bus, broker: Broker, slack: Slack
) -> None:
    async with running(bus, slack):
        root = await slack.says("@threadmill fix it")
        await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(root)}")
    said = {"type": "message", "channel": "C1", "user": "U1", "thread_ts": root}
    reply, later = slack.now(), slack.now(0.001)
    async with running(bus, slack) as another:
        await broker.kill()
        mention = slack.event(said | {"text": "<@UBOT> and be quick", "ts": later})
        assert (await slack.post(another, mention))[0] == 503
        body = slack.event(said | {"text": "and add a test", "ts": reply})
        assert (await slack.post(another, body))[0] == 503, "Slack is to bring it again"
        await broker.start()

        async def taken() -> bool:
            return (await slack.post(another, body))[0] == 200

        await eventually(taken)
    assert f"T1.C1.{ts_token(root)}.in.{ts_token(reply)}" in await stored(bus)


async def test_a_mention_that_was_refused_makes_no_session_of_the_thread(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"block_users": ["U2"]}):
        root = await slack.says("@threadmill do something", user="U2")
        await eventually(lambda: slack.calls("chat.postEphemeral"))
        await slack.says("let us not use the bot here", user="U1", thread_ts=root)
        await slack.settled()
    assert await stored(bus) == {}


async def test_what_is_not_said_to_the_bot_is_left_alone(bus: Bus, slack: Slack, ingress: Door) -> None:
    root = await slack.says("lunch?")
    await slack.says("yes!", user="U2", thread_ts=root)
    await slack.says("<@U2> and you?", thread_ts=root)
    await slack.settled()

    assert await stored(bus) == {}
    assert not await slack.calls("chat.postEphemeral")


async def test_every_message_in_a_direct_conversation_is_for_the_bot(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    first = ts_token(root := await slack.says("hello", channel="D1"))
    second = ts_token(await slack.says("in the thread", channel="D1", thread_ts=root))
    third = ts_token(await slack.says("something else", channel="D1"))

    await said_in(bus, f"T1.D1.{first}.in.{first}")
    await said_in(bus, f"T1.D1.{first}.in.{second}")
    await said_in(bus, f"T1.D1.{third}.in.{third}")


async def test_what_the_bot_itself_does_is_ignored(bus: Bus, slack: Slack, ingress: Door) -> None:
    async with slack.api() as api:
        ts = (await api.call("chat.postMessage", channel="C1", text="<@UBOT> talks to itself"))["ts"]
        await api.call("chat.update", channel="C1", ts=ts, text="<@UBOT> again")
        await api.call("chat.delete", channel="C1", ts=ts)
        await api.call("chat.postMessage", channel="D1", text="hello")
    await slack.settled()

    assert await stored(bus) == {}


@pytest.mark.parametrize(
    "fault", [{"deliver": "duplicate", "times": 10}, {"deliver": "drop_ack", "times": 3}]
)
async def test_a_message_delivered_again_and_again_is_one_input(
    bus: Bus, slack: Slack, ingress: Door, fault: dict[str, object]
) -> None:
    await slack.fault(**fault)
    token = ts_token(await slack.says("@threadmill fix it"))

    await said_in(bus, f"T1.C1.{token}.in.{token}")
    await slack.settled()
    assert len(await stored(bus)) == 1


async def test_two_replicas_take_one_message_once(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack) as one, running(bus, slack) as other:
        body = slack.event(
            {"type": "app_mention", "channel": "C1", "user": "U1", "ts": slack.now(), "text": "go"}
        )
        answers = await asyncio.gather(*(slack.post(door, body) for door in (one, other, one, other)))
        assert [status for status, _ in answers] == [200] * 4
    assert len(await stored(bus)) == 1


async def test_people_have_their_names_and_are_looked_up_once(bus: Bus, slack: Slack, ingress: Door) -> None:
    root = ts_token(ts := await slack.says("@threadmill one"))
    first = await said_in(bus, f"T1.C1.{root}.in.{root}")
    token = ts_token(await slack.says("two", thread_ts=ts))

    second = await said_in(bus, f"T1.C1.{root}.in.{token}")
    assert first.user == second.user == Person(id="U1", name="Ada Lovelace")
    assert len(await slack.calls("users.info")) == 1


async def test_a_name_that_slack_does_not_tell_in_time_holds_nothing_up(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    await slack.fault(method="users.info", status=500, times=1)
    token = ts_token(await slack.says("@threadmill one"))

    said = await said_in(bus, f"T1.C1.{token}.in.{token}")

    assert said.user == Person(id="U1")


async def test_an_edit_and_a_deletion_follow_the_message(bus: Bus, slack: Slack, ingress: Door) -> None:
    root = await slack.says("@threadmill fix it")
    key, of = f"T1.C1.{ts_token(root)}", ts_token(root)
    await said_in(bus, f"{key}.in.{of}")

    await slack.act("edit", user="U1", channel="C1", ts=root, text="@threadmill fix it well")
    await slack.act("delete", user="U1", channel="C1", ts=root)

    async def both() -> list[object]:
        found = [m for m in (await stored(bus)).values() if isinstance(m, (Edited, Withdrawn))]
        return found if len(found) == 2 else []

    edited, withdrawn = await eventually(both)
    assert isinstance(edited, Edited)
    assert (edited.of, edited.text) == (of, "fix it well")
    assert isinstance(withdrawn, Withdrawn)
    assert (withdrawn.of, withdrawn.id) == (of, f"d-{of}")


async def test_edits_and_deletions_outside_of_sessions_are_nobodys(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    ts = await slack.says("lunch?")
    await slack.act("edit", user="U1", channel="C1", ts=ts, text="dinner?")
    await slack.act("delete", user="U1", channel="C1", ts=ts)
    await slack.settled()

    assert await stored(bus) == {}


async def stops(bus: Bus) -> list[Stop]:
    return [message for message in (await stored(bus)).values() if isinstance(message, Stop)]


async def test_four_ways_to_stop(bus: Bus, slack: Slack, ingress: Door) -> None:
    root = await slack.says("@threadmill fix it")
    await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(root)}")
    async with slack.api() as api:
        posted = await api.call("chat.postMessage", channel="C1", text="working", thread_ts=root)
        answer = posted["ts"]

    await slack.says("Stop!", user="U2", thread_ts=root)
    await slack.says("@threadmill stop", thread_ts=root)
    await slack.act("reaction", user="U1", channel="C1", ts=answer, name="octagonal_sign")
    await slack.act("stop", user="U1", channel="C1", thread_ts=root)

    async def four() -> list[Stop]:
        found = await stops(bus)
        return found if len(found) == 4 else []

    assert sorted(stop.user.id for stop in await eventually(four)) == ["U1", "U1", "U1", "U2"]
    assert {name.partition("#")[0] for name in await stored(bus)} == {
        f"T1.C1.{ts_token(root)}.in.{ts_token(root)}",
        f"T1.C1.{ts_token(root)}.control",
    }


async def test_other_reactions_and_stops_of_nothing_do_nothing(bus: Bus, slack: Slack, ingress: Door) -> None:
    ts = await slack.says("lunch?")
    await slack.act("reaction", user="U1", channel="C1", ts=ts, name="octagonal_sign")
    await slack.act("reaction", user="U1", channel="C1", ts=ts, name="eyes")
    await slack.says("@threadmill stop")
    (call,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
    await slack.settled()

    assert "no session in this thread" in call["args"]["text"]
    assert await stored(bus) == {}


async def stop_of_long_ago(bus: Bus, slack: Slack) -> bytes:
    """A stop that Slack brings after minutes, of a session that there is."""
    key = SessionKey.of_thread("T1", "C1", slack.now(-600))
    said = Said(id="1", user=Person(id="U1"), text="go")
    await bus.publish(Draft(subject=said.subject(key), message=said, fence=Fence(0)))
    return slack.event(
        {
            "type": "agent_session_stopped",
            "channel": "C1",
            "thread_ts": key.thread_ts,
            "user": "U1",
            "event_ts": slack.now(-290),
        }
    )


async def test_a_stop_whose_trail_could_not_be_written_is_in_it_when_it_comes_again(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    body = await stop_of_long_ago(bus, slack)
    await bus.api("STREAM.DELETE.AUDIT", None)
    assert (await slack.post(ingress, body))[0] == 503
    await apply_map(bus)

    assert (await slack.post(ingress, body))[0] == 200
    assert len(await stops(bus)) == 1
    (entry,) = [Audited.decode(each.data) for each in await read(bus, "AUDIT", ["audit.>"])]
    assert (entry.who, entry.did) == ("U1", "stopped")


async def test_a_stop_that_comes_again_much_later_stops_nothing_new(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    body = await stop_of_long_ago(bus, slack)
    # The first one is stored although it is late; the broker has then forgotten its id.
    assert (await slack.post(ingress, body))[0] == 200
    stream = await bus.api("STREAM.INFO.SESSIONS", None)
    await bus.api("STREAM.UPDATE.SESSIONS", stream["config"] | {"duplicate_window": 100_000_000})
    await asyncio.sleep(0.3)

    assert (await slack.post(ingress, body))[0] == 200

    assert len(await stops(bus)) == 1


async def test_a_mention_without_words_is_answered_with_what_to_do(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    await slack.says("@threadmill")

    calls = await eventually(lambda: slack.calls("chat.postEphemeral"))

    await slack.settled()
    assert [(call["args"]["user"], "mention me" in call["args"]["text"]) for call in calls] == [("U1", True)]
    assert await stored(bus) == {}


async def test_a_session_that_begins_in_a_thread_knows_what_stood_there_before(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    root = await slack.says("the import drops the last line", user="U2")
    await slack.says("only for CSV, see &lt;issue&gt;", thread_ts=root)
    asked = await slack.says("@threadmill can you fix it?", thread_ts=root)

    said = await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(asked)}")

    assert [(each.user.name, each.text) for each in said.earlier] == [
        ("Grace Hopper", "the import drops the last line"),
        ("Ada Lovelace", "only for CSV, see <issue>"),
    ]
    again = await slack.says("@threadmill and test it", thread_ts=root)
    assert (await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(again)}")).earlier == ()


async def test_a_thread_of_several_pages_is_read_to_its_end(
    bus: Bus, slack: Slack, ingress: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "PAGE", 3)
    root = await slack.says("m0", user="U2")
    for number in range(1, 8):
        await slack.says(f"m{number}", thread_ts=root)
    asked = await slack.says("@threadmill what now?", thread_ts=root)

    said = await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(asked)}")

    assert [each.text for each in said.earlier] == [f"m{number}" for number in range(8)]


async def test_a_thread_that_slack_does_not_tell_is_asked_of_the_person(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    root = await slack.says("the import drops the last line", user="U2")
    await slack.fault(method="conversations.replies", status=429, retry_after=30, times=5)
    asked = await slack.says("@threadmill can you fix it?", thread_ts=root)

    assert (await said_in(bus, f"T1.C1.{ts_token(root)}.in.{ts_token(asked)}")).earlier == ()
    (told,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
    assert "tell me what of it matters" in told["args"]["text"]


def test_of_a_long_thread_the_end_is_kept_and_the_rest_is_owned_up_to() -> None:
    remarks = [Remark(user=Person(id="U1"), text=f"{place} " + "x" * 300) for place in range(300)]
    left_out, *kept = latest(remarks)
    assert kept == remarks[-len(kept) :]
    assert left_out.text == f"({300 - len(kept)} older messages are left out here)"
    assert 0 < sum(len(each.text) for each in kept) <= MOST_CHARACTERS


def test_of_a_long_message_the_middle_is_left_out_and_its_neighbours_stay() -> None:
    ada = Person(id="U1")
    root, long, last = (
        Remark(user=ada, text=text) for text in ("root", "begin " + "log\n" * 9000 + " end", "last")
    )
    kept = latest([root, long, last])
    assert (kept[0], kept[2]) == (root, last)
    assert kept[1].text.startswith("begin ")
    assert kept[1].text.endswith(" end")
    assert "characters are left out here" in kept[1].text
