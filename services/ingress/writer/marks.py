"""What follows the latest state alone: reactions, statuses, the controls. What is overtaken is never sent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import Json, SessionStatus, SlackError
from services.ingress.writer import blocks
from services.ingress.writer.budget import Urgency
from services.ingress.writer.ledger import Mark, metadata
from services.ingress.writer.metrics import give_up
from services.ingress.writer.pen import LATER, ChannelGone, Pen, refused_for_pace

log = structlog.get_logger(__name__)

Spawn = Callable[[Awaitable[None]], None]
RETRY_SECONDS = 1.0
MOST_TITLE = 200


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


DONE_ALREADY = frozenset({"already_reacted", "no_reaction"})


class Reaction:
    """The one sign of ours on one message."""

    def __init__(self, pen: Pen, key: SessionKey, ts: str, spawn: Spawn, shown: set[str]) -> None:
        self._key = key
        self._ts = ts
        self._shown = shown
        self._wanted = ""
        self._settling = Settling(pen, key, spawn, self._step)

    def want(self, name: str, settled: Callable[[], None]) -> None:
        """Show `name` alone."""
        self._wanted = name
        self._settling.poke(settled)

    def _step(self) -> Step | None:
        if self._wanted and self._wanted not in self._shown:
            return self._call("reactions.add", self._wanted, self._shown.add)
        old = next((name for name in self._shown if name != self._wanted), None)
        return self._call("reactions.remove", old, self._shown.discard) if old else None

    def _call(self, method: str, name: str, took: Callable[[str], None]) -> Step:
        arguments = {"channel": self._key.channel, "timestamp": self._ts, "name": name}
        return Step(method, arguments, lambda _: took(name))


class Statuses:
    """What Slack shows at the thread: what the assistant is busy with, and how the session stands."""

    def __init__(
        self,
        pen: Pen,
        key: SessionKey,
        spawn: Spawn,
        wanted: Callable[[], tuple[str, SessionStatus | None]],
        again_after: float,
    ) -> None:
        self._key = key
        self._wanted = wanted
        self._again_after = again_after
        self._shown, self._session = "", None
        self.title = self._titled = ""
        self._timer: asyncio.TimerHandle | None = None
        self._words = Settling(pen, key, spawn, self._word_step)
        self._standing = Settling(pen, key, spawn, self._session_step)
        self._titles = Settling(pen, key, spawn, self._title_step)

    _session: SessionStatus | None

    def poke(self, settled: Callable[[], None] | None = None) -> None:
        """The session may stand differently now."""
        self._words.poke()
        self._standing.poke(settled)

    def name(self, title: str) -> None:
        """The session has a title now."""
        self.title = title[:MOST_TITLE]
        self._titles.poke()

    def cleared(self) -> None:
        """A message of ours came, and with it Slack took the words away."""
        self._shown = ""
        self._words.poke()

    def _word_step(self) -> Step | None:
        words = self._wanted()[0]
        if words == self._shown:
            return None
        arguments = {"channel_id": self._key.channel, "thread_ts": self._key.thread_ts, "status": words}
        return Step("assistant.threads.setStatus", arguments, lambda _: self._now_shown(words))

    def _now_shown(self, words: str) -> None:
        self._shown = words
        if self._timer:
            self._timer.cancel()
        # Slack clears the words after two minutes.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._again_after, self.cleared) if words else None

    def _session_step(self) -> Step | None:
        status = self._wanted()[1]
        if status == self._session or status is None:
            return None
        arguments = {
            "channel_id": self._key.channel,
            "thread_ts": self._key.thread_ts,
            "status": status,
        }
        return Step("agents.sessions.setStatus", arguments, lambda _: self._now_session(status))

    def _title_step(self) -> Step | None:
        title = self.title
        if title == self._titled:
            return None
        arguments = {"channel_id": self._key.channel, "thread_ts": self._key.thread_ts, "title": title}
        return Step("agents.sessions.rename", arguments, lambda _: self._now_titled(title))

    def _now_titled(self, title: str) -> None:
        self._titled = title

    def _now_session(self, status: SessionStatus) -> None:
        self._session = status

    def stop(self) -> None:
        """Let the timer go."""
        if self._timer:
            self._timer.cancel()


class Controls:
    """The message with Stop and Details, there while a turn runs and gone after it."""

    def __init__(self, pen: Pen, key: SessionKey, spawn: Spawn, posted: Callable[[], None]) -> None:
        self._key = key
        self._turn = 0
        self._posted = posted
        self._places: list[str] = []
        # It may stand there without our knowing where.
        self.doubtful = False
        self._settling = Settling(pen, key, spawn, self._step)

    def inherit(self, places: list[str]) -> None:
        """These stand there already, and no others."""
        self._places, self.doubtful = list(places), False

    def want(self, turn: int, settled: Callable[[], None] | None = None) -> None:
        """Stand there for `turn`, or with 0 not at all."""
        self._turn = turn
        self._settling.poke(settled)

    def _step(self) -> Step | None:
        if self._turn and not self._places and not self.doubtful:
            arguments = {
                "channel": self._key.channel,
                "thread_ts": self._key.thread_ts,
                "text": "Working on it.",
                "blocks": blocks.controls(self._key),
                "metadata": metadata(self._key, self._turn, Mark("controls", self._turn)),
            }
            return Step("chat.postMessage", arguments, self._stands, urgency="live", lost=self._lost)
        if self._places and not self._turn:
            arguments = {"channel": self._key.channel, "ts": self._places[0]}
            return Step("chat.delete", arguments, self._went)
        return None

    def _lost(self) -> None:
        self.doubtful = True

    def _went(self, _: Json) -> None:
        self._places.pop(0)

    def _stands(self, answer: Json) -> None:
        self._places.append(str(answer["ts"]))
        self._posted()
