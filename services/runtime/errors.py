"""Errors as instructions: what a handler raises tells the bus what to do with the message."""


class Retry(Exception):
    """Deliver the message again after `delay` seconds; what it needs is away for now."""

    def __init__(self, reason: str, delay: float = 1.0) -> None:
        super().__init__(reason)
        self.delay = delay


class Reject(Exception):
    """The message can never be processed: it goes to DEADLETTER with this reason, and blocks nobody."""


class TooLarge(Reject):
    """A message of ours is larger than the broker takes: nothing was stored, and no later try can store it."""


class Unavailable(Exception):
    """The broker did not answer before the deadline; whether it stored anything is unknown."""


class Closed(Unavailable):
    """The connection is closed for good: no waiting helps."""


class Conflict(Exception):
    """The expected sequence is not the last one: somebody else wrote before ours could be stored, or after it was.

    `last` is what the last sequence is at least by the broker's word, 0 where it did not tell.
    """

    def __init__(self, reason: str, last: int = 0) -> None:
        super().__init__(reason)
        self.last = last


class StreamFull(Exception):
    """The stream is at its limit and refuses new messages; nothing was stored."""


# The broker takes nothing now, and may at another time.
NOT_NOW = (Unavailable, StreamFull)


class SettingsError(Exception):
    """The settings cannot be used; the message names every problem."""
