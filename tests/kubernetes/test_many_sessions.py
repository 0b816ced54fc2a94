"""Far more sessions than workers: all come to their end, in the order in which each person asked, within the quota."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import groupby
from pathlib import Path

import pytest

from schemas.bus import AUDIT, SESSIONS
from schemas.ends import TurnEnd
from schemas.events import EVENTS, HandedOver, QuestionAsked
from schemas.operations import Audited
from services.runtime.bus import Bus
from services.runtime.follow import Follow, read
from services.scheduler.subjects import key_of
from tests.kubernetes import accidents
from tests.kubernetes.census import Census
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.overlay import overlay
from tests.kubernetes.recordings import asks, writes
from tests.kubernetes.stage import Stage, stage
from tests.kubernetes.town import WORKERS

SESSIONS_OF_EACH, PEOPLE = 100, ("U1", "U2")
# What the quota of the base lets in, and what its schedulers are told.
MOST = 20
# As many as two schedulers may have made by then, each the warm ones.
FEW = 4
PATIENCE = 400.0

pytestmark = pytest.mark.timeout(500)


@pytest.fixture(name="stage")
async def deployed(plane: ControlPlane, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Stage]:
    changed = overlay(
        tmp_path / "overlay",
        scheduler={"turns_per_window": SESSIONS_OF_EACH},
        pool={"environment": {"THREADMILL_IDLE_SECONDS": "0"}},
    )
    async with stage(plane, cluster, tmp_path, changed) as running:
        yield running


async def ask(stage: Stage, user: str, count: int = SESSIONS_OF_EACH) -> list[str]:
    """Ask for one thing after the other in threads of their own; return their sessions."""
    asked = [await stage.town.say(f"thing {n} of {user}", user=user) for n in range(count)]
    return [str(stage.key(ts)) for ts in asked]


async def all_places_filled(bus: Bus, most: int) -> set[str]:
    """Return the `most` sessions that wait for a word of their person at a time."""
    waiting: set[str] = set()
    async with aclosing(Follow(bus, SESSIONS.name, ["session.*.*.*.out"]).deliveries()) as deliveries:
        async for delivery in deliveries:
            if delivery and isinstance(EVENTS.decode(delivery.data), QuestionAsked):
                waiting.add(key_of(delivery.subject).thread_ts)
            if len(waiting) == most:
                break
    return waiting


async def free_them(stage: Stage, waiting: set[str]) -> None:
    """Give those in `waiting` their word; nobody is asked after them."""
    stage.plays(writes("work.md"))
    await asyncio.gather(*(stage.town.say("Yes.", thread=thread) for thread in waiting))


async def ends(bus: Bus, count: int) -> list[TurnEnd]:
    """Return the ends of all sessions once there are so many."""
    found: list[TurnEnd] = []
    async with aclosing(Follow(bus, SESSIONS.name, ["session.*.*.*.end.*"]).deliveries()) as deliveries:
        async for delivery in deliveries:
            if delivery:
                found.append(TurnEnd.decode(delivery.data))
            if len(found) == count:
                break
    return found


async def handed_over(bus: Bus) -> list[str]:
    """Return the sessions whose workers had to go in the middle of a turn."""
    events = await read(bus, SESSIONS.name, ["session.*.*.*.out"])
    return [each.subject for each in events if isinstance(EVENTS.decode(each.data), HandedOver)]


async def started(bus: Bus) -> list[str]:
    """Return the sessions in the order in which they were handed out, as the audit trail has it."""
    entries = [Audited.decode(each.data) for each in await read(bus, AUDIT.name, [])]
    told = [entry.session for entry in entries if entry.did == "started"]
    return [session for session, _ in groupby(told)]


async def test_all_sessions_end_in_order_with_no_more_workers_than_there_may_be(stage: Stage) -> None:
    census, count = await Census.begin(stage.cluster), SESSIONS_OF_EACH * len(PEOPLE)
    stage.plays(asks("Shall I begin?"), writes("work.md"))
    asked = await asyncio.gather(*(ask(stage, user) for user in PEOPLE))
    async with stage.town.bus() as bus, asyncio.timeout(PATIENCE):
        waiting = await all_places_filled(bus, MOST)
        at_once = await started(bus)
        await free_them(stage, waiting)
        found = await ends(bus, count)
        order = await started(bus)
        assert not await handed_over(bus)
    assert {(end.outcome, end.attempt) for end in found} == {("completed", 1)}
    assert len({end.turn for end in found}) == count
    assert census.most == MOST
    # Each worker works on one session, and none is started for nothing: but where the machine is so busy that a worker
    # takes longer than the broker waits for it, another one is given the same.
    assert len(census.pods) <= count + MOST
    # Two schedulers fill the places beside each other, and may give the last ones away twice; whoever waits is taken in order.
    assert MOST <= len(at_once) < 2 * MOST
    waited = [session for session in order if session not in at_once]
    for sessions in asked:
        in_line = [each for each in sessions if each in waited]
        assert [each for each in waited if each in in_line] == in_line


async def test_a_quota_that_lets_in_fewer_than_there_may_be_only_makes_turns_wait(stage: Stage) -> None:
    await accidents.limit(stage.cluster, WORKERS, "workers", pods=str(FEW))
    census, count = await Census.begin(stage.cluster), 4 * FEW
    stage.plays(asks("Shall I begin?"), writes("work.md"))
    await asyncio.gather(*(ask(stage, user, 2 * FEW) for user in PEOPLE))
    async with stage.town.bus() as bus, asyncio.timeout(PATIENCE):
        await free_them(stage, await all_places_filled(bus, FEW))
        found = await ends(bus, count)
        assert not await handed_over(bus)
    assert {(end.outcome, end.attempt) for end in found} == {("completed", 1)}
    assert len({end.turn for end in found}) == count
    # Where Pods end, Kubernetes counts what is used anew from a cache that may not know the newest ones yet, and lets in as
    # many again. Without a quota all would have been there at once.
    assert FEW <= census.most <= 2 * FEW < count
