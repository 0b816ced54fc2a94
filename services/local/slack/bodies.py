"""The bodies that the simulator's doors take. What one does not know it refuses."""

from typing import Annotated

import msgspec

from services.local.slack.limits import FILES_PER_MESSAGE, POSTED_TEXT

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Entries = dict[str, dict[str, Annotated[str, msgspec.Meta(max_length=3000)]]]
Text = Annotated[str, msgspec.Meta(max_length=POSTED_TEXT)]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A body that a door takes; what it does not know it refuses."""


class Attached(Body, kw_only=True):
    """A file with a message. `content` is base64."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    content: str
    media_type: Annotated[str, msgspec.Meta(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=100)] | None = None


class Say(Body, kw_only=True):
    """A person writes."""

    user: Id
    channel: Id
    text: Text
    thread_ts: Id | None = None
    files: Annotated[list[Attached], msgspec.Meta(max_length=FILES_PER_MESSAGE)] = []


class Press(Body, kw_only=True):
    """A person presses a button or chooses an option; `value` is the option's."""

    user: Id
    channel: Id
    message_ts: Id
    action_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    value: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class React(Body, kw_only=True):
    """A person adds a reaction, or takes it back."""

    user: Id
    channel: Id
    ts: Id
    name: Annotated[str, msgspec.Meta(max_length=120)]
    remove: bool = False


class Edit(Body, kw_only=True):
    """A person changes what they wrote."""

    user: Id
    channel: Id
    ts: Id
    text: Text


class Delete(Body, kw_only=True):
    """A person deletes what they wrote."""

    user: Id
    channel: Id
    ts: Id


class Stop(Body, kw_only=True):
    """A person presses Slack's own Stop at an agent session."""

    user: Id
    channel: Id
    thread_ts: Id


class Submit(Body, kw_only=True):
    """A person sends off a modal. `values` is by block id and action id; an option is named by its value."""

    user: Id
    view_id: Id
    values: Entries = msgspec.field(default_factory=dict)
