"""A lease says who holds it, and is its worker's own to write: nobody else's worker pays for what it says."""

from datetime import timedelta

from schemas.buckets import Grant, Lease
from schemas.bus import GRANTS, LEASES
from services.local.keys import local_keys
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.issuer import Issuer
from services.scheduler import core
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


async def working(bus: Bus, thread: Thread) -> tuple[int, str]:
    """Have a worker hang in the thread, let into it; return its turn's input and its name."""
    sequence = await thread.say("hang")
    await until_claimed(thread)
    name = (await Bucket(bus, LEASES.name, Lease).get(str(thread.key))).value.holder
    await Bucket(bus, GRANTS.name, Grant).create(name, Grant(session=str(thread.key)))
    return sequence, name


async def take_name(bus: Bus, thread: Thread, name: str) -> None:
    """Have the worker in the thread give itself out for `name`."""
    leases = Bucket(bus, LEASES.name, Lease)
    held = await leases.get(str(thread.key))
    await leases.put(str(thread.key), Lease(holder=name, token=held.value.token), held.revision)


async def test_a_worker_that_gives_itself_out_for_another_is_killed_itself(bus, scheduler) -> None:
    replica = await scheduler()
    innocent, hostile = Thread(bus), Thread(bus)
    (asked, name), (wanted, hostiles) = await working(bus, innocent), await working(bus, hostile)
    await take_name(bus, hostile, name)
    await hostile.stop()
    assert (await hostile.ended(wanted)).outcome == "cancelled"
    assert replica.launcher.killed == [hostiles]
    await innocent.stop()
    assert (await innocent.ended(asked)).outcome == "cancelled"
    assert replica.launcher.killed == [hostiles, name]


async def test_a_guessed_name_of_one_that_waits_in_the_pool_kills_nobody(bus, scheduler, tmp_path) -> None:
    issuer = Issuer.read(local_keys(tmp_path).workers)
    replica = await scheduler(issuer=issuer, warm=1)
    hostile = Thread(bus)
    wanted, hostiles = await working(bus, hostile)
    await until(lambda: len(replica.launcher.workers()) > 1)
    (waiting,) = set(replica.launcher.workers()) - {hostiles}
    await take_name(bus, hostile, waiting)
    await hostile.stop()
    assert (await hostile.ended(wanted)).outcome == "cancelled"
    assert replica.launcher.killed == [hostiles]


async def test_the_names_of_those_that_wait_take_no_place_and_mark_nobody(bus, scheduler, tmp_path) -> None:
    issuer = Issuer.read(local_keys(tmp_path).workers)
    replica = await scheduler(issuer=issuer, warm=2, max_workers=4)
    hostile, innocent = Thread(bus), Thread(bus)
    _, hostiles = await working(bus, hostile)
    await until(lambda: len(replica.launcher.workers()) == 3)
    waiting = set(replica.launcher.workers()) - {hostiles}
    for name in (*waiting, hostiles):
        await take_name(bus, hostile, name)
    assert (await innocent.ended(await innocent.say("finish"))).outcome == "completed"
    assert {name for name, key in replica.launcher.marked if key == hostile.key} <= {hostiles}


async def test_a_schedulers_name_protects_nobody_for_long(bus, scheduler, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(core, "LONGEST_ENDING", timedelta(seconds=0.3))
    replica = await scheduler(issuer=Issuer.read(local_keys(tmp_path).workers))
    hostile = Thread(bus)
    wanted, name = await working(bus, hostile)
    await take_name(bus, hostile, "scheduler-x")
    await hostile.stop()
    assert (await hostile.ended(wanted)).outcome == "cancelled"
    assert replica.launcher.killed == [name]


async def test_the_name_of_one_that_is_gone_protects_nobody(bus, scheduler, tmp_path) -> None:
    replica = await scheduler(issuer=Issuer.read(local_keys(tmp_path).workers))
    hostile = Thread(bus)
    wanted, name = await working(bus, hostile)
    # The one before it in the session died while the broker was away: nobody could note its end.
    await Bucket(bus, GRANTS.name, Grant).create("w-gone", Grant(session=str(hostile.key)))
    await take_name(bus, hostile, "w-gone")
    await hostile.stop()
    assert (await hostile.ended(wanted)).outcome == "cancelled"
    assert replica.launcher.killed == [name]
