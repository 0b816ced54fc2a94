"""How often a method may be called: token buckets, in which what must arrive goes before what is only live.

The numbers are Slack's: chat.postMessage one per second and channel with short bursts, the rest by its tiers.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple

MOST_BUCKETS = 10_000

Urgency = Literal["due", "live"]


class Pace(NamedTuple):
    """`per_minute` calls in the long run, `burst` at once, of which live updates leave `reserve` untouched."""

    per_minute: float
    burst: int
    reserve: int = 0
    by_channel: bool = False


TIER_3 = Pace(50, 50, reserve=10)
PACES = {
    "chat.postMessage": Pace(60, 4, reserve=3, by_channel=True),
    "chat.startStream": Pace(20, 20),
    "chat.stopStream": Pace(20, 20, reserve=10),
    "chat.appendStream": Pace(100, 100),
    "chat.postEphemeral": Pace(100, 20),
    "reactions.remove": Pace(20, 20),
    "assistant.threads.setStatus": Pace(300, 60),
    "files.completeUploadExternal": Pace(60, 20),
}


class _Level(NamedTuple):
    tokens: float
    since: float
    closed_until: float = 0.0


class Budget:
    """One process's share of Slack's patience. `now` is in seconds on any clock that only goes forward."""

    def __init__(self) -> None:
        self._levels: OrderedDict[tuple[str, str], _Level] = OrderedDict()

    def take(self, method: str, team: str, channel: str, now: float, urgency: Urgency = "due") -> float:
        """Take one call's worth and return 0, or return after how many seconds to ask again."""
        pace = PACES.get(method, TIER_3)
        key, level = self._level(pace, method, team, channel, now)
        wanted = 1 + (pace.reserve if urgency == "live" else 0)
        if now < level.closed_until:
            return level.closed_until - now
        if level.tokens < wanted:
            return (wanted - level.tokens) * 60 / pace.per_minute
        self._keep(key, level._replace(tokens=level.tokens - 1))
        return 0.0

    def close(self, method: str, team: str, channel: str, now: float, retry_after: float) -> None:
        """Slack said when to come back: until then nothing is left, and one call is allowed afterwards."""
        pace = PACES.get(method, TIER_3)
        key, _ = self._level(pace, method, team, channel, now)
        self._keep(key, _Level(1.0, now + retry_after, now + retry_after))

    def _level(
        self, pace: Pace, method: str, team: str, channel: str, now: float
    ) -> tuple[tuple[str, str], _Level]:
        key = (method, f"{team}.{channel}" if pace.by_channel else team)
        level = self._levels.get(key) or _Level(float(pace.burst), now)
        elapsed = max(0.0, now - level.since)
        tokens = min(float(pace.burst), level.tokens + elapsed * pace.per_minute / 60)
        return key, _Level(tokens, max(now, level.since), level.closed_until)

    def _keep(self, key: tuple[str, str], level: _Level) -> None:
        self._levels[key] = level
        self._levels.move_to_end(key)
        if len(self._levels) > MOST_BUCKETS:
            self._levels.popitem(last=False)
