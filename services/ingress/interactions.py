"""What we read of Slack's interactivity: who pressed which of our elements, and where."""

import msgspec

from services.ingress.payload import MALFORMED, InvalidPayload, UnknownPayload, outline


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


_press = msgspec.json.Decoder(Press)


def read_press(body: bytes) -> Press:
    """Return the press in `body`. Raises `InvalidPayload`, `UnknownPayload`."""
    try:
        return _press.decode(body)
    except MALFORMED as e:
        kind, _ = outline(body)
        if kind and kind != "block_actions":
            raise UnknownPayload(kind) from e
        raise InvalidPayload(f"not an interaction: {e}") from e
