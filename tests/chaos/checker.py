"""Decides from the evidence, promise by promise, what was broken. Pure; it knows nothing of how the services work."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from tests.chaos.evidence import Entry, Evidence

OURS_ALONE = ("out", "end")


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken, where, and how."""

    promise: str
    session: str
    what: str


def check(evidence: Evidence) -> list[Violation]:
    """Return everything that is wrong."""
    looks = [(evidence, promise, "") for promise in PROMISES]
    if evidence.settled:
        looks += [(evidence.settled, promise, "when all was settled, ") for promise in SETTLED]
    return [
        Violation(promise, session, when + what)
        for seen, promise, when in looks
        for session, what in PROMISES[promise](seen)
    ]


Found = Iterator[tuple[str, str]]


def by_session(evidence: Evidence) -> dict[str, list[Entry]]:
    """Return the log of each session, in order."""
    logs: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in evidence.log:
        logs[entry.session].append(entry)
    return logs


def _said(log: list[Entry]) -> dict[int, Entry]:
    return {entry.sequence: entry for entry in log if entry.kind == "said"}


def _ends(log: list[Entry]) -> list[Entry]:
    return [entry for entry in log if entry.leaf.startswith("end.")]


def _begun(log: list[Entry]) -> set[int]:
    return {entry.body["turn"] for entry in log if entry.kind == "turn-started"}


def stored(evidence: Evidence) -> Found:
    """Whatever Slack was told is taken, is in the log."""
    inputs = {(entry.session, entry.body.get("id")) for entry in evidence.log if entry.leaf.startswith("in.")}
    for each in evidence.acknowledged:
        session = f"T1.{each.channel}.{each.root.replace('.', '-')}"
        if (session, each.ts.replace(".", "-")) not in inputs:
            yield session, f"the message {each.ts} was acknowledged and is not in the log"


def once(evidence: Evidence) -> Found:
    """The same message makes one input."""
    counts = Counter((entry.session, entry.leaf) for entry in evidence.log if entry.leaf.startswith("in."))
    for (session, leaf), count in counts.items():
        if count > 1:
            yield session, f"{leaf} is in the log {count} times"


def one_fate(evidence: Evidence) -> Found:
    """Every input opened a turn, was taken by one, or was withdrawn; exactly one of these."""
    for session, log in by_session(evidence).items():
        fates = Counter(sequence for end in _ends(log) for sequence in end.body["inputs"])
        withdrawn = {entry.body["of"] for entry in log if entry.kind == "withdrawn"}
        paused = _paused(log)
        for sequence, entry in _said(log).items():
            if fates[sequence] > 1:
                yield session, f"the input {sequence} is in {fates[sequence]} ends"
            if not fates[sequence] and entry.body["id"] not in withdrawn and sequence not in paused:
                yield session, f"the input {sequence} has no fate"
        for sequence in fates.keys() - _said(log).keys():
            yield session, f"an end took {sequence}, which is no input"


def _paused(log: list[Entry]) -> set[int]:
    """Return the inputs that wait for Continue: a stop was pressed after them, and nobody has spoken since."""
    waiting: set[int] = set()
    paused: set[int] = set()
    settled = spoken = datetime.min.replace(tzinfo=UTC)
    for entry in log:
        at = datetime.fromisoformat(entry.body.get("at") or entry.time.isoformat())
        if entry.kind in ("said", "continued"):
            paused, spoken = set(), max(spoken, at)
            settled = max(settled, at) if entry.kind == "continued" else settled
        if entry.kind == "said":
            waiting.add(entry.sequence)
        elif entry.leaf == "control" and at > settled and at >= spoken:
            paused = set(waiting)
        elif entry.leaf.startswith("end."):
            waiting -= set(entry.body["inputs"])
            if entry.body.get("pressed_at"):  # the log may never get that stop
                settled = max(settled, pressed := datetime.fromisoformat(entry.body["pressed_at"]))
                paused = set(waiting) if pressed >= spoken else paused
    return paused & waiting


def one_end(evidence: Evidence) -> Found:
    """Every turn that began ends, once, and says what there is to say."""
    for session, log in by_session(evidence).items():
        ends = Counter(end.body["turn"] for end in _ends(log))
        began = _begun(log)
        for turn, count in ends.items():
            if count > 1:
                yield session, f"the turn {turn} ended {count} times"
        for turn in began - ends.keys():
            yield session, f"the turn {turn} began and never ended"
        for end in _ends(log):
            if end.body["outcome"] == "completed" and not (end.body["text"] and end.body["duration_ms"]):
                yield session, f"the end of the turn {end.body['turn']} has no text or duration"


