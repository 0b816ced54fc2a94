"""Live text: from a worker's publish until Slack's API receives the call that carries it."""

import asyncio
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.brokers import brokers
from benchmarks.local_mode import LocalMode, Run, local_mode
from benchmarks.report import Section, Table, median, ms, percentile, ratio
from schemas.live import LIVES, TextDelta
from services.ingress.writer.settings import WriterSettings
from services.runtime.bus import Bus
from services.worker.agents.protocol import Finished, TextBlock
from services.worker.agents.protocol import TextDelta as Spoken
from services.worker.agents.recording import Step

MARK = re.compile(r"mark(\d+)\b")
SPARSE_MS, DENSE_MS = 700, 50
STREAMING = ("chat.startStream", "chat.appendStream")
BARE = "bench.bare"
SETTLE_SECONDS = 1.0


async def run(quick: bool) -> Section:
    count = 8 if quick else 40
    bare: list[float] = []
    shown: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for spacing in (SPARSE_MS, DENSE_MS):
            recording = Path(folder) / f"{spacing}.jsonl"
            recording.write_bytes(_recording(count, spacing))
            worker = {"THREADMILL_RECORDING": str(recording), "THREADMILL_IDLE_SECONDS": "1"}
            async with local_mode(Run(agent="recorded", worker=worker)) as mode:
                await mode.warm(1)
                shown[spacing] = await _latencies(mode)
                async with brokers(1) as broker:
                    bare += await _bare(broker.bus, mode, count)
    return _section(bare, shown[SPARSE_MS], shown[DENSE_MS], count)


def _recording(count: int, spacing: int) -> bytes:
    words = [f"mark{number} " for number in range(count)]
    text = "".join(words)
    steps = [Step(event=Spoken(text=word), after_ms=spacing) for word in words]
    last = [
        Step(event=TextBlock(text=text), after_ms=spacing),
        Step(event=Finished(ok=True, text=text, stop_reason="end_turn")),
    ]
    return msgspec.json.Encoder().encode_lines([*steps, *last])


async def _latencies(mode: LocalMode) -> list[float]:
    """Let the recording play once; return each delta's seconds from its arrival on the bus to Slack's API."""
    key = await mode.say("speak")
    await mode.end(key)
    await asyncio.sleep(SETTLE_SECONDS)
    received: dict[str, float] = {}
    for call in await mode.calls():
        if call["method"] in STREAMING:
            for mark in MARK.findall(_text(call["args"])):
                received.setdefault(mark, call["at"])
    said = [(at, live) for at, live in mode.seen.live[str(key)] if isinstance(live, TextDelta)]
    return [received[mark] - at for at, live in said for mark in MARK.findall(live.text) if mark in received]


def _text(arguments: dict[str, Any]) -> str:
    return "".join(str(chunk.get("text", "")) for chunk in arguments.get("chunks") or [])


async def _bare(bus: Bus, mode: LocalMode, count: int) -> list[float]:
    """A subscriber on a broker that lets everybody do everything posts what it hears at once, to the same Slack."""
    sent: dict[str, float] = {}
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def post(message: Any) -> None:
        live = LIVES.decode(message.data)
        assert isinstance(live, TextDelta)
        async with mode.http.post(f"{mode.url}/api/{BARE}", json={"text": live.text}) as answer:
            await answer.read()
        heard.put_nowait(live.text)

    subscription = await bus.client.subscribe("bench.live", cb=post)
    for number in range(count):
        delta = TextDelta(lease=1, turn=1, block=0, offset=0, text=f"mark{number}")
        sent[delta.text] = time.time()
        await bus.client.publish("bench.live", delta.encode())
        await heard.get()
        await asyncio.sleep(0.05)
    await subscription.unsubscribe()
    received = {c["args"]["text"]: c["at"] for c in await mode.calls() if c["method"] == BARE}
    return [received[text] - at for text, at in sent.items()]


def _section(bare: list[float], sparse: list[float], dense: list[float], count: int) -> Section:
    every = WriterSettings().append_every
    table = Table(columns=("live text", "p50 ms", "p99 ms", "p50 to bare"))
    rows = {
        "bare: a subscriber that posts at once": bare,
        f"a delta every {SPARSE_MS} ms, which never waits for another": sparse,
        f"a delta every {DENSE_MS} ms, gathered for {every * 1000:.0f} ms": dense,
    }
    for name, found in rows.items():
        table.add(name, ms(median(found)), ms(percentile(found, 0.99)), ratio(median(found), median(bare)))
    told = (
        f"{count} deltas of the recorded agent in a real worker: from their arrival on the bus until the simulator received"
        " the `chat.startStream` or `chat.appendStream` that carries them. Slack allows about 100 appends a minute, so live"
        f" text is gathered for {every:g} s: a dense delta waits for half of that on average, by design."
    )
    return Section(title="Live text", told=told, tables={"": table})
