"""Slack under load, as a process of its own (`python -m benchmarks.ack_load`): signed events over kept-alive connections.

Everything is made and signed before the clock starts, and the client is a bare socket, so that it takes as little of
the machine as can be.
"""

import asyncio
import time

import msgspec
import uvloop

from benchmarks.child import tell, told
from services.ingress.signature import sign

WARM_UP = 50
WITHIN = 60.0
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    "X-Slack-Request-Timestamp: {timestamp}\r\nX-Slack-Signature: {signature}\r\n\r\n"
)


class Load(msgspec.Struct, kw_only=True):
    """How many events over how many connections, to where."""

    port: int
    path: str
    signing_secret: str
    connections: int
    count: int


class Taken(msgspec.Struct, kw_only=True):
    """The latency of each event that got its 200, in seconds; how long all took; how many got something else."""

    latencies: list[float]
    seconds: float
    refused: int


def _event(ts: str) -> bytes:
    """An `app_mention` as Slack sends it."""
    text = "<@UBOT> please look at the failing test in the checkout service and fix it"
    elements = [{"type": "user", "user_id": "UBOT"}, {"type": "text", "text": text[7:]}]
    block = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}
    event = {
        "type": "app_mention",
        "user": "U1",
        "text": text,
        "ts": ts,
        "event_ts": ts,
        "channel": "C1",
        "team": "T1",
        "blocks": [block],
    }
    outer = {
        "type": "event_callback",
        "token": "unused",
        "team_id": "T1",
        "api_app_id": "A1",
        "event_id": f"Ev{ts.replace('.', '')}",
        "event_time": int(float(ts)),
        "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
        "is_ext_shared_channel": False,
    }
    return msgspec.json.encode(outer | {"event": event})


def _requests(load: Load) -> list[bytes]:
    first, timestamp = int(time.time() * 1e6), str(int(time.time()))
    requests = []
    for number in range(first, first + WARM_UP * load.connections + load.count):
        body = _event(f"{number // 1_000_000}.{number % 1_000_000:06d}")
        signature = sign(load.signing_secret, timestamp, body)
        head = HEAD.format(path=load.path, length=len(body), timestamp=timestamp, signature=signature)
        requests.append(head.encode() + body)
    return requests


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, request: bytes) -> bool:
        """Send, and tell whether the answer is a 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await self._reader.readexactly(length)
        return head.startswith(b"HTTP/1.1 200 ")

    async def work_off(self, requests: list[bytes], taken: Taken) -> None:
        while requests:
            request = requests.pop()
            began = time.perf_counter()
            if await self.post(request):
                taken.latencies.append(time.perf_counter() - began)
            else:
                taken.refused += 1

    def close(self) -> None:
        self._writer.close()


async def _main(load: Load) -> None:
    requests, taken = _requests(load), Taken(latencies=[], seconds=0, refused=0)
    connections = [
        _Connection(*await asyncio.open_connection("127.0.0.1", load.port)) for _ in range(load.connections)
    ]
    async with asyncio.timeout(WITHIN):
        for connection in connections:
            for _ in range(WARM_UP):
                await connection.post(requests.pop())
        began = time.perf_counter()
        await asyncio.gather(*(connection.work_off(requests, taken) for connection in connections))
        taken.seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    tell(taken)


if __name__ == "__main__":
    uvloop.run(_main(told(Load)))