def one_writer(evidence: Evidence) -> Found:
    """Between one `claimed` and the next, only whoever claimed writes; fencing tokens grow."""
    for session, log in by_session(evidence).items():
        holder: Entry | None = None
        for entry in log:
            if entry.kind == "claimed":
                if holder and entry.body["lease"] < holder.body["lease"]:
                    yield (
                        session,
                        f"{entry.sequence} claims under lease {entry.body['lease']} after a newer one",
                    )
                holder = entry
            elif entry.leaf.split(".")[0] in OURS_ALONE and (holder is None or entry.writer != holder.writer):
                who = holder.body["holder"] if holder else "nobody"
                yield (
                    session,
                    f"{entry.sequence} ({entry.kind}) was written by another than {who}, who had claimed",
                )


def order(evidence: Evidence) -> Found:
    """Inputs are taken in the order in which they were stored, by turns that follow each other."""
    for session, log in by_session(evidence).items():
        for end in _ends(log):
            if list(end.body["inputs"]) != sorted(set(end.body["inputs"])):
                yield session, f"the turn {end.body['turn']} took {end.body['inputs']}"
        for before, after in pairwise(_ends(log)):
            if max(before.body["inputs"]) > min(after.body["inputs"]):
                yield session, f"the turn {after.body['turn']} took an input older than the turn before it"
        yield from _taken_in_order(session, log)


def _taken_in_order(session: str, log: list[Entry]) -> Found:
    said = _said(log)
    highest = 0
    for entry in log:
        if entry.kind == "claimed":
            highest = 0  # whoever takes over may take again what its turn had
        if entry.kind == "input-taken" and entry.body["sequence"] in said:
            if entry.body["sequence"] < highest:
                yield session, f"the input {entry.body['sequence']} was taken after {highest}"
            highest = max(highest, entry.body["sequence"])


def stops(evidence: Evidence) -> Found:
    """A stop ends one turn; no turn is cancelled that nobody stopped."""
    for session, log in by_session(evidence).items():
        cancelled = {end.body["turn"] for end in _ends(log) if end.body["outcome"] == "cancelled"}
        stopped = cancelled - _withdrawn(log)
        # A stop is heard before it is stored: of one that the broker lost the log knows nothing.
        pressed = evidence.stops.get(session, 0)
        if len(stopped) > pressed:
            yield session, f"{len(stopped)} turns were stopped by {pressed} stops"
        heeded = Counter(end.body.get("pressed_at") for end in _ends(log) if end.body["turn"] in cancelled)
        for at, turns in heeded.items():
            if at and turns > 1:
                yield session, f"{turns} turns were stopped by the one stop of {at}"


def _withdrawn(log: list[Entry]) -> set[int]:
    deleted = {entry.body["of"] for entry in log if entry.kind == "withdrawn"}
    return {sequence for sequence, entry in _said(log).items() if entry.body["id"] in deleted}


def resumed(evidence: Evidence) -> Found:
    """Every session can be picked up again: the same conversation, on the same branch, with all of its commits."""
    for session, log in by_session(evidence).items():
        started = [entry for entry in log if entry.kind == "turn-started"]
        branches = {entry.body["branch"] for entry in started if entry.body.get("branch")}
        if len(branches) > 1:
            yield session, f"it has the branches {sorted(branches)}"
        yield from _commits_kept(evidence, session, log)
        yield from _picked_up(evidence, session, log, first=started[0].sequence if started else 0)


def _commits_kept(evidence: Evidence, session: str, log: list[Entry]) -> Found:
    for entry in log:
        if entry.kind == "commit-pushed":
            branch, sha = entry.body["branch"], entry.body["sha"]
            if sha not in evidence.reachable.get(branch, set()):
                yield session, f"the commit {sha[:8]} is not on {branch} any more"


def _picked_up(evidence: Evidence, session: str, log: list[Entry], first: int) -> Found:
    if session not in evidence.probed:
        return
    said = next((e for e in _said(log).values() if e.body["id"] == evidence.probed[session]), None)
    end = said and next((end for end in _ends(log) if said.sequence in end.body["inputs"]), None)
    if said is None or end is None or end.body["outcome"] != "completed":
        how = end.body["outcome"] + ": " + end.body["reason"] if end else "it has not ended"
        yield session, f"it could not be picked up at the end: {how}"
        return
    started = [e for e in log if e.kind == "turn-started" and e.body["turn"] == end.body["turn"]]
    if started and first < started[-1].sequence and not started[-1].body["resumed"]:
        yield session, "its last turn did not continue the conversation"


def archived(evidence: Evidence) -> Found:
    """Every event is in object storage exactly once, in order, as it is in the log."""
    objects: defaultdict[str, list[Any]] = defaultdict(list)
    for record in evidence.archive:
        objects[record.session].append(record)
    logs = by_session(evidence)
    for session, log in logs.items():
        records = objects[session]
        sequences = [record.sequence for record in records]
        for sequence, count in Counter(sequences).items():
            if count > 1:
                yield session, f"the event {sequence} is archived {count} times"
        if sequences != sorted(sequences):
            yield session, "its archive is out of order"
        for sequence in sorted({entry.sequence for entry in log} - set(sequences)):
            yield session, f"the event {sequence} is not archived"
        bodies = {entry.sequence: entry.body for entry in log}
        for record in records:
            if record.body != bodies.get(record.sequence, record.body):
                yield session, f"the event {record.sequence} is archived with another content"
    for session in objects.keys() - logs.keys():
        yield session, "the archive has a session that the log does not know"


