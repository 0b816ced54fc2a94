"""Slack's timestamps: as a time, and whether they can belong to something that comes now."""

from datetime import UTC, datetime

from schemas.keys import ts_token

# The log keeps what it has at least so long, so what is younger is stored once; what is older might be there already.
OLDEST = 24 * 3600.0
# What comes from further ahead than clocks differ is no time.
NEWEST = 300.0


def untimely(ts: str, now: float) -> str:
    """Return why Slack's `ts` is no time for an event that comes now, empty when it is. Raises `InvalidKey`."""
    ts_token(ts)
    age = now - float(ts)
    if age > OLDEST:
        return "too_old"
    return "from_the_future" if age < -NEWEST else ""


def at(ts: str) -> datetime:
    """Return Slack's `ts` as a time."""
    return datetime.fromtimestamp(float(ts), UTC)
