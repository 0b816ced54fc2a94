"""One thread: what it should show, and the work that brings Slack there."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from schemas.base import Message, Unknown, now
from schemas.keys import SessionKey
from services.ingress.slack_api import SlackError
from services.ingress.writer import acts, blocks
from services.ingress.writer.ledger import Mark, metadata
from services.ingress.writer.live import Live
from services.ingress.writer.marks import Controls, Reaction, Statuses
from services.ingress.writer.metrics import FINAL, give_up
from services.ingress.writer.pen import ChannelGone, Pen
from services.ingress.writer.posts import Posts
from services.ingress.writer.redact import redact
from services.ingress.writer.settings import WriterSettings
from services.ingress.writer.view import View
from services.runtime.errors import Unavailable

log = structlog.get_logger(__name__)

FILE_RETRY_SECONDS = 1.0
Job = Callable[[], Awaitable[None]]
Spawn = Callable[[Awaitable[None]], None]
# Keeps the place in the log from moving past a sequence, until what it returns is called.
Hold = Callable[[int], Callable[[], None]]


class Files(Protocol):
    """Where the agent's files are. Raises `Unavailable`."""

    async def get(self, name: str) -> bytes | None:
        """Return a file, None when it is gone."""


@dataclass(frozen=True)
class Kit:
    """What every thread works with. `bot_user` is who we are in Slack."""

    pen: Pen
    files: Files
    settings: WriterSettings
    bot_user: str


