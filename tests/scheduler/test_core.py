"""Decisions without a broker: the memory as a fold, and what follows from it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.base import Message, Unknown, now
from schemas.buckets import Turns
from schemas.ends import TurnEnd
from schemas.events import Claimed, CommitPushed, Event, HandedOver, InputTaken, TextBlock, TurnStarted
from schemas.inputs import Close, Continued, Edited, Said, Stop, Withdrawn
from schemas.people import Person
from schemas.stops import Stops
from schemas.work import Assignment
from services.scheduler import memory as transitions
from services.scheduler.core import (
    LONGEST_ENDING,
    MAX_STARTS,
    Departed,
    End,
    Evict,
    Held,
    Lost,
    Note,
    OpenNext,
    Publish,
    Release,
    Rest,
    Start,
    Tell,
    Unclaimed,
    View,
    decide,
)
from services.scheduler.known import known_of
from services.scheduler.memory import fold, opened
from services.scheduler.settings import SchedulerSettings

AT = datetime(2026, 1, 1, tzinfo=UTC)
WHO, OTHER = Person(id="U1"), Person(id="U2")
RULES = SchedulerSettings()
SECOND = timedelta(seconds=1)


def held(token: int = 7, holder: str = "w-1", *, ours: bool = False) -> Held:
    return Held(token=token, holder=holder, revision=token, since=AT, ours=ours, seen=AT)


def after(*messages: Message | Unknown, attended: bool = False) -> Turns:
    memory = Turns()
    for sequence, message in enumerate(messages, start=1):
        memory = fold(memory, sequence, message, AT, attended=attended)
    return memory


def said(number: int) -> Said:
    return Said(id=f"m{number}", user=WHO, text="x")


def cancelled(turn: int) -> TurnEnd:
    return TurnEnd(turn=turn, outcome="cancelled", inputs=(turn,), user=WHO, pressed_at=now())


def open_turn(**changes) -> Turns:
    memory = transitions.opened(after(said(1)), AT, AT + timedelta(hours=1))
    assert memory.open
    return replace(memory, open=replace(memory.open, **changes))


def begun(turn: int, at: datetime = AT) -> TurnStarted:
    return TurnStarted(
        turn=turn, attempt=1, worker="w", agent="claude", resumed=False, warm=True, branch="b", at=at
    )


def action(memory: Turns, at: datetime = AT, **view):
    return decide(memory, View(now=at, **view), RULES)


def test_an_input_opens_a_turn_unless_a_holder_will_ask() -> None:
    memory = after(said(1))
    assert isinstance(action(memory), OpenNext)
    assert action(memory, held=held()) == Rest()


def test_a_schedulers_lease_is_looked_at_again_soon_since_it_may_go_unheard() -> None:
    named = held(8, "scheduler-x", ours=True)
    assert action(after(said(1)), held=named) == Rest(AT + SECOND)
    assert action(open_turn(start=1, attempt=4), held=named) == Rest(AT + SECOND)


def test_a_deletion_by_somebody_else_deletes_nothing() -> None:
    waits = after(said(1), said(2))
    kept = fold(waits, 3, Withdrawn(id="d", user=OTHER, of="m2"), AT, attended=False)
    assert [each.sequence for each in kept.waiting] == [1, 2]
    gone = fold(waits, 3, Withdrawn(id="d", user=WHO, of="m2"), AT, attended=False)
    assert [each.sequence for each in gone.waiting] == [1]


def test_a_stop_of_nothing_pauses_nothing() -> None:
    assert not after(Stop(user=WHO)).paused
    assert not after(
        said(1), TurnEnd(turn=1, outcome="completed", inputs=(1,), user=WHO), Stop(user=WHO)
    ).paused


def test_a_stop_means_the_input_that_is_about_to_open_a_turn() -> None:
    memory = after(said(1), said(2), Stop(user=WHO))
    assert memory.open
    assert (memory.open.turn, memory.open.stop) == (1, 3)
    decided = action(memory)
    assert isinstance(decided, End)
    assert decided.verdict.outcome == "cancelled"
    ended = fold(memory, 4, cancelled(1), AT, attended=False)
    assert ended.paused
    assert isinstance(action(ended), Rest), "the end tells that another one waits"


def test_with_a_holder_a_stop_between_turns_lets_the_queue_wait() -> None:
    memory = after(said(1), Stop(user=WHO), attended=True)
    assert (memory.open, memory.paused) == (None, True)
    assert not fold(memory, 3, Continued(id="a", user=WHO), AT, attended=True).paused


def test_that_the_queue_waits_is_told_by_the_holder_or_once_it_is_gone() -> None:
    memory = after(said(1), said(2), Stop(user=WHO), Stop(user=WHO), attended=True)
    assert action(memory, held=held()) == Rest()
    assert action(memory) == Tell(3)
    named = held(8, "scheduler-x", ours=True)
    assert action(memory, held=named) == Rest(AT + SECOND), "its going may go unheard"
    assert action(replace(memory, untold_since=0)) == Rest()
    going_on = fold(memory, 5, Continued(id="a", user=WHO), AT, attended=True)
    again = fold(going_on, 6, Stop(user=WHO), AT, attended=True)
    assert action(again) == Tell(6), "another stop lets it wait anew"


def test_a_stop_that_a_worker_obeyed_before_it_was_logged_ends_no_second_turn() -> None:
    stop = Stop(user=WHO, at=now() + SECOND)
    obeyed = TurnEnd(turn=1, outcome="cancelled", inputs=(1,), user=WHO, pressed_at=stop.at)
    memory = after(said(1), said(2), said(3), obeyed)
    assert memory.paused, "what waits at a stop waits on, whether the log has it or not"
    going_on = fold(memory, 5, Continued(id="a", user=WHO), AT, attended=False)
    assert fold(going_on, 6, stop, AT, attended=False) == replace(going_on, heard=6)
    running = opened(going_on, AT, AT)
    assert fold(running, 6, stop, AT, attended=True) == replace(running, heard=6)
    again = fold(running, 6, Stop(user=WHO, at=stop.at + SECOND), AT, attended=True)
    assert again.open
    assert again.open.stop == 6, "another press does"


def test_a_stop_that_met_nothing_keeps_no_other_from_what_it_means() -> None:
    first, second = Stop(user=OTHER, at=AT + 3 * SECOND), Stop(user=WHO, at=AT + 2 * SECOND)
    memory = fold(after(first), 2, replace(said(2), at=AT + SECOND), AT, attended=False)
    stopped = fold(opened(memory, AT, AT), 3, second, AT, attended=True)
    assert stopped.open
    assert (stopped.open.stop, stopped.open.pressed_at) == (3, second.at)


def test_what_a_replica_of_an_older_version_remembered_knows_who_spoke_last() -> None:
    pressed = AT + SECOND
    spoke_later = replace(said(2), at=AT + 2 * SECOND)
    older = replace(opened(after(replace(said(1), at=AT), spoke_later), AT, AT), stops=Stops())
    stopped = fold(older, 3, Stop(user=WHO, at=pressed), AT, attended=True)
    assert stopped.open
    assert (stopped.open.stop, stopped.paused) == (3, False)


def test_the_end_of_a_turn_settles_the_newest_stop_that_meant_it() -> None:
    first, second = Stop(user=WHO, at=now() + SECOND), Stop(user=OTHER, at=now() + 2 * SECOND)
    memory = fold(after(said(1), first), 3, second, AT, attended=True)
    assert memory.open
    assert (memory.open.stop, memory.open.pressed_at) == (2, second.at)


def test_a_close_that_was_obeyed_before_it_was_logged_still_closes() -> None:
    close = Close(user=WHO)
    obeyed = TurnEnd(turn=1, outcome="cancelled", inputs=(1,), user=WHO, pressed_at=close.at)
    assert after(replace(said(1), at=AT), obeyed, close).closed_at == AT
    assert after(obeyed, replace(said(1), at=close.at + SECOND), close).closed_at is None


def test_who_presses_continue_before_the_stopped_turn_has_ended_waits_no_longer() -> None:
    waits = after(said(1), said(2))
    stop = Stop(user=WHO)
    obeyed = TurnEnd(turn=1, outcome="cancelled", inputs=(1,), user=WHO, pressed_at=stop.at)
    going_on = fold(
        fold(waits, 3, stop, AT, attended=True), 4, Continued(id="a", user=WHO), AT, attended=True
    )
    assert not fold(going_on, 5, obeyed, AT, attended=True).paused


def test_who_speaks_after_a_stop_was_pressed_is_not_kept_waiting_by_its_end() -> None:
    obeyed = TurnEnd(turn=1, outcome="cancelled", inputs=(1,), user=WHO, pressed_at=AT)
    later = replace(said(2), at=AT + SECOND)
    assert not after(replace(said(1), at=AT), later, obeyed).paused


def test_a_close_sends_an_idle_holder_away_after_its_grace() -> None:
    memory = after(Close(user=WHO))
    assert action(memory, held=held()) == Rest(AT + SECOND)
    assert action(memory, AT + SECOND, held=held()) == Release(held())
    assert action(memory, AT + SECOND) == Rest()
    assert fold(memory, 9, said(9), AT, attended=False).closed_at is None


def test_a_start_is_published_by_another_replica_when_the_first_one_died() -> None:
    memory = open_turn(start=1, starting_until=AT + timedelta(seconds=60))
    assert action(memory) == Rest(AT + 2 * SECOND)
    assert isinstance(action(memory, AT + 2 * SECOND), Publish)
    assert action(memory, AT + 2 * SECOND, published=True) == Rest(AT + timedelta(seconds=60))
    assert isinstance(action(memory, AT + timedelta(seconds=60), published=True), Unclaimed)


def test_a_new_lease_is_noted_once_and_its_loss_accounted_once() -> None:
    memory = open_turn(start=1, starting_until=AT + timedelta(seconds=60))
    assert isinstance(action(memory, held=held(7)), Note)
    assert memory.open
    running = replace(memory, open=transitions.held(memory.open, 7, AT))
    assert isinstance(action(running, held=held(7)), Rest)
    assert isinstance(action(running), Lost)
    assert running.open
    dead = transitions.lost(running.open, 7, death=True)
    assert (dead.attempt, dead.lease, dead.lost) == (2, 0, 7)
    gone = Departed(held=held(7), how="died")
    assert isinstance(action(replace(running, open=dead), departed=gone), Start)
    assert isinstance(action(replace(running, open=dead), held=held(7)), Rest)


def test_a_lease_that_came_and_went_unnoticed_counts_and_an_older_one_does_not() -> None:
    memory = open_turn(start=1, starting_until=AT + timedelta(seconds=60))
    assert isinstance(action(memory, departed=Departed(held=held(7), how="died")), Lost)
    old = replace(held(5), since=AT - SECOND)
    assert isinstance(action(memory, departed=Departed(held=old, how="released")), Rest)


def test_who_does_not_obey_is_evicted_and_the_turn_ended() -> None:
    memory = open_turn(start=1, lease=7, stop=2, stopped_at=AT)
    assert action(memory, held=held()) == Rest(AT + SECOND)
    assert isinstance(action(memory, AT + SECOND, held=held()), Evict)
    assert isinstance(action(memory, AT + SECOND), End)


def test_a_scheduler_is_left_its_time_and_who_has_only_its_name_no_more() -> None:
    memory = open_turn(start=1, lease=7, stop=2, stopped_at=AT)
    named = held(8, "scheduler-x", ours=True)
    late = AT + SECOND + LONGEST_ENDING
    assert action(memory, AT + 9 * SECOND, held=named) == Rest(AT + 10 * SECOND)
    assert action(memory, late - SECOND / 2, held=named) == Rest(late)
    assert isinstance(action(memory, late, held=named), Evict)
    # One that began just now to end what is long due has its time as well.
    begun = replace(named, seen=late)
    assert isinstance(action(memory, late + LONGEST_ENDING - SECOND, held=begun), Rest)
    assert isinstance(action(memory, late + LONGEST_ENDING, held=begun), Evict)


def test_a_deadline_has_a_grace_for_a_holder_and_does_not_run_in_line() -> None:
    hour = AT + timedelta(hours=1)
    running = open_turn(start=1, lease=7)
    assert action(running, hour, held=held()) == Rest(hour + timedelta(seconds=RULES.deadline_grace))
    decided = action(replace(running, open=replace(running.open, lease=0, lost=7)), hour)  # type: ignore[type-var]
    assert isinstance(decided, End)
    assert decided.verdict.outcome == "timed_out"
    assert isinstance(action(open_turn(), hour), Start)


def test_attempts_and_starts_are_bounded() -> None:
    for changes in ({"attempt": 4}, {"start": MAX_STARTS}):
        decided = action(open_turn(**changes))
        assert isinstance(decided, End)
        assert (decided.verdict.outcome, decided.verdict.ours) == ("failed", True)


def test_what_a_dead_worker_wrote_is_known() -> None:
    known = known_of(
        1,
        [
            begun(1),
            InputTaken(turn=1, sequence=3, id="m3"),
            TextBlock(turn=1, block=0, text="one"),
            TextBlock(turn=9, block=0, text="of another turn"),
            CommitPushed(turn=1, branch="b", sha="1", title="t"),
            TextBlock(turn=1, block=1, text="two"),
            Unknown("new"),
        ],
    )
    assert (known.inputs, known.text, known.agent, known.branch) == ((1, 3), "one\n\ntwo", "claude", "b")
    assert len(known.commits) == 1


def test_a_turn_is_complete_where_no_agent_was_cut_short() -> None:
    claimed, handed_over = Claimed(turn=1, lease=7, holder="w-1"), HandedOver(turn=1, reason="the pod ends")
    stories: dict[tuple[Event, ...], bool] = {
        (): True,
        (claimed,): True,
        (begun(9),): True,
        (claimed, begun(1), handed_over, claimed): True,
        (claimed, begun(1)): False,
        (claimed, begun(1), handed_over, claimed, begun(1)): False,
        (begun(1), HandedOver(turn=9, reason="another turn's")): False,
    }
    assert {story: known_of(1, story).complete for story in stories} == stories


def test_a_turn_counts_from_its_first_agent_and_costs_what_was_handed_over() -> None:
    known = known_of(
        1,
        [
            begun(9, at=AT - SECOND),
            Claimed(turn=1, lease=7, holder="w-1", at=AT),
            begun(1, at=AT + SECOND),
            HandedOver(turn=1, reason="the pod ends", cost_usd=0.25),
            begun(1, at=AT + 2 * SECOND),
            HandedOver(turn=1, reason="the pod ends", cost_usd=0.75),
            HandedOver(turn=9, reason="the pod ends", cost_usd=9.0),
        ],
    )
    assert (known.began, known.cost_usd) == (AT + SECOND, 0.75)
    assert (known_of(1, []).began, known_of(1, []).cost_usd) == (None, 0.0)


messages = st.one_of(
    st.just("said"),
    st.just("stop"),
    st.just("close"),
    st.just("continue"),
    st.just("delete"),
    st.just("edit"),
)


@given(st.lists(st.tuples(messages, st.integers(1, 12), st.booleans()), max_size=30))
def test_every_input_is_in_one_place_and_the_order_stays(story: list[tuple[str, int, bool]]) -> None:
    memory, inputs, ended = Turns(), set(), set()
    for sequence, (kind, about, attended) in enumerate(story, start=1):
        message: Message = {
            "said": said(sequence),
            "stop": Stop(user=WHO),
            "close": Close(user=WHO),
            "continue": Continued(id="c", user=WHO),
            "delete": Withdrawn(id="d", user=WHO, of=f"m{about}"),
            "edit": Edited(id="e", user=WHO, of=f"m{about}", text="y"),
        }[kind]
        memory = fold(memory, sequence, message, AT, attended=attended)
        inputs |= {sequence} if kind == "said" else set()
        if isinstance(action(memory), OpenNext):
            memory = transitions.opened(memory, AT, AT)
        elif memory.open and about % 3 == 0:
            end = TurnEnd(turn=memory.open.turn, outcome="completed", inputs=(memory.open.turn,), user=WHO)
            ended.add(memory.open.turn)
            memory = fold(memory, sequence, end, AT, attended=attended)
        waiting = [each.sequence for each in memory.waiting]
        assert waiting == sorted(set(waiting))
        assert set(waiting) <= inputs - ended
        assert memory.open is None or memory.open.turn in inputs - ended - set(waiting)
        assert memory.heard == sequence
        assert Turns.decode(memory.encode()) == memory


def test_the_assignments_id_names_key_turn_and_attempt() -> None:
    assignment = Assignment(session="T.C.1-1", turn=4, attempt=2, pool="p", user=WHO, expires_at=AT)
    assert assignment.id == "T.C.1-1.4.2"
