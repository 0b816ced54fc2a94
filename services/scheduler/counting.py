"""Counting what sessions come to: once it is stored, since a try that another replica was faster with is no fact."""

from schemas.buckets import Turns
from services.scheduler.metrics import DEATHS, REFUSED_TURNS


def count(before: Turns, after: Turns) -> None:
    """Count what `after` tells, the memory that was stored in the place of `before`."""
    turn, known = after.open, before.open
    if turn is None:
        return
    if known is None or known.turn != turn.turn:
        REFUSED_TURNS.inc(bool(turn.refusal))
    elif turn.lost > known.lost:
        DEATHS.inc(turn.attempt - known.attempt)
