"""What probes and scrapers see, over a real socket."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.health import Readiness, health_routes, serve
from services.runtime.metrics import REFUSED


@pytest.fixture
def readiness() -> Readiness:
    return Readiness({"bus": lambda: True})


@pytest.fixture
async def http(readiness: Readiness) -> AsyncIterator[aiohttp.ClientSession]:
    runner = await serve(health_routes(readiness), "127.0.0.1", 0)
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await runner.cleanup()


async def page(http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with http.get(path) as answer:
        return answer.status, await answer.text()


async def test_ready_is_when_every_check_holds_and_the_page_names_those_that_do_not(
    http: aiohttp.ClientSession, readiness: Readiness
) -> None:
    assert await page(http, "/readyz") == (200, "ok\n")
    readiness.add("slack", lambda: False)
    readiness.add("disk", lambda: False)
    assert await page(http, "/readyz") == (503, "slack, disk")
    readiness.draining = True
    assert await page(http, "/readyz") == (503, "draining, slack, disk")
    assert await page(http, "/healthz") == (200, "ok\n")


async def test_a_scraper_reads_what_was_counted(http: aiohttp.ClientSession) -> None:
    REFUSED.labels("test", 'forged "x"\n').inc(3)
    status, text = await page(http, "/metrics")
    assert status == 200
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    (counted,) = [
        s for s in samples if s.name == "threadmill_refused_total" and s.labels["service"] == "test"
    ]
    assert (counted.labels["reason"], counted.value) == ('forged "x"\n', 3)
