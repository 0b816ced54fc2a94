"""A trace crosses the bus, and leaves the process where there is somewhere to go."""

import asyncio
import os
import re
import sys
from pathlib import Path

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from services.local.broker import Broker

ROOT = Path(__file__).parents[2]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# A process of its own: the tracer of a process is set up once.
STORY = """
import asyncio, sys
from opentelemetry import trace
from schemas.bus import Consumer
from schemas.events import Notice
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.consume import Consume
from services.runtime.tasks import cancel
from services.runtime.topology import apply_map, ensure_consumer
from services.runtime.tracing import configure_tracing, span

async def story(url, endpoint):
    configure_tracing("story", endpoint or None)
    client = await open_connection(BusSettings(url=url), "story", lambda: None)
    bus = Bus(client)
    await apply_map(bus)
    consumer = Consumer(name="test", stream="SESSIONS", description="", filters=("session.*.*.*.out",))
    await ensure_consumer(bus, consumer)
    heard = asyncio.Event()

    async def handle(delivery):
        print(delivery.headers["traceparent"], format(trace.get_current_span().get_span_context().trace_id, "032x"))
        heard.set()

    task = asyncio.create_task(Consume(bus, consumer, "story", handle, lambda d: d.subject).run())
    with span("asked", {"traceparent": "00-%s-00f067aa0ba902b7-01"}):
        await bus.publish(Draft(subject="session.T1.C1.a.out", message=Notice(text="x")))
    await asyncio.wait_for(heard.wait(), 30)
    await cancel(task)
    await close_connection(client)

asyncio.run(story(*sys.argv[1:]))
"""


async def tell(broker: Broker, endpoint: str) -> str:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STORY % TRACE, broker.url, endpoint),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    async with asyncio.timeout(60):
        out, _ = await running.communicate()
    assert running.returncode == 0
    return out.decode().strip()


async def test_who_asks_is_the_parent_of_who_handles_and_the_spans_arrive(broker: Broker) -> None:
    spans: dict[str, Span] = {}
    services: set[str] = set()

    async def receive(request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest.FromString(await request.read())
        for resource in export.resource_spans:
            services.update(
                a.value.string_value for a in resource.resource.attributes if a.key == "service.name"
            )
            spans.update((span.name, span) for scope in resource.scope_spans for span in scope.spans)
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    carried = await tell(broker, f"http://127.0.0.1:{runner.addresses[0][1]}/")
    await runner.cleanup()
    asked, handled = spans["asked"], spans["story test"]
    assert carried == f"00-{TRACE}-{asked.span_id.hex()}-01 {TRACE}"
    assert asked.trace_id.hex() == handled.trace_id.hex() == TRACE
    assert handled.parent_span_id == asked.span_id
    assert services == {"threadmill-story"}


async def test_without_an_endpoint_the_trace_still_crosses_the_bus(broker: Broker) -> None:
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01 {TRACE}", await tell(broker, ""))
