"""What a thread says, one thing after the other: each is done before the next begins, and nothing is said twice."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from schemas.base import now
from schemas.keys import SessionKey
from services.ingress.slack_api import SlackError
from services.ingress.writer import acts, closing
from services.ingress.writer.controls import Controls
from services.ingress.writer.kit import Kit
from services.ingress.writer.ledger import Mark, carries, metadata
from services.ingress.writer.live import Live
from services.ingress.writer.metrics import FINAL, give_up
from services.ingress.writer.once import Once
from services.ingress.writer.pen import ChannelGone
from services.ingress.writer.posts import Posts
from services.ingress.writer.settling import Spawn
from services.runtime.errors import Unavailable
from services.runtime.redact import SHAPES

log = structlog.get_logger(__name__)

FILE_RETRY_SECONDS = 1.0


class Saying(NamedTuple):
    """What is to be said: an act at its place in the log, with its turn's live message."""

    sequence: int
    act: acts.Act
    live: Live | None
    done: Callable[[], None]


class Sayings:
    """Carries acts out in order. `gone` tells that the thread cannot be written to any more.

    `present` returns the live message of the turn that is open now, None when there is none.
    """

    def __init__(
        self,
        kit: Kit,
        key: SessionKey,
        once: Once,
        controls: Controls,
        *,
        spawn: Spawn,
        present: Callable[[], Live | None],
    ) -> None:
        self._kit = kit
        self._key = key
        self._once = once
        self._posts = Posts(kit.pen, once, kit.settings, key)
        self._controls = controls
        self._spawn = spawn
        self._present = present
        self._waiting: deque[Saying] = deque()
        self._working = self.gone = False

    @property
    def busy(self) -> bool:
        """Whether something is left to say."""
        return self._working

    def add(self, sequence: int, act: acts.Act, live: Live | None, done: Callable[[], None]) -> None:
        """Say this after everything before; `live` is the turn's live message, `done` hears when it stands."""
        self._waiting.append(Saying(sequence, act, live, done))
        if not self._working:
            self._working = True
            self._spawn(self._work_off())

    async def _work_off(self) -> None:
        while self._waiting:
            saying = self._waiting[0]
            await self._say(saying.sequence, saying.act, saying.live)
            saying.done()
            self._waiting.popleft()
        self._working = False

    async def streams(self) -> set[str]:
        """Return the `ts` of every stream of the turns whose end does not stand yet, as far as Slack told us of it."""
        return {ts for live in self._unended() for ts in await live.streams()}

    def _unended(self) -> set[Live]:
        lives = (self._present(), *(saying.live for saying in self._waiting))
        return {live for live in lives if live}

    async def _say(self, sequence: int, act: acts.Act, live: Live | None) -> None:
        if self.gone:
            return
        what = type(act).__name__.lower()
        try:
            await self._carry_out(sequence, act, live)
        except ChannelGone as e:
            self.gone = True
            give_up("thread", str(e))
            log.warning("a thread cannot be written to any more", session=str(self._key), reason=str(e))
        except SlackError as e:
            give_up(what, e.error)
            log.exception("slack refuses it", what=what, session=str(self._key), error=str(e))
        except Exception:
            # One thing that cannot be shown keeps nothing else from being shown.
            give_up(what, "failed")
            log.exception("it could not be shown", what=what, session=str(self._key))

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
            case acts.Wait():
                await self._posts.wait(sequence, act)
            case acts.Share():
                await self._posts.share(act, await self._file(act.file.object))
            case acts.Refuse():
                if live:
                    await live.close()
                await self._posts.refuse(act)

    async def _finish(self, sequence: int, finish: acts.Finish, live: Live | None) -> None:
        mark = Mark("turn", sequence)
        if self._once.ledger.has(mark):
            if live:
                await live.close()
            return
        if not (live and await self._finish_live(mark, finish, live)):
            if live and finish.end.outcome == "cancelled" and live.shows(SHAPES.text(finish.text)):
                finish = msgspec.structs.replace(finish, text="")
            await self._posts.final(sequence, finish)
        FINAL.observe(max(0.0, (now() - finish.end.at).total_seconds()))
        await self._tidy(finish, live)

    async def _tidy(self, finish: acts.Finish, live: Live | None) -> None:
        """The final message stands: what says nothing beyond it goes, and what Slack took from us in silence ends."""
        whole = (live.said if live else "") or SHAPES.text(finish.text)
        repeated = await live.repeated(whole) if live else []
        lost = self._controls.doubtful or (live is not None and live.lost)
        if lost:
            await self._find_lost(finish.turn, live, whole)
        if lost or (live and live.unsure):
            repeated += (await self._once.look()).repeated()
        for ts in dict.fromkeys(repeated):
            await self._once.delete(ts)

    async def _finish_live(self, mark: Mark, finish: acts.Finish, live: Live) -> bool:
        return await live.finish(
            SHAPES.text(closing.lead(finish)),
            SHAPES.text(finish.text),
            closing.footer(self._key, finish),
            metadata(self._key, finish.turn, mark),
            unclear=lambda: self._once.find(mark),
            shown=self._shown,
        )

    async def _shown(self, ts: str) -> str:
        """Return what Slack shows of the stream at `ts`."""
        ledger = await self._once.look()
        return next((each.text for each in ledger.streams if each.ts == ts), "")

    async def _find_lost(self, turn: int, live: Live | None, whole: str) -> None:
        """End the streams, and know of the controls, that Slack began without telling us where.

        `live` showed `turn`, whose final message says `whole`.
        """
        ledger = await self._once.look()
        self._controls.inherit(ledger.places("controls"))
        known = await self.streams()
        lost = [stream for stream in ledger.streams if stream.ts not in known]
        if any(other.lost for other in self._unended() - {live}):
            # A turn loses one stream at most, and the older turn the older one; the rest is ended with the later turn.
            ours = live is not None and live.lost
            lost = [stream for stream in lost[:1] if ours and stream.text and carries(whole, stream.text)]
        for stream in lost:
            await self._once.stop_stream(stream.ts, turn)

    async def _file(self, name: str) -> bytes | None:
        if not name.startswith(f"{self._key}/"):  # a worker names it, and may show nothing of other sessions
            log.warning("a file of another session is not shown", session=str(self._key), file=name[:200])
            return None
        while True:
            try:
                return await self._kit.files.get(name)
            except Unavailable as e:
                log.warning("a file cannot be read yet", error=str(e))
                await asyncio.sleep(FILE_RETRY_SECONDS)
