"""`response_url`: the app's answers to a press without a token, within 30 minutes and five times."""

from services.local.slack import events, render
from services.local.slack.api_chat import Content, compose
from services.local.slack.calls import Context
from services.local.slack.errors import SlackError
from services.local.slack.model import BOT_USER, Json, Message


class Response(Content, kw_only=True):
    """The body of an answer. Without an order to replace or delete it is a new message, ephemeral by default."""

    response_type: str = "ephemeral"
    replace_original: bool = False
    delete_original: bool = False
    thread_ts: str | None = None


def respond(ctx: Context, target: str, answer: Response) -> Json:
    """Carry out one answer to the press of which `target` tells channel, message and person."""
    channel, ts, user = target.split(" ")
    if answer.delete_original:
        ctx.workspace.remove(ctx.workspace.message(channel, ts))
    elif answer.replace_original:
        _replace(ctx, ctx.workspace.message(channel, ts), answer)
    else:
        _add(ctx, channel, ts, user, answer)
    return {}


def _replace(ctx: Context, message: Message, answer: Response) -> None:
    if not message.by_bot:
        raise SlackError("cant_update_message")
    before = render.message(ctx.workspace, message, ctx.base)
    compose(message, answer)
    ctx.workspace.touch(message.channel, message.root)
    if not message.only_for:
        message.edited = ctx.workspace.next_ts()
        ctx.emit([events.edited(ctx.workspace, message, before, ctx.base)])


def _add(ctx: Context, channel: str, ts: str, user: str, answer: Response) -> None:
    everybody = answer.response_type == "in_channel"
    root = ctx.workspace.message(channel, ts).thread_ts or answer.thread_ts
    message = compose(Message(ts="", channel=channel, user=BOT_USER, thread_ts=root), answer)
    message.ts = ctx.workspace.next_ts()
    message.only_for = None if everybody else user
    ctx.workspace.add(message)
    if everybody:
        ctx.emit(events.said(ctx.workspace, message, ctx.base))
