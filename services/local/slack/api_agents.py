"""The app's own standing: who it is, its sessions' status, its sockets and its modals."""

import secrets
from typing import Annotated, Literal

import msgspec

from services.local.slack.blocks import VIEW_BLOCKS, check_blocks, with_ids
from services.local.slack.calls import Arguments, Context, Method, Methods
from services.local.slack.errors import SlackError, invalid
from services.local.slack.events import TEAM_DOMAIN
from services.local.slack.limits import LOADING_MESSAGES, SPECIAL, TIER_1, TIER_3, TIER_4
from services.local.slack.model import APP_ID, BOT_ID, BOT_NAME, BOT_USER, TEAM, Json
from services.local.slack.workspace import STATUS_LIFE

SOCKET_TICKET_LIFE = 60.0
Title = Annotated[str, msgspec.Meta(max_length=200)]
MOST_VIEWS = 1_000


class Nothing(Arguments, kw_only=True):
    """A method without arguments."""


class Thread(Arguments, kw_only=True):
    """A thread by its place."""

    channel_id: str
    thread_ts: str


class SessionStatus(Thread, kw_only=True):
    """Arguments of agents.sessions.setStatus."""

    status: Literal["processing", "active", "suspended", "closed"]
    title: Title | None = None
    initiator_user_id: str | None = None


class SessionName(Thread, kw_only=True):
    """Arguments of agents.sessions.rename."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class AssistantStatus(Thread, kw_only=True):
    """Arguments of assistant.threads.setStatus."""

    status: str
    loading_messages: list[str] = msgspec.field(default_factory=list)


class OpenView(Arguments, kw_only=True):
    """Arguments of views.open."""

    view: Json
    trigger_id: str


def auth_test(ctx: Context, _: Nothing) -> Json:
    """auth.test."""
    return {
        "url": f"{ctx.base}/",
        "team": "Threadmill",
        "user": BOT_NAME,
        "team_id": TEAM,
        "user_id": BOT_USER,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def team_info(_: Context, __: Nothing) -> Json:
    """team.info."""
    return {"team": {"id": TEAM, "name": "Threadmill", "domain": TEAM_DOMAIN, "email_domain": ""}}


def set_session_status(ctx: Context, args: SessionStatus) -> Json:
    """agents.sessions.setStatus: makes the session if there is none; its title is taken then only."""
    ctx.workspace.message(args.channel_id, args.thread_ts, missing="thread_not_found")
    if args.initiator_user_id:
        ctx.workspace.person(args.initiator_user_id)
    state = ctx.workspace.thread_state(args.channel_id, args.thread_ts)
    if state.session_status is None:
        state.session_title = args.title
    state.session_status = args.status
    ctx.workspace.touch(args.channel_id, args.thread_ts)
    return {"status": args.status, "agent_status": args.status, "title": state.session_title or ""}


def rename_session(ctx: Context, args: SessionName) -> Json:
    """agents.sessions.rename."""
    ctx.workspace.message(args.channel_id, args.thread_ts, missing="thread_not_found")
    state = ctx.workspace.thread_state(args.channel_id, args.thread_ts)
    if state.session_status is None:
        raise SlackError("session_not_found")
    state.session_title = args.title
    ctx.workspace.touch(args.channel_id, args.thread_ts)
    return {"title": args.title}


def set_assistant_status(ctx: Context, args: AssistantStatus) -> Json:
    """assistant.threads.setStatus: shown until the app's next message, two minutes at most; empty clears it."""
    if len(args.loading_messages) > LOADING_MESSAGES:
        raise invalid("invalid_arguments", f"no more than {LOADING_MESSAGES} loading messages allowed")
    ctx.workspace.message(args.channel_id, args.thread_ts, missing="thread_not_found")
    state = ctx.workspace.thread_state(args.channel_id, args.thread_ts)
    state.status = args.status or None
    state.status_until = ctx.workspace.clock.after(STATUS_LIFE)
    state.loading_messages = args.loading_messages
    ctx.workspace.touch(args.channel_id, args.thread_ts)
    return {}


def open_socket(ctx: Context, _: Nothing) -> Json:
    """apps.connections.open: the address of one WebSocket, for one use."""
    until = ctx.workspace.clock.now() + SOCKET_TICKET_LIFE
    ticket = ctx.tickets.issue("socket", APP_ID, until=until)
    return {"url": f"{ctx.base.replace('http', 'ws', 1)}/socket/?ticket={ticket}&app_id={APP_ID}"}


def open_view(ctx: Context, args: OpenView) -> Json:
    """views.open: a modal for the person whose press gave the trigger, within three seconds and once."""
    user = ctx.tickets.redeem("trigger", args.trigger_id, ctx.workspace.clock.now())
    if user is None:
        raise SlackError("expired_trigger_id")
    if args.view.get("type") != "modal" or not isinstance(args.view.get("blocks"), list):
        raise invalid("invalid_arguments", "a modal with blocks is wanted [json-pointer:/view]")
    check_blocks(args.view["blocks"], most=VIEW_BLOCKS)
    view = args.view | {
        "id": f"V{secrets.token_hex(5).upper()}",
        "team_id": TEAM,
        "app_id": APP_ID,
        "bot_id": BOT_ID,
        "hash": secrets.token_hex(6),
        "state": {"values": {}},
        "blocks": with_ids(args.view["blocks"]),
        "private_metadata": args.view.get("private_metadata", ""),
        "callback_id": args.view.get("callback_id", ""),
    }
    ctx.views[view["id"]] = view | {"opened_by": user}
    if len(ctx.views) > MOST_VIEWS:
        del ctx.views[next(iter(ctx.views))]
    return {"view": view}


METHODS: Methods = {
    "auth.test": Method(Nothing, auth_test, SPECIAL),
    "team.info": Method(Nothing, team_info, TIER_3, form_only=True),
    "agents.sessions.setStatus": Method(SessionStatus, set_session_status, TIER_3),
    "agents.sessions.rename": Method(SessionName, rename_session, TIER_3),
    "assistant.threads.setStatus": Method(AssistantStatus, set_assistant_status, SPECIAL),
    "apps.connections.open": Method(Nothing, open_socket, TIER_1, app_level=True),
    "views.open": Method(OpenView, open_view, TIER_4),
}