def shown(evidence: Evidence) -> Found:
    """Every turn's last word stands in its thread, once, and nothing spins any more."""
    for session, log in by_session(evidence).items():
        messages = evidence.threads.get(session, {}).get("messages", [])
        finals = Counter(_turn_of(message) for message in messages if _is_final(message))
        for end in _ends(log):
            count = finals.pop(end.body["turn"], 0)
            if end.body["outcome"] != "rejected" and count != 1:
                yield session, f"the last word of the turn {end.body['turn']} is shown {count} times"
            yield from _words_shown(session, end, messages)
        lasts = {_turn_of(message): message["ts"] for message in messages if _is_final(message)}
        for message in messages:
            if message.get("streaming_state") == "in_progress":
                yield session, f"the message {message['ts']} still streams"
            if _kind_of(message) == "threadmill_live" and message["ts"] > lasts.get(_turn_of(message), "9"):
                yield session, f"the message {message['ts']} plays the turn {_turn_of(message)} again"


def _words_shown(session: str, end: Entry, messages: list[dict[str, Any]]) -> Found:
    shown_ = [message for message in messages if _turn_of(message) == end.body["turn"]]
    last_words = end.body["text"].split("\n\n")[-1].strip()
    if end.body["outcome"] == "completed" and shown_ and last_words not in _text(shown_):
        yield session, f"the final text of the turn {end.body['turn']} is not in the thread"


def _text(messages: list[dict[str, Any]]) -> str:
    return str(messages)


def _turn_of(message: dict[str, Any]) -> int:
    return int(message.get("metadata", {}).get("event_payload", {}).get("turn", 0))


def _kind_of(message: dict[str, Any]) -> str:
    return str(message.get("metadata", {}).get("event_type", ""))


def _is_final(message: dict[str, Any]) -> bool:
    return _kind_of(message) == "threadmill_turn" and message.get("streaming_state") != "in_progress"


def quotas(evidence: Evidence) -> Found:
    """Nobody starts more turns in a window than allowed, every turn counts, and nobody is refused what was free."""
    rules = evidence.rules
    margin, window = timedelta(seconds=2 * rules.skew), timedelta(seconds=rules.window)
    returned = {
        f"{end.session}.{end.body['turn']}"
        for end in evidence.log
        if end.leaf.startswith("end.") and end.body["ours"]
    }
    for user, starts in evidence.counted.items():
        times = sorted(at for turn, at in starts.items() if turn not in returned)
        for first, last in zip(times, times[rules.turns :], strict=False):
            if last - first < window - margin:
                yield user, f"started {rules.turns + 1} turns between {first} and {last}"
    for session, log in by_session(evidence).items():
        for end in _ends(log):
            user, turn = end.body["user"]["id"], f"{session}.{end.body['turn']}"
            starts = evidence.counted.get(user, {})
            if end.body["outcome"] == "rejected":
                # Its end may be written long after it was refused; what it is told then says which window was full.
                told = end.body.get("retry_at")
                full_until = datetime.fromisoformat(told) if told else end.time
                since, until = full_until - window - margin, end.time + margin
                inside = sum(since <= at <= until for at in starts.values())
                if inside < rules.turns:
                    yield session, f"{user} was refused at {end.time} with {inside} turns in the window"
            # One that was stopped before it was admitted has cost nothing.
            elif turn not in starts and not end.body["ours"] and end.body["turn"] in _begun(log):
                yield session, f"the turn {end.body['turn']} of {user} was not counted"


def work_done(evidence: Evidence) -> Found:
    """A campaign in which nothing happened shows nothing."""
    if not any(end.body["outcome"] == "completed" for end in _ends(evidence.log)):
        yield "", "no turn was completed"


def nothing_left(evidence: Evidence) -> Found:
    """Nothing is dead, held or left running."""
    for letter in evidence.dead_letters:
        yield "", f"a dead letter: {letter}"
    for lease in evidence.leases:
        yield lease, "its lease is still held"
    for process in evidence.left:
        yield "", f"left running: {process}"
    for name in evidence.unclean:
        yield "", f"did not end when it was told to: {name}"


# What has to be so within a minute after the last fault, whether anybody says something or not.
SETTLED = (
    "every input has one fate",
    "every turn ends exactly once",
    "nothing is lost in the archive",
    "shown once",
)
PROMISES: dict[str, Callable[[Evidence], Found]] = {
    "accepted means stored": stored,
    "once": once,
    "every input has one fate": one_fate,
    "every turn ends exactly once": one_end,
    "one writer": one_writer,
    "order": order,
    "stop": stops,
    "resume": resumed,
    "nothing is lost in the archive": archived,
    "shown once": shown,
    "quotas are exact": quotas,
    "nothing is left": nothing_left,
    "work was done": work_done,
}
