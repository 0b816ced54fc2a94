"""Sessions at a glance, which several replicas write."""

from msgspec.structs import replace

from schemas.base import now
from schemas.buckets import OpenTurn, Turns, Waiting
from schemas.ends import TurnEnd
from schemas.keys import SessionKey
from schemas.people import Person
from services.scheduler.core import Held
from services.scheduler.summaries import Summaries

KEY, WHO = SessionKey("T1", "C1", "1-1"), Person(id="U1")
TURN = OpenTurn(turn=1, user=WHO, opened_at=now(), deadline=now())
WORKING = Turns(open=TURN)
HELD = Held(token=7, holder="w-1", revision=7, since=now(), ours=False, seen=now())
END = TurnEnd(turn=1, outcome="completed", inputs=(1,), user=WHO, repo="acme/shop", branch="threadmill/1")


async def status(summaries: Summaries) -> str:
    found = await summaries.of(KEY)
    assert found
    return found.status


async def test_a_start_knows_the_repository_that_another_replica_wrote_down(bus) -> None:
    one, other = Summaries(bus), Summaries(bus)
    await one.reflect(KEY, WORKING, HELD)
    await other.ended(KEY, END)
    await one.reflect(KEY, WORKING, HELD)
    found = await one.of(KEY)
    assert found
    assert (found.repo, found.branch, found.user) == ("acme/shop", "threadmill/1", WHO)


async def test_a_turn_that_another_replica_saw_end_is_not_shown_at_work_again(bus) -> None:
    one, other = Summaries(bus), Summaries(bus)
    await other.ended(KEY, END)
    for over in (WORKING, Turns(waiting=(Waiting(sequence=1, id="m-1", user=WHO, at=now()),))):
        await one.reflect(KEY, over, HELD)
        assert await status(one) == "idle"
    await one.reflect(KEY, Turns(open=replace(TURN, turn=2)), HELD)
    assert await status(one) == "working"


async def test_what_another_replica_showed_meanwhile_does_not_stay(bus) -> None:
    """Neither where this one knows the session at rest, and the other one dies as soon as the turn's end is counted."""
    one, other = Summaries(bus), Summaries(bus)
    await one.ended(KEY, END)
    await other.reflect(KEY, Turns(open=replace(TURN, turn=2)), HELD)
    await other.ended(KEY, replace(END, turn=2))
    await one.reflect(KEY, Turns(), None)
    assert await status(other) == "idle"
