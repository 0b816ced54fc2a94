"""What already stands in a thread, as Slack tells it: what a new owner reads before it writes. Pure."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from schemas.keys import SessionKey
from services.ingress.slack_api import Json

What = Literal["turn", "part", "question", "notice", "live", "controls"]
PREFIX = "threadmill_"
CARDS = frozenset({"task_card", "plan"})


class Mark(NamedTuple):
    """What identifies one of our messages: what it is, the place in the log that it shows, and its part."""

    what: str
    sequence: int
    part: int = 0


class Shared(NamedTuple):
    """A file of ours in the thread."""

    name: str
    size: int
    ts: str


class Piece(NamedTuple):
    """A stream of ours that shows a part of a turn (0 while nothing tells which); `cards` tells of more than text."""

    ts: str
    turn: int
    text: str
    cards: bool


def metadata(key: SessionKey, turn: int, mark: Mark) -> Json:
    """Return the metadata that a message carries, so that whoever comes later knows what it is."""
    payload: Json = {"session": str(key), "turn": turn, "sequence": mark.sequence}
    if mark.part:
        payload["part"] = mark.part
    return {"event_type": f"{PREFIX}{mark.what}", "event_payload": payload}


class Ledger:
    """The messages of ours in one thread: by what they show, the streams that nobody stopped, files, reactions.

    `pieces` are the streams that were stopped before their turn's end, `finals` what the turns' final messages say.
    """

    def __init__(self) -> None:
        self.posted: dict[Mark, list[str]] = {}
        self.streams: list[Piece] = []
        self.pieces: list[Piece] = []
        self.finals: dict[int, str] = {}
        self.files: list[Shared] = []
        self.reactions: dict[str, set[str]] = {}

    @classmethod
    def read(cls, key: SessionKey, messages: Iterable[Json], bot_user: str) -> "Ledger":
        """Return what `messages` (as Slack's conversations.replies gives them) hold of `bot_user`'s."""
        ledger = cls()
        for message in messages:
            ts = str(message.get("ts", ""))
            mine = {
                str(each.get("name"))
                for each in message.get("reactions", ())
                if bot_user in each.get("users", ())
            }
            if mine:
                ledger.reactions[ts] = mine
            if message.get("user") == bot_user:
                ledger._note(key, message, ts)
        return ledger

    def _note(self, key: SessionKey, message: Json, ts: str) -> None:
        if mark := _mark(key, message.get("metadata") or {}):
            self.posted.setdefault(mark, []).append(ts)
            if mark.what == "turn":
                turn = int(message["metadata"]["event_payload"].get("turn", 0))
                self.finals[turn] = str(message.get("text") or "")
            if mark.what == "live":
                self.pieces.append(_piece(message, ts, mark.sequence))
        elif message.get("streaming_state") == "in_progress":
            self.streams.append(_piece(message, ts, 0))
        self.files += [
            Shared(str(file.get("name", "")), int(file.get("size", 0)), ts)
            for file in message.get("files", ())
        ]

    def has(self, mark: Mark) -> str | None:
        """Return the `ts` of the message with this mark, None if there is none."""
        found = self.posted.get(mark)
        return found[0] if found else None

    def file(self, name: str, size: int) -> str | None:
        """Return the `ts` of the message with this file, None if there is none."""
        return next((one.ts for one in self.files if (one.name, one.size) == (name, size)), None)

    def places(self, what: What) -> list[str]:
        """Return the `ts` of every message of one kind."""
        return [ts for mark, places in self.posted.items() if mark.what == what for ts in places]

    def repeated(self) -> list[str]:
        """Return the `ts` of every piece of a turn that shows nothing but what the turn's final message says too."""
        return [
            each.ts
            for each in self.pieces
            if each.text.strip() and not each.cards and carries(self.finals.get(each.turn, ""), each.text)
        ]

    def doubles(self) -> list[str]:
        """Return the `ts` of every message that says again what another one says.

        The streams of a turn share their mark and are no doubles: each shows another piece of it.
        """
        again = [ts for mark, places in self.posted.items() if mark.what != "live" for ts in places[1:]]
        return again + self.repeated()


def carries(whole: str, part: str) -> bool:
    """Whether `part` stands in `whole`, whatever the white space between its words."""
    return " ".join(part.split()) in " ".join(whole.split())


def _piece(message: Json, ts: str, turn: int) -> Piece:
    cards = any(block.get("type") in CARDS for block in message.get("blocks") or ())
    return Piece(ts, turn, str(message.get("text") or ""), cards)


def _mark(key: SessionKey, found: Json) -> Mark | None:
    kind, payload = str(found.get("event_type", "")), found.get("event_payload") or {}
    if not kind.startswith(PREFIX) or payload.get("session") != str(key):
        return None
    return Mark(kind.removeprefix(PREFIX), int(payload.get("sequence", 0)), int(payload.get("part", 0)))
