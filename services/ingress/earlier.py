"""What stood in a thread before a session began there: the agent should know what it is called into."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

import msgspec

from schemas.keys import InvalidKey, SessionKey, token
from schemas.people import Person, Remark
from services.ingress import text
from services.ingress.directory import Directory
from services.ingress.slack_api import Json, SlackApi

# Slack's largest page; it may give less. The latest words are the ones kept, and a thread is told oldest first.
PAGE = 1_000
MOST_REMARKS = 100
MOST_CHARACTERS = 20_000
MOST_OF_ONE = 4_000
NOBODY = Person(id="threadmill", name="Threadmill")


class Earlier:
    """Reads threads of Slack as the bot `bot`."""

    def __init__(self, api: SlackApi, directory: Directory, bot: str) -> None:
        self._api = api
        self._directory = directory
        self._bot = bot

    async def before(self, key: SessionKey, ts: str) -> tuple[Remark, ...]:
        """Return what was said in the thread `key` before the message at `ts`, oldest first. Raises `SlackError`."""
        remarks = latest(
            [each async for message in self._messages(key, ts) if (each := self._remark(message, ts))]
        )
        people = {remark.user.id: remark.user for remark in remarks}
        named = await asyncio.gather(*map(self._directory.named, people.values()))
        names = {person.id: person for person in named}
        return tuple(Remark(user=names[each.user.id], text=each.text) for each in remarks)

    async def _messages(self, key: SessionKey, ts: str) -> AsyncIterator[Json]:
        cursor: str | None = None
        while cursor != "":
            page = await self._api.replies(key.channel, key.thread_ts, latest=ts, limit=PAGE, cursor=cursor)
            for message in page.messages:
                yield message
            cursor = page.cursor

    def _remark(self, message: Json, ts: str) -> Remark | None:
        who, at = str(message.get("user") or message.get("bot_id") or ""), str(message.get("ts") or "")
        words = text.plain(str(message.get("text") or ""), self._bot)
        if not words or who == self._bot or at == ts or message.get("is_ephemeral"):
            return None
        try:
            return Remark(user=Person(id=token(who), name=str(message.get("username") or "")), text=words)
        except InvalidKey:
            return None


def latest(remarks: Sequence[Remark]) -> list[Remark]:
    """Return the end of `remarks`, as much as an agent reads without losing sight of its task; oldest first.

    What is left out is said in its place.
    """
    kept: deque[Remark] = deque()
    room = MOST_CHARACTERS
    for remark in reversed(remarks):
        shown = msgspec.structs.replace(remark, text=_middle_out(remark.text))
        room -= len(shown.text)
        if room < 0 or len(kept) == MOST_REMARKS:
            left = len(remarks) - len(kept)
            kept.appendleft(Remark(user=NOBODY, text=f"({left} older messages are left out here)"))
            break
        kept.appendleft(shown)
    return list(kept)


def _middle_out(text: str) -> str:
    """Return a long text without its middle: what it is stands at its beginning, what came of it at its end."""
    if len(text) <= MOST_OF_ONE:
        return text
    half = MOST_OF_ONE // 2
    return f"{text[:half]}\n… ({len(text) - 2 * half} characters are left out here) …\n{text[-half:]}"
