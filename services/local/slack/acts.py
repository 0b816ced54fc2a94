"""What a person does in the workspace, and which payloads Slack sends for it."""

import base64
import binascii
import mimetypes
import re
from collections.abc import Callable

from services.local.slack import events, render
from services.local.slack.api_files import FILE_BYTES
from services.local.slack.api_reactions import REACTION
from services.local.slack.blocks import interactive_elements
from services.local.slack.bodies import Attached, Delete, Edit, Press, React, Say, Stop
from services.local.slack.calls import Context
from services.local.slack.errors import SlackError
from services.local.slack.events import Kind
from services.local.slack.model import Json, Message

# Slack's own: a trigger opens one view within 3 s, a response URL takes 5 answers within 30 min.
TRIGGER_LIFE = 3.0
RESPONSE_LIFE = 1800.0
RESPONSE_USES = 5

Send = Callable[[Kind, list[Json], str], None]


def say(ctx: Context, send: Send, body: Say) -> Json:
    """Write a message; its `ts` is the answer."""
    _require_member(ctx, body.user, body.channel)
    root = (
        body.thread_ts
        and ctx.workspace.message(body.channel, body.thread_ts, missing="thread_not_found").root
    )
    if not body.text and not body.files:
        raise SlackError("no_text")
    contents = [_content(one) for one in body.files]
    files = [_attach(ctx, body.user, one, content) for one, content in zip(body.files, contents, strict=True)]
    text = events.with_mention(body.text)
    message = Message(
        ts=ctx.workspace.next_ts(),
        channel=body.channel,
        user=body.user,
        text=text,
        thread_ts=root,
        blocks=events.typed(text),
        files=files,
        client_msg_id=events.client_msg_id(),
    )
    ctx.workspace.add(message)
    send("events_api", events.said(ctx.workspace, message, ctx.base), body.channel)
    return {"ts": message.ts}


def press(ctx: Context, send: Send, body: Press) -> Json:
    """Press an element of a message."""
    _require_member(ctx, body.user, body.channel)
    message = ctx.workspace.message(body.channel, body.message_ts)
    if message.only_for not in {None, body.user}:
        raise SlackError("message_not_found")
    found = next(
        (e for e in interactive_elements(message.blocks) if e[1]["action_id"] == body.action_id), None
    )
    if found is None:
        raise SlackError("action_not_found")
    ticket = _tickets(ctx, body)
    action = _action(*found, body.value)
    payload = events.pressed(ctx.workspace, message, body.user, action, base=ctx.base, ticket=ticket)
    send("interactive", [payload], body.channel)
    return {}


def react(ctx: Context, send: Send, body: React) -> Json:
    """Add a reaction, or with `remove` take it back."""
    _require_member(ctx, body.user, body.channel)
    if not REACTION.fullmatch(body.name):
        raise SlackError("invalid_name")
    message = ctx.workspace.message(body.channel, body.ts)
    change = ctx.workspace.unreact if body.remove else ctx.workspace.react
    change(message, body.user, body.name)
    event = events.reacted(ctx.workspace, message, body.user, body.name, removed=body.remove)
    send("events_api", [event], body.channel)
    return {}


def edit(ctx: Context, send: Send, body: Edit) -> Json:
    """Change one's own message."""
    message = _own(ctx, body.user, body.channel, body.ts, "cant_update_message")
    before = render.message(ctx.workspace, message, ctx.base)
    message.text = events.with_mention(body.text)
    message.blocks = events.typed(message.text)
    message.edited = ctx.workspace.next_ts()
    ctx.workspace.touch(message.channel, message.root)
    send("events_api", [events.edited(ctx.workspace, message, before, ctx.base)], body.channel)
    return {}


def delete(ctx: Context, send: Send, body: Delete) -> Json:
    """Delete one's own message."""
    message = _own(ctx, body.user, body.channel, body.ts, "cant_delete_message")
    before = render.message(ctx.workspace, message, ctx.base)
    ctx.workspace.remove(message)
    send("events_api", [events.deleted(ctx.workspace, body.channel, before)], body.channel)
    return {}


def stop(ctx: Context, send: Send, body: Stop) -> Json:
    """Press Stop: Slack ends the thread's running streams and tells the app, which has to do the rest."""
    _require_member(ctx, body.user, body.channel)
    stopped = []
    for message in ctx.workspace.thread(body.channel, body.thread_ts):
        if message.stream and message.stream.state == "in_progress":
            message.stream.state, message.stream.stopped_by_user = "completed", True
            stopped.append(message.ts)
    ctx.workspace.touch(body.channel, body.thread_ts)
    event = events.session_stopped(ctx.workspace, body.channel, body.thread_ts, body.user, stopped)
    send("events_api", [event], body.channel)
    return {}


def _require_member(ctx: Context, user: str, channel: str) -> None:
    ctx.workspace.person(user)
    if user not in ctx.workspace.channel(channel).members:
        raise SlackError("not_in_channel")


def _own(ctx: Context, user: str, channel: str, ts: str, otherwise: str) -> Message:
    _require_member(ctx, user, channel)
    message = ctx.workspace.message(channel, ts)
    if message.user != user:
        raise SlackError(otherwise)
    return message


def _content(one: Attached) -> bytes:
    try:
        content = base64.b64decode(one.content, validate=True)
    except (binascii.Error, ValueError) as e:
        raise ValueError(f"The content of the file {one.name!r} is not base64.") from e
    if not 0 < len(content) <= FILE_BYTES:
        raise ValueError(f"The file {one.name!r} must have 1 to {FILE_BYTES} bytes.")
    return content


def _attach(ctx: Context, user: str, one: Attached, content: bytes) -> str:
    media_type = one.media_type or mimetypes.guess_type(one.name)[0] or "application/octet-stream"
    file = ctx.workspace.add_file(name=one.name, media_type=media_type, size=len(content), user=user)
    file.shared = True
    ctx.contents.put(file.id, content)
    return file.id


def _tickets(ctx: Context, body: Press) -> str:
    now = ctx.workspace.clock.now()
    token = ctx.tickets.issue("trigger", body.user, until=now + TRIGGER_LIFE)
    target = f"{body.channel} {body.message_ts} {body.user}"
    return ctx.tickets.issue("response", target, until=now + RESPONSE_LIFE, uses=RESPONSE_USES, token=token)


def _action(block_id: str, element: Json, value: str | None) -> Json:
    """The action as Slack reports it: a button's value, or the options chosen."""
    action: Json = {"action_id": element["action_id"], "block_id": block_id, "type": element["type"]}
    if element["type"] == "button":
        given = value if value is not None else element.get("value")
        return action | {"text": element.get("text")} | ({} if given is None else {"value": given})
    return action | chosen(element, value or "")


def chosen(element: Json, value: str) -> Json:
    """The entry of an input element. `value` names an option, or several with commas, or is the text itself."""
    kind = element["type"]
    options = {
        option.get("value"): option for option in element.get("options", []) if isinstance(option, dict)
    }
    if re.match("checkboxes|multi_", kind):
        return {"selected_options": [options[name] for name in value.split(",") if name in options]}
    if options:
        if value not in options:
            raise SlackError("option_not_found")
        return {"selected_option": options[value]}
    return {"value": value}
