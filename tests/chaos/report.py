"""A campaign in words, for people: what was done to Threadmill, what it did meanwhile, and what was broken."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.campaign import Outcome
from tests.chaos.checker import PROMISES, Violation

SHOWN = 5


def report(outcome: Outcome, violations: Sequence[Violation]) -> str:
    """Return the report in Markdown."""
    setup, log = outcome.setup, outcome.evidence.log
    sessions = {entry.session for entry in log}
    ends = Counter(entry.body["outcome"] for entry in log if entry.leaf.startswith("end."))
    claims = sum(entry.kind == "claimed" for entry in log)
    again = sum(entry.kind == "claimed" and entry.body["attempt"] > 1 for entry in log)
    inputs = sum(entry.leaf.startswith("in.") for entry in log)
    store = "a folder" if setup.in_folder else "a bucket"
    transport = "Socket Mode" if setup.socket_mode else "HTTP"
    versions = " (the last one of another version)" if setup.beside else ""
    lines = [
        f"Seed {setup.seed}, {outcome.seconds / 60:.0f} minutes under fire.",
        "",
        f"- {setup.nodes} broker node(s), {setup.replicas} replicas of each service{versions}, Slack by {transport}, the archive in {store}",
        f"- {sum(outcome.faults.values())} faults, {len(sessions)} sessions, {len(log)} events, {inputs} inputs",
        f"- {sum(ends.values())} turns: {', '.join(f'{count} {name}' for name, count in ends.most_common())}",
        f"- {claims} claims, {again} of them after a death",
        f"- {len(violations)} violations",
        "",
        "| Fault | Times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(outcome.faults.items())),
        "",
        "| Promise | Violations |",
        "|---|---|",
        *(f"| {promise} | {sum(v.promise == promise for v in violations)} |" for promise in PROMISES),
    ]
    if violations:
        lines += ["", *_examples(violations)]
    return "\n".join(lines) + "\n"


def _examples(violations: Sequence[Violation]) -> Iterator[str]:
    """Yield a few of each promise."""
    for promise in PROMISES:
        of_it = [each for each in violations if each.promise == promise]
        yield from (f"- {promise}: {each.session}: {each.what}" for each in of_it[:SHOWN])
