"""The broker of local mode: kept running for as long as it is wanted."""

import asyncio
import os
import signal
from pathlib import Path

import psutil

from services.local.broker import Broker
from services.runtime.bus import Bus


async def test_a_broker_that_dies_comes_back_at_the_same_port_with_what_it_kept(
    bus: Bus, broker: Broker
) -> None:
    first, port = broker.pid, broker.port
    os.kill(first, signal.SIGKILL)
    # The question waits until the client has a broker again.
    assert (await bus.api("STREAM.INFO.SESSIONS", {}, deadline=30))["config"]["name"] == "SESSIONS"
    assert broker.pid != first
    assert broker.port == port


async def test_one_that_was_stopped_stays_so_until_it_is_started(broker: Broker) -> None:
    first = broker.pid
    await broker.kill()
    # Whoever watches it has heard of its end, and has had turns enough to do something about it.
    for _ in range(100):
        await asyncio.sleep(0)
    assert broker.pid == first
    await broker.start()
    assert broker.pid != first


async def test_two_brokers_never_share_a_folder(tmp_path: Path) -> None:
    left, second = Broker(tmp_path), Broker(tmp_path)
    await left.start()
    await second.start()
    try:
        assert not psutil.pid_exists(left.pid)
    finally:
        await second.stop()
        await left.stop()
