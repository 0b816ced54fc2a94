"""A lease says who holds it, and is its worker's own to write: nobody else's worker pays for what it says."""

from schemas.buckets import Grant, Lease
from schemas.bus import GRANTS, LEASES
from services.runtime.bucket import Bucket
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread


async def test_a_worker_that_gives_itself_out_for_another_has_nobody_killed(bus, scheduler) -> None:
    replica = await scheduler()
    grants, leases = Bucket(bus, GRANTS.name, Grant), Bucket(bus, LEASES.name, Lease)
    innocent, hostile = Thread(bus), Thread(bus)
    turns, names = {}, {}
    for thread in (innocent, hostile):
        turns[thread] = await thread.say("hang")
        await until_claimed(thread)
        names[thread] = (await leases.get(str(thread.key))).value.holder
        await grants.create(names[thread], Grant(session=str(thread.key)))
    held = await leases.get(str(hostile.key))
    await leases.put(str(hostile.key), Lease(holder=names[innocent], token=held.value.token), held.revision)
    await hostile.stop()
    assert (await hostile.ended(turns[hostile])).outcome == "cancelled"
    assert not replica.launcher.killed
    await innocent.stop()
    assert (await innocent.ended(turns[innocent])).outcome == "cancelled"
    assert replica.launcher.killed == [names[innocent]]
