"""How turns go, on a real broker with scripted workers."""

from tests.scheduler.thread import Thread


async def test_what_is_said_becomes_a_turn_that_ends(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    turn = await thread.say("finish")
    end = await thread.ended(turn)
    assert (end.outcome, end.inputs, end.attempt) == ("completed", (turn,), 1)


async def test_what_no_turn_took_opens_the_next_one_when_the_worker_left(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    first = await thread.say("finish")
    await thread.ended(first)
    second = await thread.say("finish")
    assert (await thread.ended(second)).outcome == "completed"
    assert [end.turn for end in await thread.ends()] == [first, second]


async def test_a_holder_asks_before_it_opens_the_next_turn(bus, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    first = await thread.say("idle")
    await thread.ended(first)
    second = await thread.say("more")
    assert (await thread.ended(second)).outcome == "completed"
    assert await thread.claims() == 1
    assert not replica.launcher.killed
