"""The blocks that everything is built of, cut to Slack's own sizes. Pure."""

from schemas.keys import SessionKey
from services.ingress import buttons
from services.ingress.slack_api import Json
from services.ingress.writer.acts import Card, Plan

SECTION, BUTTON, TASK, TITLE, CONTEXT = 3_000, 75, 256, 150, 10

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


def notice(text: str, level: str) -> list[Json]:
    """Something that people should know."""
    return [section(f"{LEVELS.get(level, LEVELS['info'])} {escape(text)}")]


def fenced(text: str) -> str:
    """Return `text` as a Markdown code block whose fence it does not contain."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
