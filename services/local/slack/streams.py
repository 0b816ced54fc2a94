"""How a streaming message grows: text runs on, a task's card changes in place, the plan gathers its tasks."""

from typing import Any, Literal

from services.local.slack.blocks import check_blocks
from services.local.slack.errors import SlackError, invalid
from services.local.slack.limits import check_markdown
from services.local.slack.model import Json, Message, Stream

# Not documented: a stream ends about five minutes after its start, even while it is appended to.
STREAM_LIFE = 300.0
TASK_STATUSES = frozenset({"pending", "in_progress", "complete", "error"})
TASK_TEXT = 256


def require_open(message: Message) -> Stream:
    """The stream of a message that still takes content. Raises Slack's code for why it does not."""
    stream = message.stream
    if stream is None or not message.by_bot:
        raise SlackError("message_not_in_streaming_state" if message.by_bot else "message_not_owned_by_app")
    if stream.stopped_by_user:
        raise SlackError("stopped_by_user")
    if stream.state != "in_progress":
        raise SlackError("message_not_in_streaming_state")
    return stream


def grow(message: Message, stream: Stream, markdown_text: str | None, chunks: list[Json] | None) -> None:
    """Append what one call brings. Nothing is changed if any part of it is refused."""
    check_markdown(markdown_text)
    for index, chunk in enumerate(chunks or ()):
        _check_chunk(index, chunk)
    _fix_mode(stream, markdown_text, chunks)
    if markdown_text:
        _add_text(message, markdown_text)
    for chunk in chunks or ():
        _add_chunk(message, stream, chunk)


def _fix_mode(stream: Stream, markdown_text: str | None, chunks: list[Json] | None) -> None:
    """Not documented, but measured: a stream keeps the shape of its first content, text or chunks."""
    brought: Literal["text", "chunks"] | None = "chunks" if chunks else "text" if markdown_text else None
    if markdown_text and chunks:
        raise SlackError("markdown_text_conflict")
    if brought and stream.mode and brought != stream.mode:
        raise SlackError("streaming_mode_mismatch")
    stream.mode = stream.mode or brought


def _check_chunk(index: int, chunk: Any) -> None:
    problem = _problem(chunk)
    if problem:
        raise invalid("invalid_chunks", f"{problem} [json-pointer:/chunks/{index}]")
    if chunk["type"] == "blocks":
        check_blocks(chunk["blocks"])
    if chunk["type"] == "markdown_text":
        check_markdown(chunk["text"])


def _problem(chunk: Any) -> str | None:
    match chunk:
        case {"type": "markdown_text", "text": str()} | {"type": "plan_update", "title": str()}:
            return None
        case {"type": "blocks", "blocks": list()}:
            return None
        case {"type": "task_update", "id": str(), "title": str(), "status": str()}:
            return _task_problem(chunk)
        case _:
            return (
                "must be a markdown_text, task_update, plan_update or blocks chunk with its required fields"
            )


def _task_problem(chunk: Json) -> str | None:
    if chunk["status"] not in TASK_STATUSES:
        return f"unknown task status: {chunk['status']}"
    for field in ("details", "output"):
        value = chunk.get(field)
        if value is not None and (not isinstance(value, str) or len(value) > TASK_TEXT):
            return f"{field} must be a text of at most {TASK_TEXT} characters"
    return None


def _add_text(message: Message, text: str) -> None:
    message.text += text
    if message.blocks and message.blocks[-1]["type"] == "markdown":
        message.blocks[-1]["text"] += text
    else:
        message.blocks.append({"type": "markdown", "text": text})


def _add_chunk(message: Message, stream: Stream, chunk: Json) -> None:
    match chunk["type"]:
        case "markdown_text":
            _add_text(message, chunk["text"])
        case "task_update":
            _update_task(_plan(message)["tasks"] if stream.display == "plan" else message.blocks, chunk)
        case "plan_update":
            _plan(message)["title"] = chunk["title"]
        case _:
            message.blocks.extend(chunk["blocks"])


def _plan(message: Message) -> Json:
    for block in message.blocks:
        if block["type"] == "plan":
            return block
    plan: Json = {"type": "plan", "title": "", "tasks": []}
    message.blocks.append(plan)
    return plan


def _update_task(tasks: list[Json], chunk: Json) -> None:
    card = next((block for block in tasks if block.get("task_id") == chunk["id"]), None)
    if card is None:
        card = {"type": "task_card", "task_id": chunk["id"]}
        tasks.append(card)
    card |= {"title": chunk["title"], "status": chunk["status"]}
    card |= {field: rich_text(chunk[field]) for field in ("details", "output") if chunk.get(field)}
    if chunk.get("sources"):
        card["sources"] = chunk["sources"]


def rich_text(text: str) -> Json:
    """A text as the rich text block that Slack keeps it as."""
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [section]}