class Thread:
    """Takes the events of one session. Nothing here waits for another thread, but for the channel's budget."""

    def __init__(self, key: SessionKey, kit: Kit, spawn: Spawn, hold: Hold) -> None:
        self.key = key
        self.view = View(key)
        self._kit = kit
        self._spawn = spawn
        self._hold = hold
        self._posts = Posts(kit.pen, kit.settings, key, kit.bot_user, self._posted)
        self._reactions: dict[str, Reaction] = {}
        self._signs: dict[str, set[str]] = {}
        self._statuses = Statuses(
            kit.pen,
            key,
            spawn,
            lambda: (self.view.status, self.view.session_status),
            kit.settings.status_again_after,
        )
        self._controls = Controls(kit.pen, key, spawn, self._posted)
        self._live: Live | None = None
        self._jobs: deque[Job] = deque()
        self._working = self._gone = False
        self.touched = _now()

    @property
    def quiet(self) -> bool:
        """Whether the thread may be forgotten: nothing is open, nothing is left to do."""
        return self.view.idle and not self._jobs and not self._working and self._live is None

    # --- taking ---------------------------------------------------------------------------------------------------

    def remember(self, sequence: int, message: Message | Unknown) -> None:
        """Take what was shown before: it is known, and shown no more."""
        for act in self.view.fold(sequence, message):
            if isinstance(act, acts.React):
                self._signs[act.ts] = {act.name}
                if act.name in acts.LAST_SIGNS.values():
                    del self._signs[act.ts]

    async def inherit(self) -> None:
        """Read what a predecessor left in the thread, and end the streams that it left open."""
        try:
            self._posts.ledger = ledger = await self._posts.look()
        except (ChannelGone, SlackError) as e:
            log.warning("a thread cannot be read", session=str(self.key), error=str(e))
            return
        for ts in ledger.streams:
            await self._posts.stop_stream(ts)
        self._controls.inherit(ledger.places("controls"))
        if self.view.turn:
            self._open(self.view.turn.number).broken()
            self._controls.want(self.view.turn.number)
        self._statuses.poke()

    def take(self, sequence: int, message: Message | Unknown) -> None:
        """Take a stored event, and begin whatever it asks for."""
        self.touched = _now()
        before = self.view.turn
        todo = self.view.fold(sequence, message)
        if self._gone:
            return
        if (turn := self.view.turn) and turn is not before:
            self._begin(turn.number)
        for act in todo:
            self._start(sequence, act)
        self._statuses.poke(self._hold(sequence))

    def hear(self, message: Message | Unknown) -> None:
        """Take a live message."""
        if self._gone:
            return
        before = self.view.status
        for act in self.view.hear(message):
            self._open(act.turn).show(act)
        if self.view.status != before:
            self._statuses.poke()

    def _begin(self, turn: int) -> None:
        self._open(turn)
        loop = asyncio.get_running_loop()
        loop.call_later(self._kit.settings.controls_after, self._still_running, turn)

    def _still_running(self, turn: int) -> None:
        if self.view.turn and self.view.turn.number == turn and not self._gone:
            self._controls.want(turn)

    def _start(self, sequence: int, act: acts.Act) -> None:
        match act:
            case acts.React():
                self._react(sequence, act)
            case acts.Text() | acts.Card() | acts.Plan():
                self._open(act.turn).show(act)
            case acts.Name():
                self._statuses.name(act.title)
            case _:
                self._jobs.append(self._job(sequence, act))
                self._work()

    def _react(self, sequence: int, act: acts.React) -> None:
        if not self._kit.settings.reactions:
            return
        reaction = self._reactions.get(act.ts)
        if reaction is None:
            shown = self._posts.ledger.reactions.get(act.ts, self._signs.get(act.ts, set())) & acts.SIGNS
            reaction = Reaction(self._kit.pen, self.key, act.ts, self._spawn, shown)
            self._reactions[act.ts] = reaction
        if act.name in acts.LAST_SIGNS.values():
            del self._reactions[act.ts]
            self._signs.pop(act.ts, None)
        reaction.want(act.name, self._hold(sequence))

    def _open(self, turn: int) -> Live:
        if self._live is None:
            user = self.view.turn.user.id if self.view.turn else ""
            self._live = Live(
                self._kit.pen,
                self._kit.settings,
                self.key,
                turn,
                user,
                spawn=self._spawn,
                posted=self._posted,
            )
        return self._live

    def _posted(self) -> None:
        self._statuses.cleared()

    # --- what is said, one after the other --------------------------------------------------------------------------

    def _job(self, sequence: int, act: acts.Act) -> Job:
        live = self._live
        if isinstance(act, acts.Finish | acts.Refuse):
            self._live = None
            self._controls.want(0, self._hold(sequence))
        release = self._hold(sequence)

        async def job() -> None:
            await self._say(sequence, act, live)
            release()

        return job

    def _work(self) -> None:
        if not self._working:
            self._working = True
            self._spawn(self._work_off())

    async def _work_off(self) -> None:
        while self._jobs:
            await self._jobs.popleft()()
        self._working = False

    async def _say(self, sequence: int, act: acts.Act, live: Live | None) -> None:
        if self._gone:
            return
        try:
            await self._carry_out(sequence, act, live)
        except ChannelGone as e:
            self._gone = True
            give_up("thread", str(e))
            log.warning("a thread cannot be written to any more", session=str(self.key), reason=str(e))
        except SlackError as e:
            give_up(type(act).__name__.lower(), e.error)
            log.exception("slack refuses it", what=type(act).__name__, session=str(self.key), error=str(e))
        except Exception:
            # One thing that cannot be shown keeps nothing else from being shown.
            give_up(type(act).__name__.lower(), "failed")
            log.exception("it could not be shown", what=type(act).__name__, session=str(self.key))

    async def _carry_out(self, sequence: int, act: acts.Act, live: Live | None) -> None:
        match act:
            case acts.Finish():
                await self._finish(sequence, act, live)
            case acts.Ask():
                if live:
                    await live.rotate()
                await self._posts.ask(sequence, act)
            case acts.Close():
                await self._posts.close(act)
            case acts.Tell():
                await self._posts.tell(sequence, act)
            case acts.Share():
                await self._posts.share(act, await self._file(act.file.object))
            case acts.Refuse():
                await self._refuse(act, live)

    async def _finish(self, sequence: int, finish: acts.Finish, live: Live | None) -> None:
        mark = Mark("turn", sequence)
        if self._posts.ledger.has(mark):
            if live:
                await live.close()
            return
        if not (live and await self._finish_live(mark, finish, live)):
            await self._posts.final(sequence, finish)
        FINAL.observe(max(0.0, (now() - finish.end.at).total_seconds()))

    async def _finish_live(self, mark: Mark, finish: acts.Finish, live: Live) -> bool:
        done = await live.finish(
            redact(blocks.lead(finish)),
            redact(finish.text),
            blocks.footer(self.key, finish),
            metadata(self.key, finish.turn, mark),
            lambda: self._posts.find(mark),
        )
        if live.lost or self._controls.doubtful:
            await self._find_lost()
        return done

    async def _find_lost(self) -> None:
        """Clean up what Slack may have taken from us without telling where it put it."""
        ledger = await self._posts.look()
        for ts in ledger.streams:
            await self._posts.stop_stream(ts)
        self._controls.inherit(ledger.places("controls"))
        self._controls.want(0)

    async def _file(self, name: str) -> bytes | None:
        while True:
            try:
                return await self._kit.files.get(name)
            except Unavailable as e:
                log.warning("a file cannot be read yet", error=str(e))
                await asyncio.sleep(FILE_RETRY_SECONDS)

    async def _refuse(self, refuse: acts.Refuse, live: Live | None) -> None:
        if live:
            await live.close()
        await self._posts.refuse(refuse)

    # --- leaving ----------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Delete what a predecessor, who did not know that it was over, said a second time."""
        if not self._gone:
            await self._posts.sweep()

    async def leave(self) -> None:
        """End the stream: somebody else goes on."""
        if self._live:
            await self._live.close()

    def forget(self) -> None:
        """Let timers go."""
        self._statuses.stop()


def _now() -> float:
    return asyncio.get_running_loop().time()
