"""How many workers there may be, and who waits for one. Pure."""

import msgspec


class Headcount(msgspec.Struct, frozen=True, kw_only=True):
    """Workers by what they do: `busy` hold a lease, `starting` are turns that wait for one of the `spare`.

    `leaving` have given their lease back and still run. `started_here` of the starting turns are this replica's to find a
    worker for: its own, or all of them where replicas share the workers.
    """

    busy: int = 0
    starting: int = 0
    started_here: int = 0
    spare: int = 0
    leaving: int = 0


def has_room(count: Headcount, most: int) -> bool:
    """Tell whether one more turn may start: one of the spare takes it, or one more worker has room."""
    if count.starting < count.spare:
        return count.busy + count.starting < most
    return count.busy + count.leaving + max(count.spare, count.starting) < most


def to_launch(count: Headcount, most: int, warm: int) -> int:
    """Return how many workers to launch so that every start finds one and `warm` more wait."""
    missing = count.started_here + warm - count.spare
    return max(0, min(missing, most - count.busy - count.spare - count.leaving))


def surplus(count: Headcount, warm: int) -> int:
    """Return how many wait beyond those that a start or a warm place needs."""
    return max(0, count.spare - count.starting - warm)


def waiting_text(place: int) -> str:
    """Return what the thread shows for a turn at `place` (1 is next) in the line for a worker."""
    line = "next in line" if place == 1 else f"{place}{_ordinal(place)} in line"
    return f"is waiting for a free worker ({line})"


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
