"""People at work in many threads: they ask, steer, change their minds, stop, and come back."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from tests.chaos.slack import CHANNELS, CLAUDE_CHANNELS, PEOPLE


@dataclass
class Conversation:
    """A thread and whoever began it. `said` are the `ts` of what was written, `stops` how often Stop was pressed."""

    channel: str
    user: str
    root: str
    said: list[str] = field(default_factory=list)
    stops: int = 0


class People:
    """Drives the simulator's doors. `conversations` is what was said, for the checker to compare with."""

    def __init__(self, url: str, seed: int, *, claude: int) -> None:
        self._url = url
        self._lot = random.Random(seed)
        self._claude = claude
        self.conversations: list[Conversation] = []

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(self._url, headers={"X-Threadmill-Client": "chaos"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def post(self, door: str, **body: Any) -> dict[str, Any]:
        async with self._http.post(f"/sim/{door}", json=body) as answer:
            told: dict[str, Any] = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"the simulator refuses {door} {body}: {told}")
            return told

    async def thread(self, each: Conversation) -> dict[str, Any]:
        params = {"channel": each.channel, "ts": each.root}
        async with self._http.get("/sim/thread", params=params) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def work(self, sessions: int, pause: float) -> None:
        """Keep `sessions` threads busy for ever, `pause` seconds between what is said in one of them."""
        async with asyncio.TaskGroup() as tasks:
            for place in range(sessions):
                tasks.create_task(self._converse(place, pause), name=f"conversation {place}")

    async def _converse(self, place: int, pause: float) -> None:
        lot = random.Random(f"{self._lot.random()}{place}")
        await asyncio.sleep(lot.uniform(0, pause))
        channels = CLAUDE_CHANNELS if place < self._claude else CHANNELS[: -len(CLAUDE_CHANNELS)]
        each = await self.begin(lot.choice(channels), PEOPLE[place % len(PEOPLE)])
        while True:
            await asyncio.sleep(lot.uniform(0.2, 2.0) * pause)
            await self._act(each, lot)

    async def begin(self, channel: str, user: str) -> Conversation:
        """Open a thread."""
        told = await self.post("message", user=user, channel=channel, text="@threadmill begin: fix it")
        each = Conversation(channel, user, told["ts"], [told["ts"]])
        self.conversations.append(each)
        return each

    async def say(self, each: Conversation, text: str) -> str:
        """Write in the thread; its `ts`."""
        told = await self.post(
            "message", user=each.user, channel=each.channel, text=text, thread_ts=each.root
        )
        each.said.append(told["ts"])
        return str(told["ts"])

    async def _act(self, each: Conversation, lot: random.Random) -> None:
        what = lot.choices(["ask", "steer", "stop", "withdraw", "edit"], [60, 15, 10, 8, 7])[0]
        if what == "stop":
            each.stops += 1
            await self.post("stop", user=each.user, channel=each.channel, thread_ts=each.root)
            return
        ts = await self.say(each, f"please do number {len(each.said)}")
        if what == "steer":
            await asyncio.sleep(lot.uniform(0, 1.5))
            await self.say(each, f"rather number {len(each.said)}")
        elif what == "withdraw":
            await asyncio.sleep(lot.uniform(0, 0.5))
            await self.post("delete", user=each.user, channel=each.channel, ts=ts)
        elif what == "edit":
            await self.post("edit", user=each.user, channel=each.channel, ts=ts, text="no, the other one")
