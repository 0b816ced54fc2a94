"""The signs of a thread's state: reactions on messages, what the assistant is busy with, how the session stands."""

import asyncio
from collections.abc import Callable

from schemas.keys import SessionKey
from services.ingress.slack_api import SessionStatus
from services.ingress.writer.metrics import give_up
from services.ingress.writer.pen import Pen
from services.ingress.writer.settling import Settling, Spawn, Step

MOST_TITLE = 200
# A sign that Slack's pace keeps away holds the place in the log so long, and is tried for as long as people may miss it.
HOLD_SECONDS = 30.0
GIVE_UP_SECONDS = 600.0


class Reaction:
    """The one sign of ours on one message."""

    def __init__(self, pen: Pen, key: SessionKey, ts: str, spawn: Spawn, shown: set[str]) -> None:
        self._key = key
        self._ts = ts
        self._shown = shown
        self._wanted = ""
        self._wanted_at = 0.0
        self._settling = Settling(pen, key, spawn, self._step)

    def want(self, name: str, settled: Callable[[], None]) -> None:
        """Show `name` alone. `settled` hears when it stands, or that it takes too long to wait for."""
        self._wanted, self._wanted_at = name, asyncio.get_running_loop().time()
        self._settling.poke(_soon(settled))

    def _step(self) -> Step | None:
        if asyncio.get_running_loop().time() - self._wanted_at > GIVE_UP_SECONDS:
            give_up("mark", "late")
            return None
        if self._wanted and self._wanted not in self._shown:
            return self._call("reactions.add", self._wanted, self._shown.add)
        old = next((name for name in self._shown if name != self._wanted), None)
        return self._call("reactions.remove", old, self._shown.discard) if old else None

    def _call(self, method: str, name: str, took: Callable[[str], None]) -> Step:
        arguments = {"channel": self._key.channel, "timestamp": self._ts, "name": name}
        return Step(method, arguments, lambda _: took(name))


def _soon(settled: Callable[[], None]) -> Callable[[], None]:
    """Return what calls `settled` once, when it is called itself or after `HOLD_SECONDS`."""
    left = [settled]

    def once() -> None:
        timer.cancel()
        if left:
            left.pop()()

    timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, once)
    return once


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
