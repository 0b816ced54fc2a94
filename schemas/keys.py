"""Session keys and the other tokens that become parts of subjects, buckets and object names."""

import re
from typing import Self

import msgspec

_TOKEN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SLACK_TS = re.compile(r"\d{1,16}\.\d{1,12}", re.ASCII)


class InvalidKey(ValueError):
    """A text that is no token or no session key; nothing was done with it."""


def token(text: str) -> str:
    """Return `text` when it is safe as one part of a subject, a label and an object name; else raise `InvalidKey`."""
    if not _TOKEN.fullmatch(text):
        raise InvalidKey(f"{text[:80]!r} is not a name of 1 to 63 letters, digits, '-' and '_'")
    return text


def ts_token(ts: str) -> str:
    """Return Slack's `ts` as a token: `1712345678.123456` becomes `1712345678-123456`. Raises `InvalidKey`."""
    if not _SLACK_TS.fullmatch(ts):
        raise InvalidKey(f"{ts[:80]!r} is not a Slack timestamp")
    return ts.replace(".", "-")


def ts_of(text: str) -> str:
    """Return Slack's `ts` that `ts_token` made the token `text` of."""
    return text.replace("-", ".")


class SessionKey(msgspec.Struct, frozen=True, order=True):
    """One session: one Slack thread. Every instance is safe by construction."""

    team: str
    channel: str
    thread: str

    def __post_init__(self) -> None:
        """Refuse anything but three tokens."""
        for part in (self.team, self.channel, self.thread):
            token(part)

    @classmethod
    def of_thread(cls, team: str, channel: str, thread_ts: str) -> Self:
        """Return the key of Slack's thread `thread_ts`. Raises `InvalidKey`."""
        return cls(team, channel, ts_token(thread_ts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key written as `<team>.<channel>.<thread>`. Raises `InvalidKey`."""
        parts = text.split(".")
        if len(parts) != 3:
            raise InvalidKey(f"{text[:200]!r} is not a session key <team>.<channel>.<thread>")
        return cls(*parts)

    @property
    def thread_ts(self) -> str:
        """Slack's own timestamp of the thread."""
        return ts_of(self.thread)

    def __str__(self) -> str:
        """Return the key as it stands in subjects."""
        return f"{self.team}.{self.channel}.{self.thread}"
