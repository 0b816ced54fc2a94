"""What we read of the Events API. Slack adds fields at will, so unknown ones pass; what we read has the right type."""

import msgspec

from services.ingress.payload import MALFORMED, InvalidPayload, UnknownPayload, decode, outline


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


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """Slack asks whether an address is ours."""

    challenge: str


EVENT_TYPES = {"message", "app_mention", "reaction_added", "agent_session_stopped"}

_callback = msgspec.json.Decoder(Callback)


def read_event(body: bytes) -> Callback | Challenge:
    """Return the event in `body`. Raises `InvalidPayload`, `UnknownPayload`."""
    try:
        return _callback.decode(body)
    except MALFORMED as e:
        kind, inner = outline(body)
        if kind == "url_verification":
            return decode(body, Challenge)
        if (inner or kind) and (inner or kind) not in EVENT_TYPES | {"event_callback"}:
            raise UnknownPayload(inner or kind) from e
        raise InvalidPayload(f"not an event: {e}") from e
