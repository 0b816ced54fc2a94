"""Brings something in Slack to the newest wanted state, call by call; what is overtaken is never sent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import Json, SlackError
from services.ingress.writer.budget import Urgency
from services.ingress.writer.metrics import give_up
from services.ingress.writer.pen import LATER, ChannelGone, Pen, refused_for_pace

log = structlog.get_logger(__name__)

Spawn = Callable[[Awaitable[None]], None]
RETRY_SECONDS = 1.0
DONE_ALREADY = frozenset({"already_reacted", "no_reaction"})


class Step(NamedTuple):
    """The next call that brings a mark closer to what is wanted.

    `took` hears its answer, `lost` that there was none: the call may have been carried out.
    """

    method: str
    arguments: Json
    took: Callable[[Json], None]
    urgency: Urgency = "due"
    lost: Callable[[], None] | None = None


class Settling:
    """Makes one step after the other until a mark stands as it is wanted.

    What cannot be had (the message is gone, the method is not for this channel) is let go: `next_step` is asked no more.
    """

    def __init__(self, pen: Pen, key: SessionKey, spawn: Spawn, next_step: Callable[[], Step | None]) -> None:
        self._pen = pen
        self._key = key
        self._spawn = spawn
        self._next = next_step
        self._given_up = self._running = False
        self._settled: list[Callable[[], None]] = []

    def poke(self, settled: Callable[[], None] | None = None) -> None:
        """Something is wanted differently; `settled` hears when it stands."""
        self._settled += [settled] if settled else []
        if not self._running:
            self._running = True
            self._spawn(self._settle())

    async def _settle(self) -> None:
        while not self._given_up and (step := self._next()):
            if wait := self._pen.spare(step.method, self._key.team, self._key.channel, step.urgency):
                await asyncio.sleep(wait)
            else:
                await self._make(step)
        self._running = False
        done, self._settled = self._settled, []
        for settled in done:
            settled()

    async def _make(self, step: Step) -> None:
        try:
            step.took(await self._pen.once(step.method, self._key.team, self._key.channel, step.arguments))
        except ChannelGone:
            self._given_up = True
        except SlackError as e:
            if e.error in DONE_ALREADY:
                step.took({})
            elif e.retriable or e.error in LATER:
                if step.lost and not refused_for_pace(e):
                    step.lost()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("a mark is let go", method=step.method, error=e.error)
                give_up("mark", e.error)
                self._given_up = True
