"""`chat.*`: what an app says, changes and takes back."""

from services.local.slack import events, render
from services.local.slack.blocks import check_blocks, with_ids
from services.local.slack.calls import Arguments, Context, Method, Methods
from services.local.slack.errors import SlackError
from services.local.slack.limits import (
    ONE_PER_SECOND_AND_CHANNEL,
    POSTED_TEXT,
    SPECIAL,
    TIER_3,
    TIER_4,
    UPDATED_TEXT,
    check_markdown,
    check_metadata,
)
from services.local.slack.model import BOT_USER, Channel, Json, Message
from services.local.slack.workspace import Workspace


class Content(Arguments, kw_only=True):
    """What a message can be made of."""

    text: str | None = None
    markdown_text: str | None = None
    blocks: list[Json] | None = None
    attachments: list[Json] | None = None
    metadata: Json | None = None


class Post(Content, kw_only=True):
    """Arguments of chat.postMessage."""

    channel: str
    thread_ts: str | None = None


class PostEphemeral(Post, kw_only=True):
    """Arguments of chat.postEphemeral."""

    user: str


class Update(Content, kw_only=True):
    """Arguments of chat.update."""

    channel: str
    ts: str


class One(Arguments, kw_only=True):
    """A message by its place."""

    channel: str
    ts: str


class Permalink(Arguments, kw_only=True):
    """Arguments of chat.getPermalink."""

    channel: str
    message_ts: str


def place(workspace: Workspace, target: str) -> Channel:
    """The conversation to post in: a channel's id, or a person's for the direct one."""
    found = workspace.open_direct(target) if target in workspace.state.people else workspace.channel(target)
    if BOT_USER not in found.members:
        raise SlackError("not_in_channel")
    return found


def thread_root(workspace: Workspace, channel: str, thread_ts: str | None) -> str | None:
    """The root of the thread to reply in, also where a reply's `ts` was given. Raises `thread_not_found`."""
    return thread_ts and workspace.message(channel, thread_ts, missing="thread_not_found").root


def compose(message: Message, content: Content) -> Message:
    """Put the checked content into the message."""
    if content.markdown_text is not None and (content.text or content.blocks):
        raise SlackError("markdown_text_conflict")
    check_markdown(content.markdown_text)
    check_metadata(content.metadata or None)
    check_blocks(content.blocks or [])
    if content.markdown_text is not None:
        message.text, message.blocks = (
            content.markdown_text,
            [{"type": "markdown", "text": content.markdown_text}],
        )
    else:
        message.text, message.blocks = content.text or "", with_ids(content.blocks or [])
    message.attachments = content.attachments or []
    if content.metadata is not None:
        message.metadata = content.metadata or None
    return message


def post_message(ctx: Context, args: Post) -> Json:
    """chat.postMessage. A longer text than Slack takes is truncated, as Slack does it."""
    message = _new(ctx, args)
    ctx.workspace.add(message)
    ctx.emit(events.said(ctx.workspace, message, ctx.base))
    shown = render.message(ctx.workspace, message, ctx.base)
    return {"channel": message.channel, "ts": message.ts, "message": shown}


def post_ephemeral(ctx: Context, args: PostEphemeral) -> Json:
    """chat.postEphemeral: seen by one member of the channel, and no part of its history."""
    ctx.workspace.person(args.user)
    if args.user not in place(ctx.workspace, args.channel).members:
        raise SlackError("user_not_in_channel")
    message = _new(ctx, args)
    message.only_for = args.user
    ctx.workspace.add(message)
    return {"message_ts": message.ts}


def update(ctx: Context, args: Update) -> Json:
    """chat.update. What is not given goes, but for the metadata, which stays."""
    message = own_message(ctx.workspace, args.channel, args.ts, "cant_update_message")
    if message.stream and message.stream.state == "in_progress":
        raise SlackError("streaming_state_conflict")
    if len(args.text or "") > UPDATED_TEXT:
        raise SlackError("msg_too_long")
    _require_content(args)
    before = render.message(ctx.workspace, message, ctx.base)
    compose(message, args)
    message.edited = ctx.workspace.next_ts()
    ctx.workspace.touch(message.channel, message.root)
    ctx.emit([events.edited(ctx.workspace, message, before, ctx.base)])
    shown = render.message(ctx.workspace, message, ctx.base)
    return {"channel": message.channel, "ts": message.ts, "text": message.text, "message": shown}


def delete(ctx: Context, args: One) -> Json:
    """chat.delete."""
    message = own_message(ctx.workspace, args.channel, args.ts, "cant_delete_message")
    before = render.message(ctx.workspace, message, ctx.base)
    ctx.workspace.remove(message)
    ctx.emit([events.deleted(ctx.workspace, message.channel, before)])
    return {"channel": message.channel, "ts": message.ts}


def permalink(ctx: Context, args: Permalink) -> Json:
    """chat.getPermalink."""
    message = ctx.workspace.message(args.channel, args.message_ts)
    link = f"{ctx.base}/archives/{message.channel}/p{message.ts.replace('.', '')}"
    if message.thread_ts:
        link += f"?thread_ts={message.thread_ts}&cid={message.channel}"
    return {"channel": message.channel, "permalink": link}


def own_message(workspace: Workspace, channel: str, ts: str, otherwise: str) -> Message:
    """A message of the app that everybody sees. Raises `message_not_found`, or `otherwise` for another's."""
    message = workspace.message(channel, ts)
    if message.only_for:
        raise SlackError("message_not_found")
    if not message.by_bot:
        raise SlackError(otherwise)
    return message


def _new(ctx: Context, args: Post) -> Message:
    _require_content(args)
    channel = place(ctx.workspace, args.channel).id
    root = thread_root(ctx.workspace, channel, args.thread_ts)
    message = compose(Message(ts="", channel=channel, user=BOT_USER, thread_ts=root), args)
    message.text = message.text[:POSTED_TEXT]
    message.ts = ctx.workspace.next_ts()
    return message


def _require_content(args: Content) -> None:
    if not (args.text or args.blocks or args.attachments or args.markdown_text):
        raise SlackError("no_text")


METHODS: Methods = {
    "chat.postMessage": Method(Post, post_message, ONE_PER_SECOND_AND_CHANNEL),
    "chat.postEphemeral": Method(PostEphemeral, post_ephemeral, TIER_4),
    "chat.update": Method(Update, update, TIER_3),
    "chat.delete": Method(One, delete, TIER_3),
    "chat.getPermalink": Method(Permalink, permalink, SPECIAL),
}
