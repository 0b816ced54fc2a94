"""One thread: what it should show, and the work that brings Slack there."""

import asyncio
from collections.abc import Callable

import structlog

from schemas.base import Message, Unknown
from schemas.events import Event
from schemas.keys import SessionKey
from services.ingress.slack_api import SlackError
from services.ingress.writer import acts
from services.ingress.writer.controls import Controls
from services.ingress.writer.kit import Kit
from services.ingress.writer.live import Live
from services.ingress.writer.marks import Reaction, Statuses
from services.ingress.writer.once import Once
from services.ingress.writer.pen import ChannelGone
from services.ingress.writer.sayings import Sayings
from services.ingress.writer.settling import Spawn
from services.ingress.writer.view import View

log = structlog.get_logger(__name__)

# Keeps the place in the log from moving past a sequence, until what it returns is called.
Hold = Callable[[int], Callable[[], None]]


class Thread:
    """Takes the events of one session. Nothing here waits for another thread, but for the channel's budget."""

    def __init__(self, key: SessionKey, kit: Kit, spawn: Spawn, hold: Hold) -> None:
        self.key = key
        self.view = View(key)
        self._kit = kit
        self._spawn = spawn
        self._hold = hold
        self._once = Once(kit.pen, key, kit.bot_user, self._posted)
        self._reactions: dict[str, Reaction] = {}
        # The signs that our messages carried before this thread came into our memory.
        self._signs: dict[str, str] = {}
        self._statuses = Statuses(
            kit.pen,
            key,
            spawn,
            lambda: (self.view.status, self.view.session_status),
            kit.settings.status_again_after,
        )
        self._controls = Controls(kit.pen, key, spawn, self._posted)
        self._sayings = Sayings(
            kit,
            key,
            self._once,
            self._controls,
            spawn=spawn,
            present=lambda: self._live,
        )
        self._live: Live | None = None
        self._newest = self._shared = 0
        # Where a predecessor's unfinished work begins in the thread.
        self._inherited_from = ""
        self.touched = _now()

    @property
    def gone(self) -> bool:
        """Whether Slack has said that nothing can be written here: nothing more is shown."""
        return self._sayings.gone

    @property
    def quiet(self) -> bool:
        """Whether the thread may be forgotten: nothing is open, nothing is left to do."""
        return self.view.idle and not self._sayings.busy and (self._live is None or self.gone)

    # --- taking -----------------------------------------------------------------------------------------------------

    def remember(self, sequence: int, message: Message | Unknown) -> None:
        """Take what was shown before: it is known, and shown no more."""
        for act in self.view.fold(sequence, message):
            if isinstance(act, acts.React):
                self._signs[act.ts] = act.name
                if act.name in acts.LAST_SIGNS.values():
                    del self._signs[act.ts]
        self._inherited_from = self.view.unfinished_since

    def foresee(self, event: Event) -> None:
        """Know of what is still to be taken only which turn is the newest: a predecessor may have got there."""
        self._newest = max(self._newest, event.turn)

    def take(self, sequence: int, message: Message | Unknown) -> None:
        """Take a stored event, and begin whatever it asks for."""
        self.touched = _now()
        before = self.view.turn
        todo = self.view.fold(sequence, message)
        if self.gone:
            return
        if (turn := self.view.turn) and turn is not before:
            self._begin(turn.number)
        for act in todo:
            self._start(sequence, act)
        self._statuses.poke(self._hold(sequence))

    def hear(self, message: Message | Unknown) -> None:
        """Take a live message."""
        if self.gone:
            return
        before = self.view.status
        for act in self.view.hear(message):
            self._open(act.turn).show(act)
        if self.view.status != before:
            self._statuses.poke()

    def _begin(self, turn: int) -> None:
        self._open(turn)
        if not self._sayings.busy:
            self._once.since = min(self.view.turn.inputs.values(), default="") if self.view.turn else ""
        loop = asyncio.get_running_loop()
        loop.call_later(self._kit.settings.controls_after, self._still_running, turn)

    def _still_running(self, turn: int) -> None:
        if self.view.turn and self.view.turn.number == turn and not self.gone:
            self._controls.want(turn)

    # --- showing ----------------------------------------------------------------------------------------------------

    def _start(self, sequence: int, act: acts.Act) -> None:
        match act:
            case acts.React():
                self._react(sequence, act)
            case acts.Text() | acts.Card() | acts.Plan():
                self._open(act.turn).show(act)
            case acts.Name():
                self._statuses.name(act.title)
            case _:
                self._sayings.add(sequence, act, self._live, self._hold(sequence))
        if isinstance(act, acts.Finish | acts.Refuse):
            self._live = None
            self._controls.want(0, self._hold(sequence))

    def _react(self, sequence: int, act: acts.React) -> None:
        if not self._kit.settings.reactions:
            return
        reaction = self._reactions.get(act.ts) or Reaction(
            self._kit.pen, self.key, act.ts, self._spawn, self._shown_at(act.ts)
        )
        self._reactions[act.ts] = reaction
        if act.name in acts.LAST_SIGNS.values():
            del self._reactions[act.ts]
            self._signs.pop(act.ts, None)
        reaction.want(act.name, self._hold(sequence))

    def _shown_at(self, ts: str) -> set[str]:
        if seen := self._once.ledger.reactions.get(ts):
            return seen & acts.SIGNS
        return {self._signs[ts]} if ts in self._signs else set()

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
            if turn in self._once.ledger.finals:
                self._live.mute()
            if turn == self._shared:
                self._live.shared()
        return self._live

    def _posted(self) -> None:
        self._statuses.cleared()

    # --- coming and leaving -----------------------------------------------------------------------------------------

    def begun(self, turn: int) -> None:
        """A predecessor showed this open turn: what it showed is not ours to go on with."""
        self._begin(turn)
        self._open(turn).broken()
        self._statuses.poke()

    async def inherit(self) -> None:
        """Read what a predecessor left in the thread, and end the streams that it left open."""
        try:
            ledger = await self._once.look(self._inherited_from)
        except (ChannelGone, SlackError) as e:
            log.warning("a thread cannot be read", session=str(self.key), error=str(e))
            return
        self._once.ledger = ledger
        if self._live and self.view.latest_turn in ledger.finals:
            self._live.mute()
        self._controls.inherit(ledger.places("controls"))
        self._controls.want(self.view.turn.number if self.view.turn else 0)
        newest = max(self._newest, self.view.latest_turn)
        known = await self._sayings.streams()
        for stream in ledger.streams:
            if stream.ts not in known:
                self._shared = newest
                await self._once.stop_stream(stream.ts, newest)

    async def sweep(self) -> None:
        """Delete what a predecessor, who did not know that it was over, said a second time."""
        if not self.gone:
            await self._once.sweep(self._inherited_from)

    async def leave(self) -> None:
        """End the stream: somebody else goes on."""
        if self._live:
            await self._live.close()

    def forget(self) -> None:
        """Let timers go."""
        self._statuses.stop()


def _now() -> float:
    return asyncio.get_running_loop().time()
