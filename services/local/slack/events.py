"""What Slack tells an app: the payloads of the Events API and of interactivity, built and nothing else."""

import secrets
import uuid
from typing import Literal

from services.local.slack import render
from services.local.slack.model import APP_ID, BOT_NAME, BOT_USER, TEAM, Json, Message
from services.local.slack.streams import rich_text
from services.local.slack.workspace import Workspace

TEAM_DOMAIN = "threadmill-sim"

Kind = Literal["events_api", "interactive"]


def wrap(workspace: Workspace, event: Json) -> Json:
    """The `event_callback` around an event."""
    authorization = {
        "enterprise_id": None,
        "team_id": TEAM,
        "user_id": BOT_USER,
        "is_bot": True,
        "is_enterprise_install": False,
    }
    return {
        "token": "simulated",
        "team_id": TEAM,
        "api_app_id": APP_ID,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{secrets.token_hex(6).upper()}",
        "event_time": int(workspace.clock.now()),
        "authorizations": [authorization],
        "is_ext_shared_channel": False,
        "event_context": f"4-{secrets.token_hex(16)}",
    }


def said(workspace: Workspace, message: Message, base: str) -> list[Json]:
    """The events of a new message: for a mention in a channel the pair `app_mention` and `message`."""
    body = render.message(workspace, message, base, metadata=message.by_bot)
    for counted in (
        "reply_count",
        "reply_users",
        "reply_users_count",
        "latest_reply",
        "is_locked",
        "subscribed",
    ):
        body.pop(counted, None)
    body |= {"channel": message.channel, "event_ts": message.ts}
    if message.files and not message.by_bot:
        body["subtype"] = "file_share"
    direct = workspace.channel(message.channel).is_im
    plain = body | {"channel_type": "im" if direct else "channel"}
    if direct or message.by_bot or f"<@{BOT_USER}>" not in message.text:
        return [plain]
    mention = {key: value for key, value in body.items() if key != "subtype"} | {"type": "app_mention"}
    return [mention, plain]


def edited(workspace: Workspace, message: Message, before: Json, base: str) -> Json:
    """`message_changed`. `before` is the message as it was shown."""
    return _hidden(workspace, message.channel, "message_changed") | {
        "message": render.message(workspace, message, base),
        "previous_message": before,
    }


def deleted(workspace: Workspace, channel: str, before: Json) -> Json:
    """`message_deleted`. `before` is the message as it was shown."""
    return _hidden(workspace, channel, "message_deleted") | {
        "deleted_ts": before["ts"],
        "previous_message": before,
    }


def reacted(workspace: Workspace, message: Message, user: str, name: str, *, removed: bool = False) -> Json:
    """`reaction_added` or `reaction_removed`."""
    return {
        "type": "reaction_removed" if removed else "reaction_added",
        "user": user,
        "reaction": name,
        "item_user": message.user,
        "item": {"type": "message", "channel": message.channel, "ts": message.ts},
        "event_ts": workspace.next_ts(),
    }


def session_stopped(workspace: Workspace, channel: str, thread: str, user: str, streams: list[str]) -> Json:
    """`agent_session_stopped`: a person pressed Slack's own Stop at an agent session.

    `streaming_message_ts` lists the streams that Slack stopped with it, empty where none ran. The session's status
    stays as it was: the app has to set it.
    """
    return {
        "type": "agent_session_stopped",
        "channel": channel,
        "thread_ts": thread,
        "user": user,
        "streaming_message_ts": streams,
        "event_ts": workspace.next_ts(),
    }


def pressed(
    workspace: Workspace, message: Message, user: str, action: Json, *, base: str, ticket: str
) -> Json:
    """`block_actions`: a person pressed an element of a message. `ticket` opens the response URL and a view."""
    shown = render.message(workspace, message, base)
    ephemeral = message.only_for is not None
    payload: Json = {
        "type": "block_actions",
        "user": _presser(workspace, user),
        "api_app_id": APP_ID,
        "token": "simulated",
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": ephemeral,
        },
        "trigger_id": ticket,
        "team": {"id": TEAM, "domain": TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {
            "id": message.channel,
            "name": workspace.channel(message.channel).name or "directmessage",
        },
        "state": {"values": {}},
        "response_url": f"{base}/response/{ticket}",
        "actions": [action | {"action_ts": workspace.next_ts()}],
    }
    if message.thread_ts:
        payload["container"]["thread_ts"] = message.thread_ts
    return payload if ephemeral else payload | {"message": shown}


def submitted(workspace: Workspace, user: str, view: Json, trigger: str) -> Json:
    """`view_submission`: a person sent off a modal, whose entries are in `view.state.values`."""
    return {
        "type": "view_submission",
        "team": {"id": TEAM, "domain": TEAM_DOMAIN},
        "user": _presser(workspace, user),
        "api_app_id": APP_ID,
        "token": "simulated",
        "trigger_id": trigger,
        "view": view,
        "response_urls": [],
        "is_enterprise_install": False,
        "enterprise": None,
    }


def typed(text: str) -> list[Json]:
    """The blocks that Slack's own editor makes of what a person types."""
    return [rich_text(text) | {"block_id": secrets.token_hex(3)}]


def client_msg_id() -> str:
    """The id that a person's client gives to a message."""
    return str(uuid.uuid4())


def with_mention(text: str) -> str:
    """The text with `@threadmill` as the mention that Slack's editor makes of it."""
    return text.replace(f"@{BOT_NAME}", f"<@{BOT_USER}>")


def _presser(workspace: Workspace, user: str) -> Json:
    someone = workspace.person(user)
    return {"id": someone.id, "username": someone.name, "name": someone.name, "team_id": TEAM}


def _hidden(workspace: Workspace, channel: str, subtype: str) -> Json:
    return {
        "type": "message",
        "subtype": subtype,
        "hidden": True,
        "channel": channel,
        "ts": workspace.next_ts(),
        "event_ts": workspace.next_ts(),
        "channel_type": "im" if workspace.channel(channel).is_im else "channel",
    }
