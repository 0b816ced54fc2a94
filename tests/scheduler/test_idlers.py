"""Workers that let a start pass: ended where they wait still at a second look, and nobody is blamed wrongly."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from schemas.base import now
from schemas.buckets import Lease, OpenTurn
from schemas.bus import LEASES
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.scheduler.grants import Grants
from services.scheduler.idlers import Idlers
from services.scheduler.leases import Leases
from services.scheduler.roster import TAKES, Roster
from tests.scheduler.task_launcher import TaskLauncher
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


@pytest.mark.parametrize("launch_timeout", [4 + TAKES.total_seconds(), 60])
async def test_a_worker_that_takes_no_work_is_replaced(
    bus, scheduler, monkeypatch, launch_timeout: float
) -> None:
    """Whether nobody takes the turn in its time, or the next worker does that comes."""
    if launch_timeout == 60:
        monkeypatch.setattr("services.scheduler.idlers.SECOND_LOOK_SECONDS", 0.1)
    launcher = TaskLauncher(bus.client.connected_url.geturl())
    launcher.deaf = True
    await scheduler(launcher, warm=1, launch_timeout=launch_timeout)
    await until(lambda: launcher.launched)
    launcher.deaf = False
    thread = Thread(bus)
    assert (await thread.ended(await thread.say("finish"), within=40)).outcome == "completed"
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

    def __init__(self, bus: Bus, monkeypatch: pytest.MonkeyPatch, key: SessionKey, other: SessionKey) -> None:
        self._bus = bus
        self._patch = monkeypatch
        self._grants = Grants(bus, required=False)
        self._key = key
        self._other = other

    async def let_in(self, name: str, roster: Roster) -> None:
        """It was let into another session."""
        assert await self._grants.give(name, self._other)

    async def let_into_this(self, name: str, roster: Roster) -> None:
        """It took the next start of the session whose last one it let pass."""
        assert await self._grants.give(name, self._key)

    async def working(self, name: str, roster: Roster) -> None:
        """It holds a lease, on a broker that asks nobody for a grant."""
        await Bucket(self._bus, LEASES.name, Lease).create(str(self._other), Lease(holder=name))
        await until(lambda: name not in roster.spare())

    async def outage(self, name: str, roster: Roster) -> None:
        """The broker was away: nobody could hear of work."""
        self._patch.setattr(Leases, "missed_since", lambda self, at: True)

    async def silence(self, name: str, roster: Roster) -> None:
        """The broker is still away."""

        async def of(self, worker: str) -> str | None:
            raise Unavailable("away")

        self._patch.setattr(Grants, "of", of)


Happens = Callable[[str, Roster], Awaitable[None]]
# Nobody else sleeps for so long.
UNLIKELY = 12.345


class SecondLook:
    """`happens` to a worker while its second look is waited for; then it is `judged`."""

    def __init__(self) -> None:
        self.happens: Happens | None = None
        self.happened = False
        self.judged = asyncio.Event()
        self._suspect: tuple[str, Roster]

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        judge, sleep = Idlers._judge, asyncio.sleep

        async def noted(idlers: Idlers, key: SessionKey, name: str, patience: float) -> None:
            self._suspect = (name, idlers._roster)
            await judge(idlers, key, name, patience)
            self.judged.set()

        async def slept(seconds: float) -> None:
            if seconds == UNLIKELY:
                self.happened = True
                await (self.happens(*self._suspect) if self.happens else sleep(0))
            else:
                await sleep(seconds)

        monkeypatch.setattr("services.scheduler.idlers.SECOND_LOOK_SECONDS", UNLIKELY)
        monkeypatch.setattr(asyncio, "sleep", slept)
        monkeypatch.setattr(Idlers, "_judge", noted)


@pytest.fixture
def second_look(monkeypatch) -> SecondLook:
    look = SecondLook()
    look.patch(monkeypatch)
    return look


@pytest.fixture
async def deaf(bus, scheduler, second_look: SecondLook) -> TaskLauncher:
    """The launcher of a scheduler whose one warm worker hears of no work; those that come later do."""
    launcher = TaskLauncher(bus.client.connected_url.geturl())
    launcher.deaf = True
    await scheduler(launcher, warm=1)
    await until(lambda: launcher.launched)
    launcher.deaf = False
    return launcher


@pytest.mark.parametrize(
    "way",
    [
        "let_in",
        "let_into_this",
        "working",
        "outage",
        "silence",
    ],
)
async def test_a_worker_that_was_only_slow_to_come_up_is_no_idler(
    bus, deaf: TaskLauncher, suspected: list[set[str]], second_look: SecondLook, monkeypatch, way: str
) -> None:
    thread, other = Thread(bus), Thread(bus)
    second_look.happens = getattr(Meanwhile(bus, monkeypatch, thread.key, other.key), way)
    turn = await thread.say("obey")
    await second_look.judged.wait()
    assert second_look.happened
    assert suspected == [{deaf.launched[0]}]
    assert not deaf.killed
    await thread.stop()
    assert (await thread.ended(turn)).outcome == "cancelled"


@pytest.mark.parametrize("stuck", [False, True], ids=["waiting", "on its way into the session"])
async def test_a_worker_that_is_where_it_was_is_ended(
    bus, deaf: TaskLauncher, suspected: list[set[str]], second_look: SecondLook, stuck: bool
) -> None:
    thread = Thread(bus)
    if stuck:
        assert await Grants(bus, required=False).give(deaf.launched[0], thread.key)
    turn = await thread.say("obey")
    await second_look.judged.wait()
    assert second_look.happened
    assert deaf.killed == deaf.launched[:1]
    await thread.stop()
    assert (await thread.ended(turn)).outcome == "cancelled"


class Deaf:
    """A roster in which one worker lets every start pass."""

    def idlers(self, key: SessionKey, turn: OpenTurn, taken_by: str) -> set[str]:
        return {"w-1"}


async def test_a_worker_that_lets_many_starts_pass_is_judged_once_at_a_time() -> None:
    idlers = Idlers(Deaf(), leases=None, grants=None, hiring=None)  # type: ignore[arg-type]  # to suspect asks the roster alone
    turn = OpenTurn(turn=1, user=Person(id="U1"), opened_at=now(), deadline=now())
    for n in range(5):
        idlers.suspect(SessionKey("T1", "C1", f"1-{n}"), turn, taken_by="w-2")
    assert idlers._suspects.qsize() == 1
