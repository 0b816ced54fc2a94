"""Several replicas, and schedulers that are killed anywhere: nothing is forgotten, nothing ends twice."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from schemas.buckets import Lease, Summary, Turns
from schemas.bus import LEASES, SCHEDULER, SESSIONS, SUMMARIES, TURNS
from schemas.events import EVENTS, Claimed, Notice
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Unavailable
from services.runtime.follow import read
from services.runtime.health import Readiness
from services.runtime.tasks import cancel
from services.runtime.topology import ensure_consumer
from services.scheduler import showing
from services.scheduler.app import wire
from services.scheduler.leases import Leases
from services.scheduler.settings import SchedulerSettings
from tests.scheduler.task_launcher import TaskLauncher
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread
from tests.scheduler.until import until

TEXTS = ["finish", "idle", "die 1", "die 9", "hand over", "finish", "idle"]


async def test_two_replicas_share_the_work_and_end_every_turn_once(bus, scheduler) -> None:
    await asyncio.gather(*(scheduler(max_workers=8, warm=2) for _ in range(2)))
    threads = [Thread(bus, user=f"U{n}") for n in range(20)]

    async def live(thread: Thread, text: str) -> None:
        turn = await thread.say(text)
        end = await thread.ended(turn, within=40)
        assert end.outcome == ("failed" if text == "die 9" else "completed")
        more = [await thread.say("finish") for _ in range(3)]
        await thread.ended(more[0], within=40)

    await asyncio.gather(*(live(thread, TEXTS[n % len(TEXTS)]) for n, thread in enumerate(threads)))
    for thread in threads:
        ends = await thread.ends()
        assert len({end.turn for end in ends}) == len(ends)
        fates = [sequence for end in ends for sequence in end.inputs]
        assert fates == sorted(set(fates))


async def test_a_replica_goes_on_where_another_one_died(bus, scheduler) -> None:
    first = await scheduler(max_workers=1, warm=0)
    busy, waiting = Thread(bus), Thread(bus)
    turn = await busy.say("obey")
    queued = await waiting.say("finish")
    await until_claimed(busy)
    await scheduler(max_workers=2, warm=0)
    await first.crash()
    assert (await waiting.ended(queued)).outcome == "completed"
    await busy.stop()
    assert (await busy.ended(turn)).outcome == "cancelled"


class Shared(TaskLauncher):
    """One launcher that all replicas have, as a cluster is; it knows its workers once `known` is set."""

    shared = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.known = asyncio.Event()

    async def recover(self) -> None:
        await self.known.wait()


async def test_a_warm_worker_that_was_taken_is_replaced_later_by_all_replicas(
    bus, scheduler, monkeypatch
) -> None:
    monkeypatch.setattr("services.scheduler.hiring.REPLACE_AFTER", timedelta(seconds=60))
    cluster = Shared(bus.client.connected_url.geturl())
    cluster.known.set()
    for _ in range(3):
        await scheduler(cluster, warm=2)
    await until(lambda: len(cluster.workers()) == 2)
    thread = Thread(bus)
    await thread.ended(await thread.say("idle"))
    assert len(cluster.launched) == 2


async def test_a_replica_is_ready_when_it_knows_the_workers(bus, scheduler) -> None:
    cluster = Shared(bus.client.connected_url.geturl())
    replica = await scheduler(cluster)
    await until(lambda: replica.readiness.failing() == ["workers"])
    cluster.known.set()
    await until(lambda: not replica.readiness.failing())


async def test_what_is_said_while_the_schedulers_own_lease_lingers_opens_a_turn_once_it_goes(
    bus, scheduler, monkeypatch
) -> None:
    release, thread = Leases.release, Thread(bus)
    lingering: asyncio.Future[tuple[Leases, SessionKey, int]] = asyncio.get_running_loop().create_future()

    async def unanswered(leases: Leases, key: SessionKey, revision: int) -> None:
        lingering.set_result((leases, key, revision))
        raise Unavailable("nobody answered")

    monkeypatch.setattr(Leases, "release", unanswered)
    await scheduler(max_attempts=1)
    await thread.ended(await thread.say("die 9"))
    lease = await lingering
    said = await thread.say("finish")
    memories = Bucket(bus, TURNS.name, Turns)

    async def heard() -> bool:
        memory = (await memories.get(str(thread.key))).value
        return memory is not None and memory.heard >= said

    await until(heard)
    await release(*lease)
    assert (await thread.ended(said)).outcome == "completed"


Happens = Callable[[Leases, SessionKey, int], Awaitable[None]]


def after_taking(monkeypatch: pytest.MonkeyPatch, happens: Happens) -> list[int]:
    """Let something happen whenever a scheduler has just taken a lease, by its token; return these, as they come."""
    taken: list[int] = []
    take = Leases.take

    async def noted(leases: Leases, key: SessionKey) -> int | None:
        lease = await take(leases, key)
        if lease:
            taken.append(lease)
            await happens(leases, key, lease)
        return lease

    monkeypatch.setattr(Leases, "take", noted)
    return taken


async def claims(bus: Bus, thread: Thread) -> list[Claimed]:
    out = await read(bus, SESSIONS.name, [f"session.{thread.key}.out"])
    events = (EVENTS.decode(each.data) for each in out)
    return [event for event in events if isinstance(event, Claimed)]


async def test_a_scheduler_that_slept_with_a_lease_claims_nothing_after_the_next_holder(
    bus, scheduler, monkeypatch
) -> None:
    """It was stopped for longer than its lease lives just after it had taken it, to end a turn."""

    async def slept(leases: Leases, key: SessionKey, lease: int) -> None:
        if lease == taken[0]:
            await leases.release(key, lease)
            claim = Claimed(lease=lease + 1, holder="w-awake")
            await bus.publish(Draft(subject=claim.subject(key), message=claim))

    taken = after_taking(monkeypatch, slept)
    await scheduler(max_attempts=1)
    thread = Thread(bus)
    assert (await thread.ended(await thread.say("die 9"))).outcome == "failed"
    claimed = await claims(bus, thread)
    assert "w-awake" in [claim.holder for claim in claimed]
    assert taken[0] not in [claim.lease for claim in claimed]


async def test_a_former_holder_that_writes_once_more_keeps_no_scheduler_from_ending_its_turn(
    bus, scheduler, monkeypatch
) -> None:
    async def overtaken(leases: Leases, key: SessionKey, lease: int) -> None:
        word = Notice(text="a last word")
        await bus.publish(Draft(subject=word.subject(key), message=word))

    taken = after_taking(monkeypatch, overtaken)
    await scheduler(max_attempts=1)
    thread = Thread(bus)
    assert (await thread.ended(await thread.say("die 9"))).outcome == "failed"
    assert taken == [claim.lease for claim in await claims(bus, thread)][-1:]
    leases = Bucket(bus, LEASES.name, Lease)

    async def given_back() -> bool:
        return (await leases.get(str(thread.key))).value is None

    await until(given_back)


async def test_who_was_given_up_and_creates_its_lease_again_loses_it_again(bus) -> None:
    leases, bucket, key = Leases(bus, "s-1", lambda _: None), Bucket(bus, LEASES.name, Lease), Thread(bus).key
    running = asyncio.create_task(leases.run())
    token = await bucket.create(str(key), Lease(holder="w-1"))
    await until(lambda: leases.held(key))
    held = leases.held(key)
    assert held
    leases.died(key, held)
    await leases.bury(key)
    assert (await bucket.get(str(key))).value is None
    await bucket.create(str(key), Lease(holder="w-1", token=token))

    async def gone() -> bool:
        await leases.bury(key)
        return (await bucket.get(str(key))).value is None

    await until(gone)
    await cancel(running)


class DyingBus(Bus):
    """A bus whose process is killed at its `last`-th write: just before it is stored, or just after."""

    def __init__(self, client, last: int, *, after: bool) -> None:
        super().__init__(client)
        self.left = last
        self.after = after
        self.dead = asyncio.Event()

    async def _attempt(self, subject, payload, headers, until):
        if self.dead.is_set():
            raise Unavailable("the process is dead")
        self.left -= 1
        if self.left > 0:
            return await super()._attempt(subject, payload, headers, until)
        if self.left == 0 and self.after:
            await super()._attempt(subject, payload, headers, until)
        self.dead.set()
        return await asyncio.Event().wait()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("text", ["finish", "die 9", "one too many"])
async def test_a_scheduler_killed_at_any_write_loses_nothing(
    bus, broker, text: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler dies at its first write, the next one at its second, and so on, until one gets through."""
    monkeypatch.setattr(showing, "MOMENT_SECONDS", 0.0)
    rules = SchedulerSettings(turns_per_window=1, launch_timeout=5)
    # What a killed scheduler had not acknowledged comes again after this time.
    await ensure_consumer(bus, msgspec.structs.replace(SCHEDULER, ack_wait=1.0))
    launcher = TaskLauncher(broker.url)
    used_up = Thread(bus, user="UKILL")
    thread = Thread(bus, user="UKILL" if text == "one too many" else "UFREE")
    if text == "one too many":
        await run_until(broker, launcher, rules, used_up, await used_up.say("finish"), 10**6, after=False)
    turn = await thread.say(text)
    deaths = 0
    while await run_until(broker, launcher, rules, thread, turn, deaths + 1, after=after):
        deaths += 1
    (end,) = await thread.ends()
    assert end.outcome == {"finish": "completed", "die 9": "failed", "one too many": "rejected"}[text]
    summary = (await Bucket(bus, SUMMARIES.name, Summary).get(str(thread.key))).value
    assert summary is not None
    assert (summary.status, summary.turns) == ("idle", 1)
    assert deaths > 2
    await launcher.abandon()


