"""The JSON in which Slack shows what the workspace holds."""

from urllib.parse import quote

from services.local.slack.model import APP_ID, BOT_ID, TEAM, Channel, File, Json, Message, Person
from services.local.slack.workspace import Workspace


def person(someone: Person) -> Json:
    """A user object, as `users.info` gives it."""
    return {
        "id": someone.id,
        "team_id": TEAM,
        "name": someone.name,
        "real_name": someone.real_name,
        "deleted": False,
        "is_bot": someone.is_bot,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "tz": "Europe/London",
        "profile": {
            "real_name": someone.real_name,
            "display_name": someone.name,
            "team": TEAM,
        },
    }


def channel(place: Channel) -> Json:
    """A conversation object, as `conversations.info` gives it."""
    shown: Json = {
        "id": place.id,
        "is_im": place.is_im,
        "is_channel": not place.is_im,
        "is_group": False,
        "is_private": place.is_im,
        "is_archived": False,
        "is_ext_shared": False,
        "is_member": True,
        "context_team_id": TEAM,
    }
    if place.is_im:
        return shown | {"user": place.user, "is_open": True}
    return shown | {"name": place.name, "name_normalized": place.name, "num_members": len(place.members)}


def file(one: File, base: str) -> Json:
    """A file object. `base` is the simulator's own address; `url_private` wants the bot's token."""
    address = f"{base}/files/private/{one.id}/{quote(one.name, safe='').lstrip('.') or 'file'}"
    return {
        "id": one.id,
        "created": one.created,
        "timestamp": one.created,
        "name": one.name,
        "title": one.title,
        "mimetype": one.media_type,
        "filetype": one.name.rpartition(".")[2] if "." in one.name else "text",
        "size": one.size,
        "user": one.user,
        "user_team": TEAM,
        "mode": "hosted",
        "is_external": False,
        "file_access": "visible",
        "url_private": address,
        "url_private_download": address,
    }


def message(workspace: Workspace, one: Message, base: str, *, metadata: bool = True) -> Json:
    """A message object, as `conversations.replies` gives it."""
    shown: Json = {"type": "message", "user": one.user, "text": one.text, "ts": one.ts, "team": TEAM}
    optional: Json = {
        "client_msg_id": one.client_msg_id,
        "blocks": one.blocks,
        "attachments": one.attachments,
        "files": [file(workspace.file(name), base) for name in one.files],
        "edited": one.edited and {"user": one.user, "ts": one.edited},
        "reactions": reactions(one),
        "metadata": one.metadata if metadata else None,
        "streaming_state": one.stream and one.stream.state,
    }
    shown |= {name: value for name, value in optional.items() if value}
    return shown | _kind(one) | _threading(workspace, one)


def _kind(one: Message) -> Json:
    """What marks a message as the app's, as a tombstone, or as seen by one person only."""
    marks: Json = {}
    if one.by_bot:
        marks |= {"bot_id": BOT_ID, "app_id": APP_ID}
    if one.deleted:
        marks |= {"subtype": "tombstone", "hidden": True}
    if one.only_for:
        marks |= {"is_ephemeral": True, "user_id": one.only_for}
    return marks


def reactions(one: Message) -> list[Json]:
    """The reactions of a message, in the order in which they came."""
    return [
        {"name": name, "users": list(users), "count": len(users)} for name, users in one.reactions.items()
    ]


def _threading(workspace: Workspace, one: Message) -> Json:
    if one.thread_ts:
        parent = workspace.state.messages[one.channel].get(one.thread_ts)
        return {"thread_ts": one.thread_ts} | ({"parent_user_id": parent.user} if parent else {})
    replies = [reply for reply in workspace.replies(one.channel, one.ts) if reply.only_for is None]
    if not replies:
        return {}
    users = list(dict.fromkeys(reply.user for reply in replies))
    return {
        "thread_ts": one.ts,
        "reply_count": len(replies),
        "reply_users": users,
        "reply_users_count": len(users),
        "latest_reply": replies[-1].ts,
        "is_locked": False,
        "subscribed": False,
    }
