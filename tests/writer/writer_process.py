"""A writer as a process of its own, for tests that kill it: python writer_process.py NATS_URL SLACK_URL (token on stdin)."""

import asyncio
import sys

from services.ingress.slack_api import SlackApi
from services.ingress.writer.app import wire_writer
from services.ingress.writer.settings import WriterSettings
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, open_connection


async def main(nats: str, slack: str, token: str) -> None:
    bus = Bus(await open_connection(BusSettings(url=nats), "writer", lambda: None))
    settings = WriterSettings(append_every=0.05, controls_after=0.2, survey_every=0.1, save_every=0.05)
    async with SlackApi(token, base_url=slack) as api:
        await (await wire_writer(bus, api, settings)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.stdin.readline().strip()))
