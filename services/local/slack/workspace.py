"""The workspace's state and the rules by which it changes. No I/O: time comes from the clock that is handed in."""

from collections.abc import Callable, Iterator

from services.local.slack.clock import Clock
from services.local.slack.errors import SlackError
from services.local.slack.model import BOT_USER, Channel, File, Message, Person, State, ThreadState

# Slack removes an assistant's status after two minutes without a message.
STATUS_LIFE = 120.0

Changed = Callable[[str, str], None]


class Workspace:
    """People, channels, messages, files. Errors are Slack's own codes as `SlackError`."""

    def __init__(self, state: State, clock: Clock) -> None:
        self.state = state
        self.clock = clock
        self.listeners: list[Changed] = []
        self._replies: dict[tuple[str, str], list[str]] = {}
        for messages in state.messages.values():
            for message in messages.values():
                self._index(message)

    # --- looking up -------------------------------------------------------------------------------------------

    def person(self, user: str) -> Person:
        """The member with this id. Raises `user_not_found`."""
        try:
            return self.state.people[user]
        except KeyError as e:
            raise SlackError("user_not_found") from e

    def channel(self, channel: str) -> Channel:
        """The channel with this id. Raises `channel_not_found`."""
        try:
            return self.state.channels[channel]
        except KeyError as e:
            raise SlackError("channel_not_found") from e

    def file(self, file: str) -> File:
        """The file with this id. Raises `file_not_found`."""
        try:
            return self.state.files[file]
        except KeyError as e:
            raise SlackError("file_not_found") from e

    def message(self, channel: str, ts: str, *, missing: str = "message_not_found") -> Message:
        """The message at `ts`, no tombstone. Raises `channel_not_found`, or `missing`."""
        found = self._at(channel, ts, missing)
        if found.deleted:
            raise SlackError(missing)
        return found

    def _at(self, channel: str, ts: str, missing: str) -> Message:
        self.channel(channel)
        try:
            found = self.state.messages[channel][ts]
        except KeyError as e:
            raise SlackError(missing) from e
        self._bury_dead_stream(found)
        return found

    def thread(self, channel: str, root: str) -> list[Message]:
        """The root and its replies in order, ephemeral ones included. Raises `thread_not_found`."""
        first = self._at(channel, root, "thread_not_found")
        if first.thread_ts not in {None, root}:
            raise SlackError("thread_not_found")
        return [first, *self.replies(channel, root)]

    def replies(self, channel: str, root: str) -> list[Message]:
        """The replies under a root, in order, ephemeral ones included."""
        return [self._at(channel, ts, "message_not_found") for ts in self._replies.get((channel, root), ())]

    def top_level(self, channel: str) -> Iterator[Message]:
        """The channel's messages outside of threads, oldest first."""
        self.channel(channel)
        for ts, message in self.state.messages[channel].items():
            if message.thread_ts is None:
                yield self._at(channel, ts, "message_not_found")

    def thread_state(self, channel: str, root: str) -> ThreadState:
        """What Slack shows at the thread now; a status whose time is over is gone."""
        state = self.state.threads[channel].setdefault(root, ThreadState())
        if state.status is not None and self.clock.now() >= state.status_until:
            state.status = None
        return state

    # --- changing ---------------------------------------------------------------------------------------------

    def next_ts(self) -> str:
        """A timestamp as Slack's: the time now, later than every one before."""
        self.state.last_micros = max(int(self.clock.now() * 1_000_000), self.state.last_micros + 1)
        seconds, micros = divmod(self.state.last_micros, 1_000_000)
        return f"{seconds}.{micros:06d}"

    def add(self, message: Message) -> Message:
        """Put a new message in its place. A message of the bot ends the thread's assistant status."""
        self.state.messages[message.channel][message.ts] = message
        self._index(message)
        if message.by_bot and message.only_for is None:
            self.thread_state(message.channel, message.root).status = None
        self.touch(message.channel, message.root)
        return message

    def remove(self, message: Message) -> None:
        """Take a message away. A root with replies leaves a tombstone, as in Slack."""
        if self._replies.get((message.channel, message.ts)):
            self.state.messages[message.channel][message.ts] = Message(
                ts=message.ts,
                channel=message.channel,
                user="USLACKBOT",
                text="This message was deleted.",
                deleted=True,
            )
        else:
            del self.state.messages[message.channel][message.ts]
        if message.thread_ts:
            self._replies[message.channel, message.thread_ts].remove(message.ts)
        self.touch(message.channel, message.root)

    def react(self, message: Message, user: str, name: str) -> None:
        """Add a reaction. Raises `already_reacted`."""
        users = message.reactions.setdefault(name, [])
        if user in users:
            raise SlackError("already_reacted")
        users.append(user)
        self.touch(message.channel, message.root)

    def unreact(self, message: Message, user: str, name: str) -> None:
        """Remove a reaction. Raises `no_reaction`."""
        users = message.reactions.get(name, [])
        if user not in users:
            raise SlackError("no_reaction")
        users.remove(user)
        if not users:
            del message.reactions[name]
        self.touch(message.channel, message.root)

    def open_direct(self, user: str) -> Channel:
        """The direct conversation of the bot with `user`, opened if it is new. Raises `user_not_found`."""
        self.person(user)
        for channel in self.state.channels.values():
            if channel.is_im and channel.user == user:
                return channel
        number = 1 + sum(channel.is_im for channel in self.state.channels.values())
        opened = Channel(id=f"D{number}", name="", members=[user, BOT_USER], is_im=True, user=user)
        self.state.channels[opened.id] = opened
        self.state.messages[opened.id] = {}
        self.state.threads[opened.id] = {}
        return opened

    def add_file(self, *, name: str, media_type: str, size: int, user: str) -> File:
        """Enter a file that nobody sees yet."""
        self.state.last_file += 1
        file = File(
            id=f"F{self.state.last_file}",
            name=name,
            title=name,
            media_type=media_type,
            size=size,
            user=user,
            created=int(self.clock.now()),
        )
        self.state.files[file.id] = file
        return file

    def touch(self, channel: str, root: str) -> None:
        """Tell who listens that something in this thread is different now."""
        for listener in self.listeners:
            listener(channel, root)

    def _index(self, message: Message) -> None:
        if message.thread_ts and message.thread_ts != message.ts:
            self._replies.setdefault((message.channel, message.thread_ts), []).append(message.ts)

    def _bury_dead_stream(self, message: Message) -> None:
        stream = message.stream
        if stream and stream.state == "in_progress" and self.clock.now() >= stream.dies_at:
            stream.state = "errored"
