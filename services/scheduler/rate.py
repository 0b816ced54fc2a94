"""The limit on turns per person: exact, over a sliding window. Pure."""

from datetime import datetime, timedelta

from schemas.buckets import RateStart, RateWindow


def count(
    window: RateWindow, turn: str, at: datetime, limit: int, length: timedelta
) -> tuple[RateWindow, datetime | None]:
    """Return the window with `turn` counted at `at`, or as it is and the time when the next slot is free.

    A turn that is counted already is not counted again.
    """
    recent = [start for start in window.starts if start.at > at - length]
    if any(start.turn == turn for start in recent):
        return window, None
    if len(recent) >= limit:
        return window, recent[-limit].at + length
    starts = sorted([*recent, RateStart(turn=turn, at=at)], key=lambda start: start.at)
    return RateWindow(starts=tuple(starts)), None


def give_back(window: RateWindow, turn: str) -> RateWindow:
    """Return the window without `turn`."""
    return RateWindow(starts=tuple(start for start in window.starts if start.turn != turn))
