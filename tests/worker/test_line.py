"""What cannot wait goes ahead in the line, and an agent's flood is held back."""

import asyncio

from schemas.inputs import Continued, Stop
from schemas.people import Person
from services.worker.agents.protocol import TextDelta
from services.worker.happenings import DeadlinePassed, Logged, PatienceOver, Prepared, Said, Saved, StopHeard
from services.worker.line import MOST_SAID, Line

ADA = Person(id="U1")
LOGGED = Logged(1, Continued(id="c", user=ADA))
STOP = StopHeard(Stop(user=ADA))


async def test_a_stop_overtakes_whatever_the_agent_has_said() -> None:
    line = Line()
    for number in range(MOST_SAID):
        await line.offer(Said(1, TextDelta(str(number))))
    line.report(LOGGED)
    line.report(STOP)
    assert await line.next() == STOP
    said = [await line.next() for _ in range(MOST_SAID)]
    assert said == [Said(1, TextDelta(str(number))) for number in range(MOST_SAID)]
    assert await line.next() == LOGGED


async def test_an_agent_that_says_too_much_waits_and_nobody_else_does() -> None:
    line = Line()
    for _ in range(MOST_SAID):
        await line.offer(Said(1, TextDelta("x")))
    waiting = asyncio.create_task(line.offer(Said(1, TextDelta("one more"))))
    line.report(PatienceOver(1))
    await line.next()
    assert not waiting.done()
    await line.next()
    await asyncio.wait_for(waiting, 1)
    assert len(line.clear()) == MOST_SAID
    await asyncio.wait_for(line.offer(Said(1, TextDelta("there is room"))), 1)


def test_what_a_turn_left_behind_cannot_hit_the_next_one() -> None:
    line = Line()
    for happening in (DeadlinePassed(), LOGGED, PatienceOver(1), Prepared(), STOP, Saved()):
        line.report(happening)
    line.forget_turn()
    assert line.clear() == [STOP, LOGGED]
