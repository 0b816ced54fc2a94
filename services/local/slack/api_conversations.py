"""`conversations.*` and `users.info`: what an app reads of the workspace."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec

from services.local.slack import render
from services.local.slack.calls import Arguments, Context, Method, Methods
from services.local.slack.errors import SlackError
from services.local.slack.limits import TIER_3, TIER_4
from services.local.slack.model import Channel, Json, Message


class Place(Arguments, kw_only=True):
    """Arguments that name a channel."""

    channel: str


class Page(Place, kw_only=True):
    """Arguments of a method that gives messages in pages."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: str = ""
    oldest: str = "0"
    latest: str = ""
    inclusive: bool = False
    include_all_metadata: bool = False


class Replies(Page, kw_only=True):
    """Arguments of conversations.replies."""

    ts: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


class Open(Arguments, kw_only=True):
    """Arguments of conversations.open."""

    users: str | None = None
    channel: str | None = None


class User(Arguments, kw_only=True):
    """Arguments of users.info."""

    user: str


def replies(ctx: Context, args: Replies) -> Json:
    """conversations.replies: oldest first, the root before all whatever the moments; of a reply only itself."""
    if not _is_root(ctx, args):
        return _page(ctx, args, [_reply(ctx, args)])
    root, *rest = ctx.workspace.thread(args.channel, args.ts)
    return _page(ctx, args, [root, *_wanted(args, rest)])


def history(ctx: Context, args: Page) -> Json:
    """conversations.history: messages outside of threads, newest first."""
    return _page(ctx, args, _wanted(args, list(ctx.workspace.top_level(args.channel))[::-1]))


def info(ctx: Context, args: Place) -> Json:
    """conversations.info."""
    return {"channel": render.channel(ctx.workspace.channel(args.channel))}


def members(ctx: Context, args: Place) -> Json:
    """conversations.members."""
    return {"members": ctx.workspace.channel(args.channel).members, "response_metadata": {"next_cursor": ""}}


def open_conversation(ctx: Context, args: Open) -> Json:
    """conversations.open: the direct conversation with one person."""
    if args.channel:
        return {"channel": render.channel(ctx.workspace.channel(args.channel))}
    if not args.users:
        raise SlackError("users_list_not_supplied")
    if "," in args.users:
        raise SlackError("method_not_supported_for_channel_type")
    opened: Channel = ctx.workspace.open_direct(args.users)
    return {"channel": {"id": opened.id}}


def user_info(ctx: Context, args: User) -> Json:
    """users.info."""
    return {"user": render.person(ctx.workspace.person(args.user))}


def _is_root(ctx: Context, args: Replies) -> bool:
    ctx.workspace.channel(args.channel)
    found = ctx.workspace.state.messages[args.channel].get(args.ts)
    return found is None or found.thread_ts is None


def _reply(ctx: Context, args: Replies) -> Message:
    return ctx.workspace.message(args.channel, args.ts, missing="thread_not_found")


def _wanted(args: Page, messages: Sequence[Message]) -> list[Message]:
    """Those that everybody sees, between the moments."""
    oldest, latest = _moment("oldest", args.oldest or "0"), _moment("latest", args.latest or "Infinity")
    return [
        message
        for message in messages
        if message.only_for is None and _inside(Decimal(message.ts), oldest, latest, inclusive=args.inclusive)
    ]


def _page(ctx: Context, args: Page, messages: Sequence[Message]) -> Json:
    start = _offset(args.cursor)
    end = start + args.limit
    more = len(messages) > end
    return {
        "messages": [
            render.message(ctx.workspace, message, ctx.base, metadata=args.include_all_metadata)
            for message in messages[start:end]
        ],
        "has_more": more,
        "response_metadata": {"next_cursor": f"sim:{end}" if more else ""},
    }


def _inside(ts: Decimal, oldest: Decimal, latest: Decimal, *, inclusive: bool) -> bool:
    return oldest <= ts <= latest if inclusive else oldest < ts < latest


def _moment(name: str, value: str) -> Decimal:
    try:
        moment = Decimal(value)
    except InvalidOperation as e:
        raise SlackError(f"invalid_ts_{name}") from e
    if moment.is_nan():
        raise SlackError(f"invalid_ts_{name}")
    return moment


def _offset(cursor: str) -> int:
    kind, _, number = cursor.partition(":")
    if not cursor:
        return 0
    if kind != "sim" or not number.isdecimal():
        raise SlackError("invalid_cursor")
    return int(number)


METHODS: Methods = {
    "conversations.replies": Method(Replies, replies, TIER_3, form_only=True),
    "conversations.history": Method(Page, history, TIER_3),
    "conversations.info": Method(Place, info, TIER_3, form_only=True),
    "conversations.members": Method(Place, members, TIER_4, form_only=True),
    "conversations.open": Method(Open, open_conversation, TIER_3),
    "users.info": Method(User, user_info, TIER_4, form_only=True),
}
