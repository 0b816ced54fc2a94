"""The checker finds what is wrong in a history, and nothing in one where nothing is."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.checker import PROMISES, check
from tests.chaos.evidence import Acknowledged, Archived, Entry, Evidence, Rules

SESSION = "T1.C1.1-0"
FIRST, SECOND = "A" * 12, "B" * 12
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ADA = {"id": "U1"}


def entry(sequence, leaf, kind, writer="", /, **body) -> Entry:
    id_ = f"{writer}{sequence:010}"
    at = BEGAN + timedelta(seconds=sequence)
    return Entry(sequence, SESSION, leaf, id_, at, {"kind": kind, "at": at.isoformat(), **body})


def end(sequence, turn, inputs, writer=FIRST, outcome="completed", **more) -> Entry:
    body = {"user": ADA, "text": f"words of {turn}", "duration_ms": 5, "reason": "", "ours": False} | more
    return entry(
        sequence, f"end.{turn}", "turn-end", writer, turn=turn, inputs=inputs, outcome=outcome, **body
    )


def final(turn) -> dict:
    payload = {"event_type": "threadmill_turn", "event_payload": {"turn": turn}}
    return {"ts": f"1.{turn:02}", "text": f"words of {turn}", "metadata": payload}


def history() -> Evidence:
    """One session: a turn with a message on the way, a death, a second turn by another worker that is stopped."""
    log = [
        entry(1, "in.1-0", "said", id="1-0", user=ADA),
        entry(2, "out", "claimed", FIRST, lease=1, holder="w-1"),
        entry(3, "out", "turn-started", FIRST, turn=1, branch="b", resumed=False),
        entry(4, "in.2-0", "said", id="2-0", user=ADA),
        entry(5, "out", "input-taken", FIRST, turn=1, sequence=4, id="2-0"),
        entry(6, "out", "commit-pushed", FIRST, turn=1, branch="b", sha="abc"),
        entry(7, "out", "turn-finished", FIRST, turn=1),
        end(8, 1, [1, 4]),
        entry(9, "in.3-0", "said", id="3-0", user=ADA),
        entry(10, "out", "claimed", SECOND, lease=9, holder="w-2"),
        entry(11, "out", "turn-started", SECOND, turn=9, branch="b", resumed=True),
        entry(12, "control", "stop"),
        entry(13, "out", "turn-finished", SECOND, turn=9),
        end(14, 9, [9], SECOND, "cancelled"),
        entry(15, "in.4-0", "said", id="4-0", user=ADA),
        entry(16, "out", "turn-started", SECOND, turn=15, branch="b", resumed=True),
        end(17, 15, [15], SECOND),
    ]
    return Evidence(
        rules=Rules(turns=3, window=60, skew=0),
        log=log,
        archive=[Archived(SESSION, "1", each.sequence, each.body) for each in log],
        acknowledged=[Acknowledged("C1", "1.0", "1.0"), Acknowledged("C1", "2.0", "1.0")],
        threads={SESSION: {"messages": [final(1), final(9), final(15)]}},
        reachable={"b": {"abc"}},
        stops={SESSION: 1},
        probed={SESSION: "4-0"},
        counted={"U1": {f"{SESSION}.{turn}": BEGAN + timedelta(seconds=turn) for turn in (1, 9, 15)}},
    )


def found(evidence: Evidence) -> set[str]:
    return {violation.promise for violation in check(evidence)}


def test_a_good_history_is_clean():
    assert check(history()) == []


def lose_an_input(evidence):
    evidence.acknowledged.append(Acknowledged("C1", "7.0", "1.0"))


def double_an_input(evidence):
    evidence.log.append(replace(evidence.log[0], sequence=18))


def take_twice(evidence):
    evidence.log[-1].body["inputs"] = [9, 15]


def forget_an_input(evidence):
    evidence.log[7].body["inputs"] = [1]


def forget_an_end(evidence):
    del evidence.log[-1]


def end_twice(evidence):
    evidence.log.append(replace(evidence.log[-1], sequence=18))


def write_after_the_next_claimed(evidence):
    evidence.log[12] = entry(13, "out", "turn-finished", FIRST, turn=9)


def claim_under_an_older_lease(evidence):
    evidence.log[9].body["lease"] = 0


def take_out_of_order(evidence):
    evidence.log[7].body["inputs"] = [4, 1]


def cancel_what_nobody_stopped(evidence):
    evidence.stops.clear()


def stop_two_turns_at_once(evidence):
    evidence.stops[SESSION] = 2
    for place in (7, 13):
        evidence.log[place].body.update(outcome="cancelled", pressed_at="2026-01-01T00:00:00Z")


def lose_a_commit(evidence):
    evidence.reachable["b"] = {"def"}


def begin_anew(evidence):
    evidence.log[15].body["resumed"] = False


def leave_a_session_behind(evidence):
    evidence.log[16].body["outcome"] = "failed"


def lose_a_record(evidence):
    del evidence.archive[4]


def archive_twice(evidence):
    evidence.archive.append(evidence.archive[-1])


def archive_out_of_order(evidence):
    evidence.archive.reverse()


def archive_something_else(evidence):
    evidence.archive[0] = replace(evidence.archive[0], body={})


def show_twice(evidence):
    evidence.threads[SESSION]["messages"].append(final(1))


def show_nothing(evidence):
    del evidence.threads[SESSION]["messages"][0]


def play_again(evidence):
    payload = {"event_type": "threadmill_live", "event_payload": {"turn": 1}}
    evidence.threads[SESSION]["messages"].append({"ts": "2.0", "text": "words", "metadata": payload})


def show_other_words(evidence):
    evidence.threads[SESSION]["messages"][0]["text"] = "words"


def spin_for_ever(evidence):
    evidence.threads[SESSION]["messages"].append({"ts": "9", "streaming_state": "in_progress"})


def start_too_many(evidence):
    evidence.rules = replace(evidence.rules, turns=1)


def refuse_what_was_free(evidence):
    evidence.log[13].body["outcome"] = "rejected"


def start_for_nothing(evidence):
    del evidence.counted["U1"][f"{SESSION}.9"]


def leave_something_running(evidence):
    evidence.left.append("4711 agent")


def hold_a_lease(evidence):
    evidence.leases.append(SESSION)


def bury_a_message(evidence):
    evidence.dead_letters.append("dead.scheduler")


def do_nothing(evidence):
    evidence.log.clear()


@pytest.mark.parametrize(
    ("mistake", "promise"),
    [
        (lose_an_input, "accepted means stored"),
        (double_an_input, "once"),
        (take_twice, "every input has one fate"),
        (forget_an_input, "every input has one fate"),
        (forget_an_end, "every turn ends exactly once"),
        (end_twice, "every turn ends exactly once"),
        (write_after_the_next_claimed, "one writer"),
        (claim_under_an_older_lease, "one writer"),
        (take_out_of_order, "order"),
        (cancel_what_nobody_stopped, "stop"),
        (stop_two_turns_at_once, "stop"),
        (lose_a_commit, "resume"),
        (begin_anew, "resume"),
        (leave_a_session_behind, "resume"),
        (lose_a_record, "nothing is lost in the archive"),
        (archive_twice, "nothing is lost in the archive"),
        (archive_out_of_order, "nothing is lost in the archive"),
        (archive_something_else, "nothing is lost in the archive"),
        (show_twice, "shown once"),
        (show_nothing, "shown once"),
        (play_again, "shown once"),
        (show_other_words, "shown once"),
        (spin_for_ever, "shown once"),
        (start_too_many, "quotas are exact"),
        (refuse_what_was_free, "quotas are exact"),
        (start_for_nothing, "quotas are exact"),
        (leave_something_running, "nothing is left"),
        (hold_a_lease, "nothing is left"),
        (bury_a_message, "nothing is left"),
        (do_nothing, "work was done"),
    ],
)
def test_each_mistake_is_found(mistake, promise):
    evidence = deepcopy(history())
    mistake(evidence)
    assert promise in found(evidence)


@pytest.mark.parametrize(("pressed", "may_wait"), [(10, False), (13, True)])
def test_what_was_said_after_a_stop_was_pressed_does_not_wait_for_continue(pressed, may_wait):
    evidence = deepcopy(history())
    evidence.log[11] = entry(12, "in.5-0", "said", id="5-0", user=ADA)
    evidence.log[13].body["pressed_at"] = (BEGAN + timedelta(seconds=pressed)).isoformat()
    del evidence.log[14:]
    assert ("every input has one fate" not in found(evidence)) is may_wait


def test_a_refusal_that_is_written_late_is_judged_by_the_window_that_was_full():
    evidence = deepcopy(history())
    late = evidence.log[13]
    evidence.log[13] = replace(late, time=late.time + timedelta(seconds=100))
    evidence.log[13].body.update(outcome="rejected", retry_at=(BEGAN + timedelta(seconds=61)).isoformat())
    assert "quotas are exact" not in found(evidence)
    evidence.log[13].body["retry_at"] = (BEGAN + timedelta(seconds=90)).isoformat()
    assert "quotas are exact" in found(evidence)


def test_every_promise_has_a_mistake_above():
    (mistakes,) = (mark for mark in test_each_mistake_is_found.pytestmark)
    assert {promise for _, promise in mistakes.args[1]} == set(PROMISES)
