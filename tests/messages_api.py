"""A stub of Anthropic's Messages API, so that the real Claude Code can be driven without a model.

A test says what the model answers with `reply_to(pattern, *replies)`: the newest human text that contains `pattern` gets
these replies one after the other (a tool call, then what to say after its result). What no rule answers goes to the
built-in script: `write FILE`, `run: COMMAND`, `slow`, else an echo. By hand: `python -m tests.messages_api --port P`.
"""

import argparse
import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

from aiohttp import web


@dataclass(frozen=True)
class Say:
    """The model says `text` in `pieces` deltas, `pause` seconds apart, after `delay` seconds."""

    text: str
    pieces: int = 1
    pause: float = 0.0
    delay: float = 0.0


@dataclass(frozen=True)
class Call:
    """The model calls tool `name`, after saying `text` if there is any."""

    name: str
    input: Mapping[str, Any]
    text: str = ""
    delay: float = 0.0


@dataclass(frozen=True)
class Fail:
    """The API answers with an error status, such as 529 when it is overloaded."""

    status: int = 529
    kind: str = "overloaded_error"


@dataclass(frozen=True)
class Hang:
    """The API accepts the request and never answers."""


Reply = Say | Call | Fail | Hang
Answering = Reply | Callable[[Mapping[str, Any]], Reply]  # or what makes the reply of a request's body
ADDED_BY_CLAUDE_CODE = ("<system-reminder>", "Tool loaded.")
SAID_MID_TURN = re.compile(
    r"new message while you were working:\n(.*?)\n\nThis is how Claude Code", re.DOTALL
)


def human_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what people wrote, in order, without what Claude Code adds around it."""
    texts: list[str] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        written = [block["text"] for block in blocks if block["type"] == "text"]
        if message["role"] == "user":
            texts += [text for text in written if not text.startswith(ADDED_BY_CLAUDE_CODE)]
        elif message["role"] == "system":
            texts += [match[1] for text in written for match in SAID_MID_TURN.finditer(text)]
    return texts


def of_the_conversation(body: Mapping[str, Any]) -> bool:
    """Tell it from what clients ask beside it: titles and the like without tools, what a person may type next."""
    texts = human_texts(body["messages"])
    return bool(body.get("tools")) and not (texts and texts[-1].startswith("[SUGGESTION MODE"))


def built_in(text: str, answered: int) -> Reply:
    """Decide what the stub says to `text` when it has already answered it `answered` times."""
    if answered:
        return Say("Done.")
    if written := re.search(r"\bwrite (\S+)", text):
        name = written[1]
        return Call("Write", {"file_path": name, "content": f"{name} was written by the stub.\n"})
    if command := re.search(r"\brun: (.+)", text):
        return Call("Bash", {"command": command[1].strip(), "description": "Runs what was asked"})
    if "slow" in text:
        return Say("One word after the other. " * 20, pieces=100, pause=0.05)
    return Say(f"You said: {text[-2000:]}")


@dataclass
class MessagesApi:
    """The stub; `async with MessagesApi() as api` serves it on a free port, `api.requests` are the conversation's bodies."""

    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    _rules: list[tuple[str, deque[Answering]]] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_route("*", "/{rest:.*}", self._anything_else)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        if self._runner:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base URL, for ANTHROPIC_BASE_URL."""
        return f"http://127.0.0.1:{self.port}"

    def reply_to(self, pattern: str, *replies: Answering) -> None:
        """Answer the newest human text that contains `pattern` with `replies`, each once and in order."""
        self._rules.append((pattern, deque(replies)))

    async def received(self, count: int) -> None:
        """Wait until `count` requests for a message have arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    def _next_reply(self, body: Mapping[str, Any]) -> Reply:
        text = (human_texts(body["messages"]) or [""])[-1]
        for pattern, replies in self._rules:
            if replies and pattern in text:
                reply = replies.popleft()
                return reply(body) if callable(reply) else reply
        return built_in(text, self._answers_since(body["messages"], text))

    @staticmethod
    def _answers_since(messages: Sequence[Mapping[str, Any]], text: str) -> int:
        answers = 0
        for message in messages:
            if text in human_texts([message]):
                answers = 0
            answers += message["role"] == "assistant"
        return answers

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if of_the_conversation(body):
            reply = self._next_reply(body)
            async with self._changed:
                self.requests.append(body)
                self._changed.notify_all()
        else:
            reply = Say("A title")
        if isinstance(reply, Hang):
            await self._stopping.wait()
            reply = Fail()
        if isinstance(reply, Fail):
            error = {"type": "error", "error": {"type": reply.kind, "message": "The stub refuses."}}
            return web.json_response(error, status=reply.status)
        return await self._stream(request, body["model"], reply)

    async def _stream(self, request: web.Request, model: str, reply: Say | Call) -> web.StreamResponse:
        await asyncio.sleep(reply.delay)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for event in events_of(model, reply):
                await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return response

    async def _count_tokens(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"input_tokens": len(json.dumps(body["messages"])) // 4})

    async def _anything_else(self, _: web.Request) -> web.Response:
        return web.json_response({})


async def events_of(model: str, reply: Say | Call) -> AsyncIterator[dict[str, Any]]:
    """Yield the server-sent events of one reply."""
    usage = {
        "input_tokens": 100,
        "output_tokens": 1,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 3,
    }
    message = {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
    }
    yield {
        "type": "message_start",
        "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage},
    }
    index = 0
    if reply.text:
        async for event in _text_events(index, reply):
            yield event
        index += 1
    if isinstance(reply, Call):
        block = {"type": "tool_use", "id": f"toolu_{uuid4().hex[:24]}", "name": reply.name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(dict(reply.input))}
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    reason = "tool_use" if isinstance(reply, Call) else "end_turn"
    ended = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {**usage, "output_tokens": 50}}
    yield {"type": "message_stop"}


async def _text_events(index: int, reply: Say | Call) -> AsyncIterator[dict[str, Any]]:
    pieces, pause = (reply.pieces, reply.pause) if isinstance(reply, Say) else (1, 0.0)
    size = -(-len(reply.text) // pieces)
    yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
    for start in range(0, len(reply.text), size):
        delta = {"type": "text_delta", "text": reply.text[start : start + size]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        await asyncio.sleep(pause)
    yield {"type": "content_block_stop", "index": index}


async def _serve(port: int) -> None:
    async with MessagesApi(port=port) as api:
        print(f"ANTHROPIC_BASE_URL={api.url} ANTHROPIC_API_KEY=stub threadmill dev", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stub of Anthropic's Messages API.")
    parser.add_argument("--port", type=int, default=8701)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
