"""Answering whether a service works; its replicas share the question."""

import asyncio
import importlib.metadata

from nats.aio.msg import Msg

from schemas.operations import Ping, Pong
from services.runtime.bus import Bus


class Pings:
    """Answers `Ping` for `service`."""

    def __init__(self, bus: Bus, service: str) -> None:
        self._bus = bus
        self._service = service
        self._pong = Pong(service=service, release=importlib.metadata.version("threadmill"))

    async def run(self) -> None:
        """Answer for ever."""
        subscription = await self._bus.client.subscribe(
            Ping.subject(self._service), queue=self._service, cb=self._answer
        )
        try:
            await asyncio.Event().wait()
        finally:
            if not self._bus.client.is_closed:
                await subscription.unsubscribe()

    async def _answer(self, message: Msg) -> None:
        if message.reply:
            await self._bus.client.publish(message.reply, self._pong.encode())
