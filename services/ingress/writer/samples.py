"""What workers last said of what they use: for whoever presses Details."""

from collections import OrderedDict
from datetime import datetime

import msgspec

from schemas.base import now
from schemas.keys import SessionKey
from schemas.live import ResourceSample

MOST_SESSIONS = 5_000


class Sampled(msgspec.Struct, frozen=True):
    """A sample, and when it came."""

    sample: ResourceSample
    at: datetime


class Samples:
    """The last sample of each session, of every session whoever owns its thread; the longest silent go first."""

    def __init__(self) -> None:
        self._last: OrderedDict[SessionKey, Sampled] = OrderedDict()

    def note(self, key: SessionKey, sample: ResourceSample) -> None:
        """Keep a sample."""
        self._last[key] = Sampled(sample, now())
        self._last.move_to_end(key)
        if len(self._last) > MOST_SESSIONS:
            self._last.popitem(last=False)

    def last(self, key: SessionKey) -> Sampled | None:
        """Return the last sample of a session, None if none came."""
        return self._last.get(key)
