"""The memory of one session: a fold over its log, and what the scheduler decided on it. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from schemas.base import Message, Unknown
from schemas.buckets import OpenTurn, Turns, Waiting
from schemas.ends import TurnEnd
from schemas.inputs import Close, Control, Said, Stop, Withdrawn
from services.scheduler.settings import SchedulerSettings


def fold(memory: Turns, sequence: int, message: Message | Unknown, at: datetime, *, attended: bool) -> Turns:
    """Return `memory` after `message`, the next one in the session's log.

    `at` is when it is heard; `attended` tells whether a worker holds the session.
    """
    stops = memory.stops
    for each in memory.waiting:  # a replica of an older version keeps no `stops`
        stops = stops.spoken(each.at)
    memory = replace(memory, stops=stops)
    match message:
        case Said():
            waiting = Waiting(sequence=sequence, id=message.id, user=message.user, at=message.at)
            memory = replace(memory, waiting=(*memory.waiting, waiting), closed_at=None)
        case Withdrawn():
            memory = _withdrawn(memory, message, sequence, at)
        case Stop() | Close():
            memory = _stopped(memory, sequence, message, at, attended=attended)
        case TurnEnd():
            memory = _ended(memory, message)
    pauses = stops.pauses(message)
    paused = memory.paused if pauses is None else pauses and not memory.idle
    untold = memory.untold_since if memory.paused else sequence
    if not paused or isinstance(message, TurnEnd):  # whoever shows an end shows what waits behind it
        untold = 0
    return replace(memory, heard=sequence, paused=paused, untold_since=untold, stops=stops.after(message))


def _withdrawn(memory: Turns, message: Withdrawn, sequence: int, at: datetime) -> Turns:
    gone = (message.of, message.user.id)
    turn = memory.open
    if turn and (turn.id, turn.user.id) == gone and not turn.lease:
        return replace(memory, open=replace(turn, stop=sequence, stopped_at=at))
    return replace(memory, waiting=tuple(each for each in memory.waiting if (each.id, each.user.id) != gone))


def _stopped(memory: Turns, sequence: int, control: Control, at: datetime, *, attended: bool) -> Turns:
    if isinstance(control, Close) and memory.stops.is_last_word(control.at):
        memory = replace(memory, closed_at=at)
    if memory.stops.is_settled(control):
        return memory
    if memory.open is None and memory.waiting and not memory.paused and not attended:
        if not control.may_mean(memory.waiting[0].at):
            return memory
        # It was about to open a turn, and is what the person means; a holder lets it wait instead.
        memory = opened(memory, at, at)
    turn = memory.open
    if turn is None or (turn.input_at and not control.may_mean(turn.input_at)):
        return memory
    stopped = replace(
        turn,
        stop=turn.stop or sequence,
        stopped_at=turn.stopped_at or at,
        pressed_at=max(control.at, turn.pressed_at or control.at),
    )
    return replace(memory, open=stopped)


def _ended(memory: Turns, end: TurnEnd) -> Turns:
    taken = {end.turn, *end.inputs}
    waiting = tuple(each for each in memory.waiting if each.sequence not in taken)
    still_open = memory.open if memory.open and memory.open.turn != end.turn else None
    return replace(memory, waiting=waiting, open=still_open)


def opened(
    memory: Turns, at: datetime, deadline: datetime, *, refusal: str = "", retry_at: datetime | None = None
) -> Turns:
    """Return `memory` with its first waiting input opening a turn."""
    first, *rest = memory.waiting
    turn = OpenTurn(
        turn=first.sequence,
        id=first.id,
        user=first.user,
        input_at=first.at,
        opened_at=at,
        opened_after=memory.heard,
        deadline=deadline,
        refusal=refusal,
        retry_at=retry_at,
    )
    return replace(memory, waiting=tuple(rest), open=turn)


def starting(turn: OpenTurn, at: datetime, rules: SchedulerSettings) -> OpenTurn:
    """Return `turn` with one more start under way. Its deadline runs from the first."""
    deadline = turn.deadline if turn.begun else at + timedelta(seconds=rules.turn_seconds)
    return replace(turn, start=turn.start + 1, starting_until=at + rules.launch, deadline=deadline)


def held(turn: OpenTurn, token: int, at: datetime) -> OpenTurn:
    """Return `turn` running under the lease `token`."""
    return replace(turn, lease=token, starting_until=None, started_at=at)


def lost(turn: OpenTurn, token: int, *, death: bool, why: str = "") -> OpenTurn:
    """Return `turn` without the lease `token`; a death uses up an attempt, a hand-over does not. `why` is a clause."""
    trouble = f"The worker was lost: {why}." if death and why else ""
    return replace(
        turn, lease=0, lost=token, starting_until=None, attempt=turn.attempt + death, trouble=trouble
    )


def unclaimed(turn: OpenTurn, *, attempted: bool, why: str = "") -> OpenTurn:
    """Return `turn` after a start that no worker took in time; an attempt, if there was room for a worker."""
    trouble = f"No worker came in time: {why}." if why else ""
    return replace(turn, starting_until=None, attempt=turn.attempt + attempted, trouble=trouble)
