"""Sessions at a glance, which several replicas write."""

from schemas.base import now
from schemas.buckets import OpenTurn, Turns
from schemas.ends import TurnEnd
from schemas.keys import SessionKey
from schemas.people import Person
from services.scheduler.core import Held
from services.scheduler.summaries import Summaries

KEY, WHO = SessionKey("T1", "C1", "1-1"), Person(id="U1")
WORKING = Turns(open=OpenTurn(turn=1, user=WHO, opened_at=now(), deadline=now()))
HELD = Held(token=7, holder="w-1", revision=7, since=now(), ours=False, seen=now())
END = TurnEnd(turn=1, outcome="completed", inputs=(1,), user=WHO, repo="acme/shop", branch="threadmill/1")


async def test_a_start_knows_the_repository_that_another_replica_wrote_down(bus) -> None:
    one, other = Summaries(bus), Summaries(bus)
    await one.reflect(KEY, WORKING, HELD)
    await other.ended(KEY, END)
    await one.reflect(KEY, WORKING, HELD)
    found = await one.of(KEY)
    assert found
    assert (found.repo, found.branch, found.user) == ("acme/shop", "threadmill/1", WHO)
