"""How much text a message takes, and how often a method may be called. Sources: Slack's method and rate-limit pages."""

import math
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from services.local.slack.errors import SlackError
from services.local.slack.model import Json

POSTED_TEXT = 40_000
UPDATED_TEXT = 4_000
MARKDOWN_TEXT = 12_000
METADATA_BYTES = 8_192
LOADING_MESSAGES = 10
FILES_PER_MESSAGE = 10


def check_markdown(text: str | None) -> None:
    """Raise `msg_too_long` for more Markdown than one call may carry."""
    if text is not None and len(text) > MARKDOWN_TEXT:
        raise SlackError("msg_too_long")


def check_metadata(metadata: Json | None) -> None:
    """Raise `invalid_metadata_format` or `metadata_too_large`."""
    if metadata is None:
        return
    if not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), dict):
        raise SlackError("invalid_metadata_format")
    if len(msgspec.json.encode(metadata)) > METADATA_BYTES:
        raise SlackError("metadata_too_large")


class Pace(NamedTuple):
    """How often: `per_minute` calls in the long run, `burst` at once. `by_channel` counts each channel by itself."""

    per_minute: float
    burst: int
    by_channel: bool = False


# A tier's number is what Slack promises at least; its "1+" of tier 1 tolerates the bursts of a reconnecting client.
TIER_1 = Pace(1, 10)
TIER_2 = Pace(20, 20)
TIER_3 = Pace(50, 50)
TIER_4 = Pace(100, 100)
SPECIAL = Pace(600, 600)
ONE_PER_SECOND_AND_CHANNEL = Pace(60, 5, by_channel=True)

MOST_BUCKETS = 10_000


class Buckets:
    """Token buckets, one for each method, or for each method and channel; the longest unused go first."""

    def __init__(self) -> None:
        self._levels: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, method: str, pace: Pace, channel: str, now: float) -> int:
        """Take one call's worth: 0 if there was one, else the whole seconds until there is."""
        key = (method, channel if pace.by_channel else "")
        level, since = self._levels.pop(key, (float(pace.burst), now))
        level = min(pace.burst, level + (now - since) * pace.per_minute / 60)
        allowed = level >= 1
        self._levels[key] = (level - 1 if allowed else level, now)
        if len(self._levels) > MOST_BUCKETS:
            self._levels.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - level) * 60 / pace.per_minute))
