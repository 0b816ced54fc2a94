"""The end of a turn as people see it: its words, the small print, or the refusal. Pure."""

from datetime import datetime

from schemas.ends import TurnEnd
from schemas.events import CommitPushed
from schemas.keys import SessionKey
from services.ingress import buttons
from services.ingress.slack_api import Json
from services.ingress.writer import blocks
from services.ingress.writer.acts import Finish

COMMITS_SHOWN, NOTES_SHOWN = 5, 5
OUTCOMES = {
    "completed": ":white_check_mark: Done",
    "failed": ":x: Failed",
    "cancelled": ":octagonal_sign: Stopped",
    "timed_out": ":hourglass: Out of time",
    "rejected": ":x: Refused",
}


def lead(finish: Finish) -> str:
    """What the final message says before the agent's own words, in Markdown; nothing where they say it all."""
    end = finish.end
    reason = end.reason or end.stop_reason
    if end.outcome == "completed":
        return "" if finish.text else "Done, without a word."
    if end.outcome == "cancelled":
        return (
            f"**Stopped** after {_count(finish.tools, 'tool call')} and {_count(len(end.commits), 'commit')}."
        )
    words = {"failed": "The turn failed", "timed_out": "The turn ran out of time"}.get(
        end.outcome, "The turn ended"
    )
    return f"**{words}{f': {reason}'.rstrip('.') if reason else ''}.**"


def footer(key: SessionKey, finish: Finish) -> list[Json]:
    """The small print under a turn's final message, and Continue where messages wait."""
    end = finish.end
    facts = [
        OUTCOMES[end.outcome],
        duration(end.duration_ms) if end.duration_ms else "",
        f"${end.cost_usd:.2f}" if end.cost_usd else "",
        f"`{blocks.escape(end.branch)}`" if end.branch else "",
        *map(commit_line, end.commits[-COMMITS_SHOWN:]),
    ]
    line = "  ·  ".join(fact for fact in facts if fact)
    notes = [f":information_source: {blocks.escape(blocks.short(note, 500))}" for note in finish.notes[-5:]]
    if not end.state_complete:
        notes.append(
            ":warning: Not everything of this turn could be saved; the next one may know less of it."
        )
    shown = [blocks.context(line, *notes)]
    return shown + (queue(key, finish.queued) if finish.queued else [])


def queue(key: SessionKey, queued: int) -> list[Json]:
    """How many messages wait, and Continue."""
    return [
        blocks.context(waiting(queued)),
        blocks.actions(blocks.button("Continue", buttons.proceed(key), "primary")),
    ]


def waiting(queued: int) -> str:
    """How many messages wait, in words."""
    return _count(queued, "message") + (" waits." if queued == 1 else " wait.")


def commit_line(commit: CommitPushed) -> str:
    """A commit as a link where there is a place to look at it."""
    sha = commit.sha[:7]
    linkable = commit.url.startswith(("https://", "http://")) and not set(commit.url) & set("|<> \n")
    return f"<{commit.url}|{sha}>" if linkable else f"`{blocks.escape(sha)}`"


def refusal(end: TurnEnd) -> str:
    """What a person whose turn was refused is told, in mrkdwn."""
    reason = blocks.escape(blocks.short(end.reason or "This turn cannot start now", 1_000)).rstrip(".")
    return f"{reason}." + (f" You can start the next one {moment(end.retry_at)}." if end.retry_at else "")


def moment(at: datetime) -> str:
    """A time that Slack shows in the reader's own zone, with a fallback in UTC."""
    return f"<!date^{int(at.timestamp()) + 1}^{{date_short_pretty}} at {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def duration(ms: int) -> str:
    """A duration as people say it."""
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
