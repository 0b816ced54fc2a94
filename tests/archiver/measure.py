"""How long the archive takes: `python -m tests.archiver.measure [EVENTS]` prints a few lines, on a real broker.

A session of that many events in turns of 20, about 1 KB each, is archived into a folder and read back over the bus;
then sessions that nobody knows are asked for, as every first turn does.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from schemas.archive import LogPage, ReadLog
from schemas.keys import SessionKey
from services.local.broker import running_broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.topology import apply_map
from tests.archiver.stage import KEY, acknowledged, archiver, end, tell


async def load(bus, **request):
    after, more, count, pages = 0, True, 0, 0
    while more:
        answer = await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY), after=after, **request))
        page = LogPage.decode(answer)
        after, more, count, pages = page.through, page.more, count + len(page.records), pages + 1
    return count, pages


async def measure(bus, folder, events):
    async with archiver(bus, folder):
        for turn in range(events // 20):
            await asyncio.gather(*(tell(bus, "x" * 1000) for _ in range(19)))
            await end(bus, turn)
        told = time.perf_counter()
        await acknowledged(bus)
        print(f"archived {time.perf_counter() - told:.2f} s after the last event")
    objects = len(list(folder.rglob("v1/*/*/*/*.gz")))
    async with archiver(bus, folder):  # a new one: nothing is remembered
        await asyncio.sleep(0.2)
        for request in ({}, {"only": "state"}):
            start = time.perf_counter()
            count, pages = await load(bus, **request)
            seconds = time.perf_counter() - start
            print(f"{request or 'all'}: {count} records of {objects} objects, {pages} pages, {seconds:.2f} s")
        times = []
        for n in range(300):
            start = time.perf_counter()
            await bus.request("archiver.read", ReadLog(session=str(SessionKey("T1", "C9", f"{n}-0"))))
            times.append((time.perf_counter() - start) * 1000)
        times.sort()
        print(f"a new session: p50 {statistics.median(times):.2f} ms, p99 {times[-3]:.2f} ms")


async def main():
    with tempfile.TemporaryDirectory() as place:
        async with running_broker(Path(place) / "broker") as broker:
            client = await open_connection(BusSettings(url=broker.url), "measure", lambda: None)
            await apply_map(Bus(client))
            await measure(Bus(client), Path(place) / "archive", int((sys.argv[1:] or ["10000"])[0]))
            await close_connection(client)


if __name__ == "__main__":
    asyncio.run(main())
