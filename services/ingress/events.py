"""What we read of Slack's payloads. Slack adds fields at will, so unknown ones pass; what we read has the right type."""

from typing import TypeVar

import msgspec


class InvalidPayload(ValueError):
    """A payload that Slack would not send; the sentence says where it is wrong."""


class UnknownPayload(Exception):
    """A well-formed payload of a type that nobody here reads; the text is its type."""


class SlackFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a message; `size` in bytes. `mode` is `hosted` for Slack's own, `external` for a link elsewhere."""

    id: str
    name: str | None = None
    mimetype: str | None = None
    size: int = 0
    mode: str = "hosted"
    url_private_download: str | None = None
    url_private: str | None = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it stands inside of `message_changed` and `message_deleted`."""

    ts: str
    user: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    subtype: str | None = None
    text: str | None = None
    thread_ts: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """Somebody wrote, changed or deleted a message; `subtype` tells which, None for a plain one."""

    channel: str
    ts: str
    event_ts: str | None = None
    subtype: str | None = None
    channel_type: str | None = None
    user: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    text: str | None = None
    thread_ts: str | None = None
    files: tuple[SlackFile, ...] | None = None
    team: str | None = None
    user_team: str | None = None
    source_team: str | None = None
    message: Written | None = None
    previous_message: Written | None = None
    deleted_ts: str | None = None


class Mention(Message, frozen=True, kw_only=True, tag="app_mention"):
    """The twin of a message that mentions the bot, with the same `ts`."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """What a reaction is at; `channel` and `ts` are there for messages."""

    type: str = "message"
    channel: str | None = None
    ts: str | None = None


class Reaction(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reaction_added"):
    """Somebody reacted."""

    user: str
    reaction: str
    item: Item
    event_ts: str


class SessionStopped(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="agent_session_stopped"
):
    """Somebody pressed Slack's own Stop at an agent's session."""

    channel: str
    thread_ts: str
    event_ts: str
    user: str | None = None


Event = Message | Mention | Reaction | SessionStopped


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """One installation to which the event is visible; `user_id` is the bot as a user there."""

    team_id: str | None = None
    user_id: str | None = None
    is_bot: bool = False


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its envelope."""

    event: Event
    team_id: str
    api_app_id: str = ""
    authorizations: tuple[Authorization, ...] | None = None
    is_ext_shared_channel: bool = False

    @property
    def team(self) -> str:
        """The workspace of our installation, which in a shared channel need not be the sender's."""
        first = self.authorizations[0] if self.authorizations else None
        return (first.team_id if first else None) or self.team_id

    @property
    def bot(self) -> str | None:
        """The bot as a user, where Slack tells."""
        first = self.authorizations[0] if self.authorizations else None
        return first.user_id if first and first.is_bot else None


class Someone(msgspec.Struct, frozen=True, kw_only=True):
    """Who pressed."""

    id: str
    name: str | None = None
    username: str | None = None
    team_id: str | None = None


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace or a channel."""

    id: str
    name: str | None = None


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pressed element stands."""

    message_ts: str | None = None
    thread_ts: str | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One pressed element."""

    action_id: str
    action_ts: str
    value: str | None = None


class Press(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="block_actions"):
    """Somebody pressed buttons of a message."""

    user: Someone
    actions: tuple[Action, ...]
    team: Named | None = None
    channel: Named | None = None
    container: Container | None = None
    trigger_id: str = ""
    is_enterprise_install: bool = False


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """Slack asks whether an address is ours."""

    challenge: str


class _Kind(msgspec.Struct):
    type: str = ""


class _Outline(msgspec.Struct):
    type: str = ""
    event: _Kind | None = None


EVENT_TYPES = {"message", "app_mention", "reaction_added", "agent_session_stopped"}
T = TypeVar("T")

_callback = msgspec.json.Decoder(Callback)
_press = msgspec.json.Decoder(Press)


def read_event(body: bytes) -> Callback | Challenge:
    """Return the event in `body`. Raises `InvalidPayload`, `UnknownPayload`."""
    try:
        return _callback.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        outline = _outline(body)
        if outline.type == "url_verification":
            return _decode(body, Challenge)
        kind = outline.event.type if outline.event else outline.type
        if kind and kind not in EVENT_TYPES | {"event_callback"}:
            raise UnknownPayload(kind) from e
        raise InvalidPayload(f"not an event: {e}") from e


def read_press(body: bytes) -> Press:
    """Return the press in `body`. Raises `InvalidPayload`, `UnknownPayload`."""
    try:
        return _press.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        kind = _outline(body).type
        if kind and kind != "block_actions":
            raise UnknownPayload(kind) from e
        raise InvalidPayload(f"not an interaction: {e}") from e


def _outline(body: bytes) -> _Outline:
    return _decode(body, _Outline)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise InvalidPayload(f"not a payload of Slack's: {e}") from e
