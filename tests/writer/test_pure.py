"""The pure parts: the view of a log, the outbox of a stream, the ledger of a thread, blocks that Slack takes."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.base import Unknown, now
from schemas.ends import TurnEnd
from schemas.inputs import Continued, Said, Stop, Withdrawn
from schemas.keys import SessionKey
from schemas.live import Status, TextDelta
from schemas.people import Person
from services.ingress.writer import acts, blocks, closing, questions
from services.ingress.writer.holds import Holds
from services.ingress.writer.ledger import Ledger, Mark, metadata
from services.ingress.writer.outbox import Outbox
from services.ingress.writer.view import View, message_ts
from services.local.slack.blocks import check_blocks
from services.local.slack.limits import check_markdown

KEY = SessionKey("T1", "C1", "1-1")
ADA = Person(id="U1")
ANY = st.text(max_size=5_000)
WORDS = st.text(alphabet="ab <>&*`\n|", max_size=300)


def opened() -> View:
    view = View(KEY)
    view.fold(1, Said(id="1-1", user=ADA, text="x"))
    view.fold(2, events.Claimed(turn=1, lease=5, holder="w"))
    view.fold(3, events.TurnStarted(turn=1, attempt=1, worker="w", agent="claude", resumed=False, warm=True))
    return view


def test_unknown_kinds_and_foreign_turns_change_nothing() -> None:
    view = opened()
    assert view.fold(4, Unknown("from-the-future")) == []
    assert view.fold(5, events.TextBlock(turn=99, block=0, text="x")) == []
    assert view.fold(6, events.ToolFinished(turn=1, call="never began", ok=True, duration_ms=1)) == []


def test_a_turn_ends_once_and_stays_ended() -> None:
    view = opened()
    end = TurnEnd(turn=1, outcome="completed", inputs=(1,), user=ADA, text="done")
    assert [type(act) for act in view.fold(4, end)] == [acts.React, acts.Finish]
    assert view.fold(5, end) == []
    assert view.hear(TextDelta(lease=5, turn=1, block=0, offset=0, text="late")) == []
    assert view.idle
    assert (view.status, view.session_status) == ("", "active")


def test_of_what_waits_people_are_told_once_and_only_as_long_as_it_does() -> None:
    view, pressed = opened(), now()
    view.fold(4, Said(id="1-2", user=ADA, text="y", at=pressed))
    stopped = TurnEnd(turn=1, outcome="cancelled", inputs=(1,), user=ADA, pressed_at=pressed)
    _, finish = view.fold(5, stopped)
    assert finish.queued == 1
    assert view.fold(6, events.Paused()) == [], "the end told"
    view.fold(7, Continued(id="a", user=ADA, at=pressed))
    assert view.fold(8, events.Paused()) == [], "it goes on"
    view.fold(9, Stop(user=ADA, at=pressed + timedelta(seconds=1)))
    assert view.fold(10, events.Paused()) == [acts.Wait(turn=1, queued=1)]
    assert view.fold(11, events.Paused()) == []


def test_of_a_turn_that_waits_the_scheduler_speaks_whoever_had_the_one_before() -> None:
    view = opened()
    view.fold(4, TurnEnd(turn=1, outcome="completed", inputs=(1,), user=ADA, text="done"))
    view.fold(5, Said(id="1-2", user=ADA, text="y"))
    assert view.hear(Status(lease=0, turn=5, text="is waiting for a free worker (next in line)")) == []
    assert view.status == "is waiting for a free worker (next in line)"
    view.hear(Status(lease=4, turn=5, text="is of an older lease"))
    assert view.status == "is waiting for a free worker (next in line)"


def test_of_a_turn_that_was_lost_the_scheduler_speaks_until_the_next_worker_does() -> None:
    view = opened()
    view.hear(Status(lease=0, turn=1, text="is late"))
    assert view.status == "is working..."
    view.hear(Status(lease=5, turn=1, text="is starting a worker..."))
    assert view.status == "is starting a worker..."
    view.fold(4, events.Claimed(turn=1, lease=6, holder="w2"))
    view.hear(Status(lease=6, turn=1, text="is preparing the workspace..."))
    view.hear(Status(lease=5, turn=1, text="is late again"))
    assert view.status == "is preparing the workspace..."


def test_what_is_not_finished_begins_at_the_oldest_message_without_an_end() -> None:
    view = View(KEY)
    assert view.unfinished_since == ""
    view.fold(1, Said(id="10-5", user=ADA, text="x"))
    view.fold(2, Said(id="11-5", user=ADA, text="y"))
    assert view.unfinished_since == "10.5"
    view.fold(3, events.TurnStarted(turn=1, attempt=1, worker="w", agent="claude", resumed=False, warm=True))
    view.fold(4, Said(id="12-5", user=ADA, text="z"))
    assert view.unfinished_since == "10.5"
    view.fold(5, TurnEnd(turn=1, outcome="completed", inputs=(1,), user=ADA))
    assert view.unfinished_since == "11.5"
    view.fold(6, TurnEnd(turn=2, outcome="completed", inputs=(2, 4), user=ADA))
    assert view.unfinished_since == "12.5"
    view.fold(7, Said(id="elsewhere", user=ADA, text="from no message"))
    assert view.unfinished_since == ""


def test_a_new_holder_writes_its_block_anew() -> None:
    view = opened()
    assert view.hear(TextDelta(lease=5, turn=1, block=0, offset=0, text="Half")) == [
        acts.Text(turn=1, text="Half")
    ]
    assert view.fold(4, events.Claimed(turn=1, lease=9, holder="w2", attempt=2)) == [
        acts.Text(turn=1, text="", closed=True)
    ]
    assert view.hear(TextDelta(lease=5, turn=1, block=0, offset=4, text=" dead")) == []
    assert view.fold(5, events.TextBlock(turn=1, block=0, text="Whole.")) == [
        acts.Text(turn=1, text="Whole.", closed=True)
    ]


def test_the_end_tells_what_was_written_when_it_has_no_text_of_its_own() -> None:
    view = opened()
    view.fold(4, events.TextBlock(turn=1, block=0, text="First."))
    view.hear(TextDelta(lease=5, turn=1, block=1, offset=0, text="Secon"))
    (*_, finish) = view.fold(5, TurnEnd(turn=1, outcome="cancelled", inputs=(1,), user=ADA))
    assert isinstance(finish, acts.Finish)
    assert finish.text == "First.\n\nSecon"


def test_a_withdrawn_message_waits_no_more() -> None:
    view = View(KEY)
    view.fold(1, Said(id="1-1", user=ADA, text="x"))
    assert view.session_status == "processing"
    view.fold(2, Withdrawn(id="d-1-1", user=ADA, of="1-1"))
    assert (view.session_status, view.idle) == ("active", True)


def test_inputs_that_are_no_messages_carry_no_sign() -> None:
    assert (message_ts("17-20"), message_ts("a-17-20"), message_ts("cron-7")) == ("17.20", "", "")
    assert View(KEY).fold(1, Said(id="cron-7", user=ADA, text="x")) == []


@given(st.lists(st.tuples(st.booleans(), st.text(alphabet="ab \n", max_size=40)), max_size=30), st.data())
def test_an_outbox_loses_and_doubles_nothing(pieces: list[tuple[bool, str]], data: st.DataObject) -> None:
    outbox, sent = Outbox(), ""
    for closed, text in pieces:
        outbox.text(text, closed=closed)
        taken = outbox.take()
        if data.draw(st.booleans(), label="refused"):
            outbox.put_back(taken)
        else:
            sent += "".join(chunk["text"] for chunk in taken)
    sent += "".join(chunk["text"] for chunk in outbox.take_all())

    assert "".join(sent.split()) == "".join("".join(text for _, text in pieces).split())


def test_a_card_is_overtaken_by_its_newer_self() -> None:
    outbox = Outbox()
    old = blocks.card(acts.Card(id="t", title="Run", status="in_progress"))
    new = blocks.card(acts.Card(id="t", title="Run", status="complete", output="ok"))
    outbox.card(old)
    taken = outbox.take()
    outbox.card(new)
    outbox.put_back(taken)
    assert outbox.take() == [new]


def test_one_call_carries_no_more_than_slack_takes() -> None:
    outbox = Outbox()
    outbox.text("w " * 20_000, closed=True)
    sizes = [sum(len(chunk["text"]) for chunk in outbox.take()) for _ in range(4)]
    assert sizes == [11_500, 11_500, 11_500, 5_500]


def test_a_ledger_knows_its_own_and_no_strangers() -> None:
    mark = Mark("turn", 9)
    mine = {"user": "UBOT", "metadata": metadata(KEY, 7, mark)}
    live = {"user": "UBOT", "metadata": metadata(KEY, 7, Mark("live", 7))}
    foreign = {"user": "UBOT", "metadata": metadata(SessionKey("T1", "C1", "2-2"), 7, mark)}
    ledger = Ledger.read(
        KEY,
        [
            {
                "user": "U1",
                "ts": "1.1",
                "reactions": [{"name": "eyes", "users": ["UBOT"]}, {"name": "x", "users": ["U2"]}],
            },
            mine | {"ts": "2.1"},
            mine | {"ts": "3.1"},
            mine | {"ts": "4.1", "user": "U2"},
            foreign | {"ts": "5.1"},
            live | {"ts": "6.1"},
            live | {"ts": "7.1"},
            {"user": "UBOT", "ts": "8.1", "streaming_state": "in_progress"},
            {"user": "UBOT", "ts": "9.1", "metadata": {"event_type": "other", "event_payload": {}}},
        ],
        "UBOT",
    )
    assert ledger.posted[mark] == ["2.1", "3.1"]
    assert ledger.doubles() == ["3.1"]
    assert [stream.ts for stream in ledger.streams] == ["8.1"]
    assert ledger.reactions == {"1.1": {"eyes"}}


def test_a_piece_is_a_double_of_its_own_turns_final_message_alone() -> None:
    def message(ts: str, mark: Mark, turn: int, text: str, **more: Any) -> dict[str, Any]:
        return {"user": "UBOT", "ts": ts, "metadata": metadata(KEY, turn, mark), "text": text} | more

    ledger = Ledger.read(
        KEY,
        [
            message("1.1", Mark("live", 7), 7, "One  two"),
            message("2.1", Mark("live", 7), 7, "One two", blocks=[{"type": "task_card"}]),
            message("3.1", Mark("live", 8), 8, "One two"),
            message("4.1", Mark("live", 7), 7, "something else"),
            message("5.1", Mark("turn", 9), 7, "One two three"),
        ],
        "UBOT",
    )
    assert ledger.doubles() == ["1.1"]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_the_place_never_passes_what_is_held(order: list[int]) -> None:
    holds = Holds(0)
    releases = {n: holds.hold(n) for n in range(1, 8)}
    for pick in order:
        if pick + 1 in releases:
            releases.pop(pick + 1)()
        assert holds.position == min(releases, default=8) - 1


@given(
    ANY,
    WORDS,
    st.lists(st.text(min_size=1, max_size=100), max_size=40, unique=True),
    st.sampled_from(["permission", "choice", "plan"]),
)
def test_slack_takes_every_question(title: str, detail: str, choices: list[str], about: str) -> None:
    asked = events.QuestionAsked(id="q", about=about, title=title, detail=detail, choices=tuple(choices))  # type: ignore[arg-type]  # one of the words
    check_blocks(questions.question(KEY, asked))
    check_blocks(
        questions.answered(asked, events.QuestionClosed(id="q", by=ADA, choice=title[:50], text=detail))
    )


@given(ANY, WORDS, st.sampled_from(["completed", "failed", "cancelled", "timed_out"]), st.integers(0, 12))
def test_slack_takes_every_end(text: str, reason: str, outcome: str, many: int) -> None:
    commits = tuple(
        events.CommitPushed(branch="b", sha="a" * 40, title=reason, url=f"https://x/{reason}")
        for _ in range(many)
    )
    end = TurnEnd(
        turn=1,
        outcome=outcome,
        inputs=(1,),
        user=ADA,
        reason=reason,
        branch=reason,
        commits=commits,
        cost_usd=0.1,
        duration_ms=many * 100_000,
    )  # type: ignore[arg-type]  # one of the words
    finish = acts.Finish(turn=1, end=end, text=text, notes=(reason,) * many, queued=many)
    check_blocks(closing.footer(KEY, finish))
    check_markdown(closing.lead(finish))
    check_blocks(blocks.notice(text, "error"))
    check_blocks(blocks.controls(KEY))


def test_a_commit_is_a_link_only_where_it_is_a_safe_one() -> None:
    commit = events.CommitPushed(branch="b", sha="0123456789", title="t", url="https://h/c/1")
    assert closing.commit_line(commit) == "<https://h/c/1|0123456>"
    for url in ("", "javascript:x", "https://h/|evil", "https://h/>"):
        assert (
            closing.commit_line(events.CommitPushed(branch="b", sha="0123456789", title="t", url=url))
            == "`0123456`"
        )


def test_times_and_durations_read_well() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert closing.moment(at) == "<!date^1767323046^{date_short_pretty} at {time}|2026-01-02 03:04 UTC>"
    spans = [closing.duration(ms) for ms in (400, 12_300, 61_000, 7_260_000)]
    assert spans == ["0.4 s", "12 s", "1 min 1 s", "2 h 1 min"]
