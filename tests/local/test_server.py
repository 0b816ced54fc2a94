"""The one port of local mode."""

import zlib

import aiohttp
from aiohttp import web

from services.local.server import listen, url_of


async def test_what_is_compressed_is_not_unpacked() -> None:
    async def size(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application()
    app.add_routes([web.post("/", size)])
    runner, port = await listen(app, "127.0.0.1", 0)
    bomb = zlib.compress(b" " * 10_000_000)
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                url_of("127.0.0.1", port), data=bomb, headers={"Content-Encoding": "deflate"}
            ) as answer,
        ):
            assert await answer.text() == str(len(bomb))
    finally:
        await runner.cleanup()
