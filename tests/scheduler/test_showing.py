"""What is shown of a session at a glance, and what is over too soon to be shown."""

import asyncio

import pytest

from schemas.base import now
from schemas.buckets import Lease, OpenTurn, Summary, Turns
from schemas.bus import LEASES, SUMMARIES
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.tasks import cancel
from services.scheduler import showing
from services.scheduler.agenda import Agenda
from services.scheduler.core import Held
from services.scheduler.showing import Showing
from services.scheduler.summaries import Summaries, status_of
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


async def shown(bus: Bus, thread: Thread) -> list[str]:
    """Return a list that gets every status with which the session is shown from now on."""
    statuses: list[str] = []

    async def note(message) -> None:
        statuses.append(Summary.decode(message.data).status)

    await bus.client.subscribe(f"$KV.{SUMMARIES.name}.{thread.key}", cb=note)
    return statuses


async def until_left(bus: Bus, thread: Thread) -> None:
    """Return when no worker holds the session."""
    leases = Bucket(bus, LEASES.name, Lease)

    async def left() -> bool:
        return (await leases.get(str(thread.key))).value is None

    await until(left)


async def test_a_turn_that_lasts_is_shown_while_it_does(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    statuses = await shown(bus, thread)
    await thread.say("obey")
    await until(lambda: "working" in statuses)
    await thread.stop()
    await until(lambda: statuses[-1] == "idle")


async def test_a_turn_that_waits_is_shown_as_queued(bus, scheduler) -> None:
    await scheduler(max_workers=0)
    thread = Thread(bus)
    statuses = await shown(bus, thread)
    await thread.say("finish")
    await until(lambda: statuses == ["queued"])


@pytest.mark.parametrize("words", ["finish", "idle"], ids=["its worker leaves", "its worker stays"])
async def test_a_turn_that_is_over_in_a_moment_costs_one_write(
    bus, scheduler, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "MOMENT_SECONDS", 60.0)
    await scheduler()
    thread = Thread(bus)
    statuses = await shown(bus, thread)
    for turns in (1, 2):
        await thread.ended(await thread.say(words))
        await until(lambda turns=turns: len(statuses) == turns)
    await thread.close()
    await until_left(bus, thread)
    await until(lambda: statuses[-1] == "closed")
    await thread.ended(await thread.say("finish"))
    await until(lambda: statuses[-1] == "idle")
    assert statuses == ["idle", "idle", "closed", "idle"]


class Glances(Summaries):
    """Notes what would be written."""

    def __init__(self) -> None:
        self.statuses: list[str] = []

    async def reflect(self, key: SessionKey, memory: Turns, held: Held | None) -> None:
        self.statuses.append(status_of(memory, held))


async def test_what_a_session_does_is_shown_once_it_has_been_at_work_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(showing, "MOMENT_SECONDS", 0.5)
    glances, agenda, key = Glances(), Agenda(), SessionKey("T1", "C1", "1-1")
    who = Person(id="U1")
    at_work = Turns(open=OpenTurn(turn=1, user=who, opened_at=now(), deadline=now()))
    held = Held(token=7, holder="w-1", revision=7, since=now(), ours=False, seen=now())
    shows, looked = Showing(glances, agenda), asyncio.Queue[SessionKey]()
    looking = asyncio.create_task(agenda.run(looked.put))
    for _ in range(2):
        await shows.show(key, at_work, None)
        await shows.show(key, at_work, held)
        assert glances.statuses == []
        assert await asyncio.wait_for(looked.get(), 10) == key
        await shows.show(key, at_work, held)
        await shows.show(key, at_work, None)
        await shows.show(key, Turns(), None)
        assert glances.statuses == ["working", "queued", "idle"]
        glances.statuses.clear()
    await shows.show(key, at_work, None)
    await shows.show(key, Turns(), None)
    await asyncio.sleep(2 * showing.MOMENT_SECONDS)
    assert looked.empty()
    await cancel(looking)


async def test_a_session_is_shown_by_the_next_scheduler_where_the_first_died_within_the_moment(
    bus, scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "MOMENT_SECONDS", 60.0)
    first = await scheduler()
    thread = Thread(bus)
    statuses = await shown(bus, thread)
    await thread.say("hang")
    await until(thread.starts)
    await first.crash()
    assert statuses == []
    monkeypatch.undo()
    await scheduler()
    await until(lambda: "working" in statuses)
