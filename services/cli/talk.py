"""`send` and `tail`: talk in a thread, and watch one, from a terminal."""

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import typer
import uvloop
from nats.aio.msg import Msg

from schemas import live
from schemas.base import MalformedMessage
from schemas.ends import TurnEnd
from schemas.inputs import Said
from schemas.keys import InvalidKey, SessionKey, ts_token
from schemas.people import Person
from services.cli import story
from services.cli.place import CLIENT, Data, connected, local
from services.cli.words import err, fail, out
from services.local.home import Address
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.follow import Follow

Session = Annotated[
    str | None, typer.Option("--session", help="The session's key <team>.<channel>.<thread>.")
]


def send(
    text: Annotated[str, typer.Argument(help="What to say.")],
    *,
    session: Session = None,
    user: Annotated[str, typer.Option(help="Who says it.")] = "U1",
    channel: Annotated[str, typer.Option(help="Where a new thread begins, without --session.")] = "C1",
    as_json: Annotated[bool, typer.Option("--json", help="Print the turn's end as JSON.")] = False,
    data: Data = None,
) -> None:
    """Say something in a thread and wait for the turn's end; a new thread begins without --session."""
    end, key = uvloop.run(_send(text, session, user, channel, data))
    if as_json:
        typer.echo(msgspec.json.encode({"session": str(key)} | msgspec.to_builtins(end)).decode())
    else:
        out.print(end.text or end.reason, markup=False, soft_wrap=True)
        err.print(f"[dim]{end.outcome} · session {key}[/dim]", soft_wrap=True)
    raise typer.Exit(0 if end.outcome == "completed" else 1)


async def _send(
    text: str, session: str | None, user: str, channel: str, data: Path | None
) -> tuple[TurnEnd, SessionKey]:
    key = _key(session) if session else None
    async with connected(data) as bus:
        if data is None and os.environ.get("THREADMILL_NATS_URL"):
            key, sequence = await _publish(bus, text, key, user)
        else:
            key, sequence = await _say(bus, await local(data), text, key, user=user, channel=channel)
        return await _end(bus, key, sequence), key


def _key(session: str) -> SessionKey:
    try:
        return SessionKey.parse(session)
    except InvalidKey as e:
        fail(f"{e}; `threadmill sessions` lists the keys")


async def _publish(bus: Bus, text: str, key: SessionKey | None, user: str) -> tuple[SessionKey, int]:
    if key is None:
        fail("name the thread with --session; only local mode can begin a new one from here")
    said = Said(id=f"cli-{bus.new_id()}", user=Person(id=user), text=text, source="cli")
    draft = Draft(subject=said.subject(key), message=said, session=str(key), fence=Fence(0))
    return key, await bus.publish(draft)


async def _say(
    bus: Bus, address: Address, text: str, key: SessionKey | None, *, user: str, channel: str
) -> tuple[SessionKey, int]:
    body = {
        "user": user,
        "channel": key.channel if key else channel,
        "text": text if key else f"<@UBOT> {text}",
    }
    body |= {"thread_ts": key.thread_ts} if key else {}
    async with (
        aiohttp.ClientSession(headers=CLIENT) as http,
        http.post(f"{address.url}/sim/message", json=body) as answer,
    ):
        told = await answer.json()
    if not told.get("ok"):
        fail(f"the message was not taken: {told.get('error')}")
    key = key or SessionKey.of_thread("T1", channel, told["ts"])
    subject = f"session.{key}.in.{ts_token(told['ts'])}"
    async with asyncio.timeout(10):
        async for stored in Follow(bus, "SESSIONS", [subject]).deliveries():
            if stored:
                return key, stored.sequence
    raise AssertionError("following never ends")


async def _end(bus: Bus, key: SessionKey, sequence: int) -> TurnEnd:
    """Wait for the end of the turn that took the input at `sequence`, showing what happens."""
    filters = [f"session.{key}.out", f"session.{key}.end.*"]
    async with contextlib.aclosing(
        Follow(bus, "SESSIONS", filters, after=sequence).deliveries()
    ) as deliveries:
        async for delivery in deliveries:
            message = story.message_of(delivery.subject, delivery.data) if delivery else None
            if isinstance(message, TurnEnd) and sequence in (message.turn, *message.inputs):
                return message
            if err.is_terminal and (line := story.line(message, datetime.now(UTC))):
                err.print(line)
    raise AssertionError("following never ends")


def tail(
    session: Annotated[
        str | None, typer.Argument(help="The session's key; without it, every session.")
    ] = None,
    *,
    history: Annotated[bool, typer.Option(help="Begin with what is still in the stream.")] = True,
    data: Data = None,
) -> None:
    """Watch a session live."""
    key = str(_key(session)) if session else "*.*.*"
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_tail(key, history=history, data=data))


async def _tail(key: str, *, history: bool, data: Path | None) -> None:
    async with connected(data) as bus:
        await bus.client.subscribe(f"live.{key}", cb=_show_live)
        filters = [f"session.{key}.{leaf}" for leaf in ("in.*", "control", "out", "end.*")]
        async for delivery in Follow(
            bus, "SESSIONS", filters, start="all" if history else "new"
        ).deliveries():
            if delivery is None:
                continue
            at = datetime.fromtimestamp(delivery.timestamp, UTC)
            if line := story.line(story.message_of(delivery.subject, delivery.data), at):
                name = ".".join(delivery.subject.split(".")[1:4])
                out.print(line if "*" not in key else f"[dim]{name}[/dim] {line}")


async def _show_live(message: Msg) -> None:
    with contextlib.suppress(MalformedMessage):
        told = live.LIVES.decode(message.data)
        if isinstance(told, live.Status) and out.is_terminal:
            out.print(f"[dim italic]{told.text}[/dim italic]")
