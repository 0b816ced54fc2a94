"""Block Kit, built from what a thread should show. Pure; sizes are Slack's own."""

import contextlib
from collections.abc import Iterator
from datetime import datetime

from schemas.ends import TurnEnd
from schemas.events import CommitPushed, QuestionAsked, QuestionClosed
from schemas.keys import InvalidKey, SessionKey
from services.ingress import buttons
from services.ingress.slack_api import Json
from services.ingress.writer.acts import Card, Finish, Plan

SECTION, BUTTON, TASK, TITLE, CONTEXT = 3_000, 75, 256, 150, 10
DETAIL = 2_500
COMMITS_SHOWN = 5

OUTCOMES = {
    "completed": ":white_check_mark: Done",
    "failed": ":x: Failed",
    "cancelled": ":octagonal_sign: Stopped",
    "timed_out": ":hourglass: Out of time",
    "rejected": ":x: Refused",
}
LABELS = {
    "allow_once": "Allow once", "allow_session": "Allow for this session", "deny": "Deny",
    "approve": "Approve", "revise": "Request changes",
}  # fmt: skip
CHOICES = {"permission": buttons.PERMISSION_CHOICES, "plan": ("approve", "revise")}
STYLES = {"allow_once": "primary", "deny": "danger", "approve": "primary"}
LEVELS = {"info": ":information_source:", "warning": ":warning:", "error": ":x:"}


def escape(text: str) -> str:
    """Return `text` so that Slack's mrkdwn shows it as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def short(text: str, most: int) -> str:
    """Return `text` in at most `most` characters, with an ellipsis where something was left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def markdown(text: str) -> Json:
    """A block of standard Markdown."""
    return {"type": "markdown", "text": text}


def section(text: str) -> Json:
    """A block of mrkdwn."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": short(text, SECTION)}}


def context(*texts: str) -> Json:
    """A block of small print."""
    shown = [{"type": "mrkdwn", "text": short(text, SECTION)} for text in texts if text][:CONTEXT]
    return {"type": "context", "elements": shown}


def button(label: str, made: buttons.Button, style: str = "") -> Json:
    """A button; `style` is primary, danger or empty."""
    shown: Json = {
        "type": "button",
        "text": {"type": "plain_text", "text": short(label, BUTTON)},
        "action_id": made.action_id,
        "value": made.value,
    }
    return shown | ({"style": style} if style else {})


def actions(*elements: Json) -> Json:
    """A row of buttons."""
    return {"type": "actions", "elements": list(elements)}


def controls(key: SessionKey) -> list[Json]:
    """What stands under a turn that runs: Stop and Details."""
    return [
        actions(
            button("Stop", buttons.stop(key), "danger"),
            button("Details", buttons.details(key)),
        )
    ]


def card(act: Card) -> Json:
    """The chunk that draws or changes a task's card."""
    chunk: Json = {
        "type": "task_update",
        "id": act.id,
        "title": short(act.title, TITLE),
        "status": act.status,
    }
    texts = {"details": short(act.details, TASK), "output": short(act.output, TASK)}
    return chunk | {name: text for name, text in texts.items() if text}


def plan(act: Plan) -> Json:
    """The chunk that names the plan."""
    return {"type": "plan_update", "title": short(act.title, TITLE)}


def text_chunk(text: str) -> Json:
    """The chunk that adds text."""
    return {"type": "markdown_text", "text": text}


# --- questions --------------------------------------------------------------------------------------------------


def _asked(question: QuestionAsked) -> list[Json]:
    head = {"permission": ":lock: *May I do this?*", "choice": ":question:", "plan": ":clipboard:"}[
        question.about
    ]
    shown = [section(f"{head} {escape(short(question.title, 500))}")]
    if question.detail:
        detail = short(question.detail, 11_000 if question.about == "plan" else DETAIL)
        shown.append(markdown(detail if question.about == "plan" else fenced(detail)))
    return shown


def fenced(text: str) -> str:
    """Return `text` as a Markdown code block whose fence it does not contain."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def question(key: SessionKey, asked: QuestionAsked) -> list[Json]:
    """A question with a button for each choice."""
    row = list(_choices(key, asked))
    if not row:
        return [*_asked(asked), context("Answer in this thread.")]
    more = [context("Or answer in this thread.")] if len(row) < len(asked.choices) else []
    return [*_asked(asked), actions(*row), *more]


def _choices(key: SessionKey, asked: QuestionAsked) -> Iterator[Json]:
    choices = asked.choices or CHOICES.get(asked.about, ())
    for place, choice in enumerate(choices[: buttons.MOST_CHOICES]):
        # A choice that no button can hold may still be written.
        with contextlib.suppress(buttons.InvalidButton, InvalidKey):
            made = buttons.answer(key, asked.id, place, choice)
            yield button(LABELS.get(choice, choice), made, STYLES.get(choice, ""))


def answered(asked: QuestionAsked, closed: QuestionClosed) -> list[Json]:
    """The same question with who answered what in the place of its buttons."""
    return [*_asked(asked), context(answer_line(closed))]


def answer_line(closed: QuestionClosed) -> str:
    """Who answered what."""
    if closed.by is None:
        return ":heavy_minus_sign: Not answered; the turn is over."
    who = f"<@{closed.by.id}>"
    words = LABELS.get(closed.choice, closed.choice) if closed.choice else ""
    said = ": ".join(part for part in (words, closed.text) if part)
    return f":ballot_box_with_check: {who} answered *{escape(short(said, 1_000))}*"


# --- the end of a turn ------------------------------------------------------------------------------------------


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
        f"`{escape(end.branch)}`" if end.branch else "",
        *map(commit_line, end.commits[-COMMITS_SHOWN:]),
    ]
    line = "  ·  ".join(fact for fact in facts if fact)
    notes = [f":information_source: {escape(short(note, 500))}" for note in finish.notes[-5:]]
    if not end.state_complete:
        notes.append(
            ":warning: Not everything of this turn could be saved; the next one may know less of it."
        )
    shown = [context(line, *notes)]
    if end.outcome == "cancelled" and finish.queued:
        waiting = _count(finish.queued, "message") + (" waits." if finish.queued == 1 else " wait.")
        shown += [context(waiting), actions(button("Continue", buttons.proceed(key), "primary"))]
    return shown


def commit_line(commit: CommitPushed) -> str:
    """A commit as a link where there is a place to look at it."""
    sha = commit.sha[:7]
    linkable = commit.url.startswith(("https://", "http://")) and not set(commit.url) & set("|<> \n")
    return f"<{commit.url}|{sha}>" if linkable else f"`{escape(sha)}`"


def refusal(end: TurnEnd) -> str:
    """What a person whose turn was refused is told, in mrkdwn."""
    reason = escape(short(end.reason or "This turn cannot start now", 1_000)).rstrip(".")
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


def notice(text: str, level: str) -> list[Json]:
    """Something that people should know."""
    return [section(f"{LEVELS.get(level, LEVELS['info'])} {escape(text)}")]
