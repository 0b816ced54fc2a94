"""What a workspace is made of, in the form in which it is also kept on disk."""

import secrets
from typing import Any, Literal

import msgspec

Json = dict[str, Any]

TEAM = "T1"
BOT_USER = "UBOT"
BOT_ID = "B1"
APP_ID = "A1"
BOT_NAME = "threadmill"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What an installed app holds: its bot token, its app-level token, and the secret that signs deliveries."""

    bot_token: str
    app_token: str
    signing_secret: str

    @classmethod
    def fresh(cls) -> "Credentials":
        """New random ones, in the shapes that Slack gives them."""
        return cls(
            bot_token=f"xoxb-{secrets.token_hex(20)}",
            app_token=f"xapp-1-{APP_ID}-{secrets.token_hex(20)}",
            signing_secret=secrets.token_hex(16),
        )


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the workspace, the bot included."""

    id: str
    name: str
    real_name: str
    is_bot: bool = False


class Channel(msgspec.Struct, kw_only=True):
    """A channel, or with `is_im` the direct messages of the bot and `user`."""

    id: str
    name: str
    members: list[str]
    is_im: bool = False
    user: str | None = None


class File(msgspec.Struct, kw_only=True):
    """A file's facts; its content is kept apart. `shared` is False until its upload is completed."""

    id: str
    name: str
    title: str
    media_type: str
    size: int
    user: str
    created: int
    shared: bool = False


class Stream(msgspec.Struct, kw_only=True):
    """A streaming message's life. `dies_at` is in seconds since the epoch; `mode` is fixed by the first content."""

    dies_at: float
    state: Literal["in_progress", "completed", "errored"] = "in_progress"
    mode: Literal["text", "chunks"] | None = None
    display: Literal["timeline", "plan"] = "timeline"
    stopped_by_user: bool = False


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message. `only_for` names the one person who sees an ephemeral one; `reactions` maps a name to its users.

    `deleted` marks the tombstone that Slack leaves where a thread's first message was.
    """

    ts: str
    channel: str
    user: str
    text: str = ""
    thread_ts: str | None = None
    blocks: list[Json] = []
    attachments: list[Json] = []
    files: list[str] = []
    reactions: dict[str, list[str]] = {}
    metadata: Json | None = None
    edited: str | None = None
    only_for: str | None = None
    stream: Stream | None = None
    client_msg_id: str | None = None
    deleted: bool = False

    @property
    def root(self) -> str:
        """The `ts` of the thread that this message belongs to, its own if it starts one."""
        return self.thread_ts or self.ts

    @property
    def by_bot(self) -> bool:
        """Whether the app wrote it."""
        return self.user == BOT_USER


class ThreadState(msgspec.Struct, kw_only=True):
    """What Slack shows at a thread: the assistant's status until `status_until`, and the agent session's."""

    status: str | None = None
    status_until: float = 0.0
    loading_messages: list[str] = []
    session_status: Literal["processing", "active", "suspended", "closed"] | None = None
    session_title: str | None = None


class State(msgspec.Struct, kw_only=True):
    """The whole workspace. `messages` is by channel and `ts`, `threads` by channel and root `ts`."""

    credentials: Credentials
    people: dict[str, Person]
    channels: dict[str, Channel]
    messages: dict[str, dict[str, Message]]
    threads: dict[str, dict[str, ThreadState]]
    files: dict[str, File]
    last_micros: int = 0
    last_file: int = 0


def seed(credentials: Credentials | None = None) -> State:
    """A workspace as every run begins: two people, two channels, one direct conversation with the bot."""
    people = (
        Person(id="U1", name="ada", real_name="Ada Lovelace"),
        Person(id="U2", name="grace", real_name="Grace Hopper"),
        Person(id=BOT_USER, name=BOT_NAME, real_name="Threadmill", is_bot=True),
    )
    everyone = [person.id for person in people]
    channels = (
        Channel(id="C1", name="general", members=list(everyone)),
        Channel(id="C2", name="backend", members=list(everyone)),
        Channel(id="D1", name="", members=["U1", BOT_USER], is_im=True, user="U1"),
    )
    return State(
        credentials=credentials or Credentials.fresh(),
        people={person.id: person for person in people},
        channels={channel.id: channel for channel in channels},
        messages={channel.id: {} for channel in channels},
        threads={channel.id: {} for channel in channels},
        files={},
    )
