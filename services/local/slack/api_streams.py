"""`chat.startStream`, `chat.appendStream`, `chat.stopStream`: a message that is written while it is read."""

from typing import Literal

from services.local.slack import events, render
from services.local.slack.api_chat import place, thread_root
from services.local.slack.blocks import check_blocks, with_ids
from services.local.slack.calls import Arguments, Context, Method, Methods
from services.local.slack.errors import SlackError
from services.local.slack.limits import TIER_2, TIER_4, check_metadata
from services.local.slack.model import BOT_USER, TEAM, Channel, Json, Message, Stream
from services.local.slack.streams import STREAM_LIFE, grow, require_open


class Written(Arguments, kw_only=True):
    """What a call brings."""

    channel: str
    markdown_text: str | None = None
    chunks: list[Json] | None = None


class Start(Written, kw_only=True):
    """Arguments of chat.startStream."""

    thread_ts: str | None = None
    recipient_user_id: str | None = None
    recipient_team_id: str | None = None
    task_display_mode: Literal["timeline", "plan"] = "timeline"


class Append(Written, kw_only=True):
    """Arguments of chat.appendStream."""

    ts: str


class Stop(Append, kw_only=True):
    """Arguments of chat.stopStream."""

    blocks: list[Json] | None = None
    metadata: Json | None = None
    session_status: Literal["processing", "active", "suspended", "closed"] | None = None


def start(ctx: Context, args: Start) -> Json:
    """chat.startStream: the stream lives about five minutes, appended to or not."""
    channel = place(ctx.workspace, args.channel)
    root = thread_root(ctx.workspace, channel.id, args.thread_ts)
    _require_recipient(ctx, channel, args)
    stream = Stream(dies_at=ctx.workspace.clock.after(STREAM_LIFE), display=args.task_display_mode)
    message = Message(ts="", channel=channel.id, user=BOT_USER, thread_ts=root, stream=stream)
    grow(message, stream, args.markdown_text, args.chunks)
    message.ts = ctx.workspace.next_ts()
    ctx.workspace.add(message)
    return {"channel": channel.id, "ts": message.ts}


def append(ctx: Context, args: Append) -> Json:
    """chat.appendStream."""
    message = ctx.workspace.message(args.channel, args.ts)
    stream = require_open(message)
    if not (args.markdown_text or args.chunks):
        raise SlackError("no_text")
    grow(message, stream, args.markdown_text, args.chunks)
    ctx.workspace.touch(message.channel, message.root)
    return {"channel": message.channel, "ts": message.ts}


def stop(ctx: Context, args: Stop) -> Json:
    """chat.stopStream: the last content, blocks at the end, metadata, and the session's status with it."""
    message = ctx.workspace.message(args.channel, args.ts)
    stream = require_open(message)
    check_blocks(args.blocks or [])
    check_metadata(args.metadata)
    grow(message, stream, args.markdown_text, args.chunks)
    stream.state = "completed"
    message.blocks = with_ids(message.blocks + (args.blocks or []))
    message.metadata = args.metadata
    if args.session_status:
        ctx.workspace.thread_state(message.channel, message.root).session_status = args.session_status
    ctx.workspace.touch(message.channel, message.root)
    ctx.emit(events.said(ctx.workspace, message, ctx.base))
    shown = render.message(ctx.workspace, message, ctx.base)
    return {"channel": message.channel, "ts": message.ts, "message": shown}


def _require_recipient(ctx: Context, channel: Channel, args: Start) -> None:
    if channel.is_im:
        return
    if not args.recipient_user_id:
        raise SlackError("missing_recipient_user_id")
    if not args.recipient_team_id:
        raise SlackError("missing_recipient_team_id")
    ctx.workspace.person(args.recipient_user_id)
    if args.recipient_team_id != TEAM:
        raise SlackError("team_not_found")


METHODS: Methods = {
    "chat.startStream": Method(Start, start, TIER_2),
    "chat.appendStream": Method(Append, append, TIER_4),
    "chat.stopStream": Method(Stop, stop, TIER_2),
}
