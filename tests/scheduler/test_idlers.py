"""Workers that let a start pass: ended where they wait still at a second look, and nobody is blamed wrongly."""

import asyncio
from datetime import timedelta

import pytest

from schemas.buckets import Lease
from schemas.bus import LEASES
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.scheduler.grants import Grants
from services.scheduler.idlers import Idlers
from services.scheduler.roster import TAKES, Roster
from tests.scheduler.task_launcher import TaskLauncher
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


@pytest.mark.parametrize("launch_timeout", [0.5 + TAKES.total_seconds(), 60])
async def test_a_worker_that_takes_no_work_is_replaced(
    bus, scheduler, monkeypatch, launch_timeout: float
) -> None:
    """Whether nobody takes the turn in its time, or the next worker does that comes."""
    monkeypatch.setattr("services.scheduler.idlers.SECOND_LOOK_SECONDS", 0.1)
    launcher = TaskLauncher(bus.client.connected_url.geturl())
    launcher.deaf = True
    await scheduler(launcher, warm=1, launch_timeout=launch_timeout)
    await until(lambda: launcher.launched)
    launcher.deaf = False
    thread = Thread(bus)
    assert (await thread.ended(await thread.say("finish"))).outcome == "completed"
    await until(lambda: launcher.killed == launcher.launched[:1])


@pytest.fixture
def suspected(monkeypatch) -> list[set[str]]:
    """Who was suspected of letting a start pass, at each look; a first look comes at once, instead of after a second."""
    found: list[set[str]] = []
    idlers = Roster.idlers

    def noted(self, *arguments) -> set[str]:
        found.append(idlers(self, *arguments))
        return found[-1]

    monkeypatch.setattr(Roster, "idlers", noted)
    monkeypatch.setattr("services.scheduler.roster.TAKES", timedelta(0))
    return found


async def test_where_one_is_gone_that_may_have_had_the_turn_nobody_else_is_blamed_for_it(
    bus, scheduler, suspected: list[set[str]], monkeypatch
) -> None:
    handed_out, publish = asyncio.Event(), Roster.publish

    def noted(self, *arguments) -> None:
        publish(self, *arguments)
        handed_out.set()

    monkeypatch.setattr(Roster, "publish", noted)
    launcher = TaskLauncher(bus.client.connected_url.geturl())
    launcher.deaf = True
    await scheduler(launcher, warm=2)
    await until(lambda: len(launcher.launched) == 2)
    thread = Thread(bus)
    turn = await thread.say("finish")
    await handed_out.wait()
    had, _ = launcher.launched
    launcher.deaf = False
    await launcher.kill(had)
    assert (await thread.ended(turn)).outcome == "completed"
    await until(lambda: suspected)
    assert not set().union(*suspected)


class Meanwhile:
    """What may become of a worker between two looks."""

    def __init__(self, bus: Bus, key: SessionKey, other: SessionKey) -> None:
        self._bus = bus
        self._grants = Grants(bus, required=False)
        self._key = key
        self._other = other

    async def stuck(self, name: str, roster: Roster) -> None:
        """It was let into the session whose start it let pass, and got no further."""
        assert await self._grants.give(name, self._key)

    async def let_in(self, name: str, roster: Roster) -> None:
        """It was let into another session."""
        assert await self._grants.give(name, self._other)

    async def working(self, name: str, roster: Roster) -> None:
        """It holds a lease, on a broker that asks nobody for a grant."""
        await Bucket(self._bus, LEASES.name, Lease).create(str(self._other), Lease(holder=name))
        await until(lambda: name not in roster.spare())


@pytest.mark.parametrize(("way", "ended"), [("stuck", True), ("let_in", False), ("working", False)])
async def test_a_worker_that_was_slow_to_come_up_is_no_idler_where_it_got_into_another_session_since(
    bus, scheduler, suspected: list[set[str]], monkeypatch, way: str, ended: bool
) -> None:
    thread, other = Thread(bus), Thread(bus)
    meanwhile = Meanwhile(bus, thread.key, other.key)
    looked, look_again = asyncio.Event(), Idlers._look_again

    async def later(self, key: SessionKey, name: str) -> None:
        await getattr(meanwhile, way)(name, self._roster)
        await look_again(self, key, name)
        looked.set()

    monkeypatch.setattr(Idlers, "_look_again", later)
    monkeypatch.setattr("services.scheduler.idlers.SECOND_LOOK_SECONDS", 0)
    launcher = TaskLauncher(bus.client.connected_url.geturl())
    launcher.deaf = True
    await scheduler(launcher, warm=1)
    await until(lambda: launcher.launched)
    launcher.deaf = False
    turn = await thread.say("obey")
    await looked.wait()
    assert suspected == [{launcher.launched[0]}]
    assert launcher.killed == (launcher.launched[:1] if ended else [])
    await thread.stop()
    assert (await thread.ended(turn)).outcome == "cancelled"
