"""How long a turn's end waits for its work to be saved."""

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from schemas.base import now
from schemas.events import CommitPushed
from schemas.inputs import Said, Stop
from services.worker.clock import SAVE_BEFORE_STOP_SECONDS, Clock
from services.worker.closing import Closing
from services.worker.core import SessionView, Waiting
from services.worker.happenings import Happening, Logged, PatienceOver, StopHeard
from services.worker.line import Line
from services.worker.place import Place
from services.worker.tally import WITHDRAWN, Ending, stopped, timed_out
from tests.worker.conftest import ADA

OPENER = Waiting(1, Said(id="m-1", user=ADA, text="begin", at=now()))
STOP = Stop(user=ADA, at=OPENER.said.at + timedelta(seconds=1))
LATER = Stop(user=ADA, at=STOP.at + timedelta(seconds=1))


class SlowSaving:
    """Saves once it may."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.under_way: list[asyncio.Task[tuple[CommitPushed, ...]]] = []

    async def save(self, *_: object) -> tuple[CommitPushed, ...]:
        await self.may_end.wait()
        return ()

    def goes_on(self, saving: asyncio.Task[tuple[CommitPushed, ...]]) -> None:
        self.under_way.append(saving)


class End:
    """The end of a turn whose work is being saved, and what is heard meanwhile."""

    def __init__(self, *heard: Happening) -> None:
        self.saving = SlowSaving()
        line = Line()
        station = SimpleNamespace(saving=self.saving, work=None)
        place = SimpleNamespace(line=line, view=SessionView(), station=station)
        self.closing = Closing(cast("Place", place), OPENER, Clock(60, line.report))
        for happening in heard:
            line.report(happening)


@pytest.mark.parametrize(
    ("ending", "heard", "outcome", "pressed_at"),
    [
        (stopped(STOP), (), "cancelled", STOP.at),
        (stopped(STOP), (LATER,), "cancelled", LATER.at),
        (Ending(), (STOP,), "cancelled", STOP.at),
        (WITHDRAWN, (), "cancelled", None),
        (Ending(outcome="failed"), (STOP,), "failed", STOP.at),
        (timed_out(60), (STOP, LATER), "timed_out", LATER.at),
        (timed_out(60).after(stopped(STOP)), (), "timed_out", STOP.at),
        (timed_out(60).after(stopped(STOP)), (LATER,), "timed_out", LATER.at),
    ],
)
async def test_who_pressed_stop_waits_a_moment_for_the_work_which_is_saved_on(
    ending: Ending, heard: tuple[Stop, ...], outcome: str, pressed_at: datetime | None
) -> None:
    end = End(*map(StopHeard, heard))
    async with asyncio.timeout(5):
        ended, commits = await end.closing.save(ending)
    assert (ended.outcome, ended.pressed_at, commits) == (outcome, pressed_at, ())
    [saving] = end.saving.under_way
    assert not saving.done()
    saving.cancel()


async def test_the_log_tells_who_pressed_the_stop_that_was_heard_ahead_of_it() -> None:
    end = End(StopHeard(STOP), Logged(2, STOP))
    ended, _ = await asyncio.wait_for(end.closing.save(Ending()), 5)
    assert (ended.outcome, ended.stop_reason) == ("cancelled", ADA.id)
    end.saving.under_way[0].cancel()


@pytest.mark.parametrize(
    ("ending", "heard"),
    [
        (Ending(handed_over=True), StopHeard(STOP)),
        (Ending(handed_over=True).after(stopped(STOP)), StopHeard(LATER)),
        (timed_out(60), PatienceOver(0)),
    ],
    ids=["the worker leaves", "the worker leaves a turn that was stopped", "only the agent took long"],
)
async def test_nothing_else_cuts_the_saving_short(ending: Ending, heard: Happening) -> None:
    end = End(heard)
    saving = asyncio.create_task(end.closing.save(ending))
    done, _ = await asyncio.wait({saving}, timeout=2 * SAVE_BEFORE_STOP_SECONDS)
    assert not done
    end.saving.may_end.set()
    assert (await saving)[0] == ending


async def test_the_saving_has_its_moment_though_that_of_the_agent_is_just_over() -> None:
    end = End(PatienceOver(0))
    saving = asyncio.create_task(end.closing.save(stopped(STOP)))
    done, _ = await asyncio.wait({saving}, timeout=SAVE_BEFORE_STOP_SECONDS / 4)
    assert not done
    await asyncio.wait_for(saving, 5)
    end.saving.under_way[0].cancel()
