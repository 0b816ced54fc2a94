"""The receiving ends that are compared, each as a process of its own (`python -m benchmarks.ack_server`)."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Literal

import msgspec
import nats
import uvloop
from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.child import tell, told, until_ended
from services.ingress.receiving import wire_receiving
from services.ingress.settings import IngressSettings
from services.ingress.slack_api import SlackApi
from services.ingress.writer.samples import Samples
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.log import configure_logging
from services.runtime.tasks import cancel

PATH = "/slack/events"
Kind = Literal["aiohttp", "aiohttp + publish", "slack-bolt", "threadmill"]
Routes = list[web.RouteDef]


class Serve(msgspec.Struct, kw_only=True):
    """What to serve, and where broker and Slack are."""

    kind: Kind
    nats_url: str
    slack_url: str
    bot_token: str
    signing_secret: str


class Serving(msgspec.Struct):
    """Where it listens."""

    port: int


@contextlib.asynccontextmanager
async def _echo(_: Serve) -> AsyncIterator[Routes]:
    async def take(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    yield [web.post(PATH, take)]


@contextlib.asynccontextmanager
async def _publish(serve: Serve) -> AsyncIterator[Routes]:
    client = await nats.connect(serve.nats_url)
    stream = client.jetstream()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        await stream.publish("bench.ack", body)
        return web.Response(body=body)

    yield [web.post(PATH, take)]
    await client.close()


@contextlib.asynccontextmanager
async def _bolt(serve: Serve) -> AsyncIterator[Routes]:
    client = AsyncWebClient(token=serve.bot_token, base_url=f"{serve.slack_url}/api/")
    app = AsyncApp(client=client, signing_secret=serve.signing_secret)

    @app.event("app_mention")
    async def nothing() -> None:
        pass

    yield [web.post(PATH, app.server(path=PATH).handle_post_requests)]


@contextlib.asynccontextmanager
async def _threadmill(serve: Serve) -> AsyncIterator[Routes]:
    client = await open_connection(BusSettings(url=serve.nats_url), "ingress", lambda: None)
    settings = IngressSettings(
        bot_token=serve.bot_token,
        signing_secret=serve.signing_secret,
        slack_api_url=f"{serve.slack_url}/api/",
    )
    async with SlackApi(serve.bot_token, base_url=settings.slack_api_url) as api:
        quiet = msgspec.structs.replace(settings, http_port=0)
        receiving = await wire_receiving(Bus(client), api, quiet, Samples())
        running = asyncio.create_task(receiving.run())
        yield receiving.routes()
        await receiving.drain()
        await cancel(running)
    await close_connection(client)


KINDS = {"aiohttp": _echo, "aiohttp + publish": _publish, "slack-bolt": _bolt, "threadmill": _threadmill}


async def _main(serve: Serve) -> None:
    async with KINDS[serve.kind](serve) as routes:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tell(Serving(runner.addresses[0][1]))
        await until_ended()
        await runner.cleanup()


if __name__ == "__main__":
    configure_logging("bench", form="text", level="ERROR")
    # As every process of ours does.
    gc.freeze()
    uvloop.run(_main(told(Serve)))