async def run_until(broker, launcher, rules, thread: Thread, turn: int, last: int, *, after: bool) -> bool:
    """Run a scheduler until the turn has ended and the log is worked off (False), or it dies (True)."""
    client = await open_connection(BusSettings(url=broker.url), "scheduler", lambda: None)
    bus = DyingBus(client, last, after=after)
    service = await wire(bus, Readiness({}), rules, launcher)
    running = asyncio.create_task(service.run())
    done = asyncio.create_task(settled(thread, turn))
    dying = asyncio.create_task(bus.dead.wait())
    await asyncio.wait([done, dying], return_when=asyncio.FIRST_COMPLETED, timeout=40)
    died = bus.dead.is_set()
    assert died or done.done()
    await cancel(done, dying, running)
    await close_connection(client)
    await expire_lease_of_a_scheduler(thread)
    return died


async def expire_lease_of_a_scheduler(thread: Thread) -> None:
    leases = Bucket(thread.bus, LEASES.name, Lease)
    entry = await leases.get(str(thread.key))
    if entry.value and entry.value.holder.startswith("scheduler-"):
        await leases.delete(str(thread.key), entry.revision)


async def settled(thread: Thread, turn: int) -> None:
    await thread.ended(turn, within=60)
    while True:
        info = await thread.bus.api(f"CONSUMER.INFO.{SESSIONS.name}.{SCHEDULER.name}", None)
        if not info["num_pending"] and not info["num_ack_pending"]:
            return
        await asyncio.sleep(0.05)
