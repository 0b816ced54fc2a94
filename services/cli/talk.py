"""`send`: say something in a thread from a terminal."""

import asyncio
import contextlib
import html
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import typer
import uvloop

from schemas.ends import TurnEnd
from schemas.inputs import Said
from schemas.keys import SessionKey, ts_token
from schemas.people import Person
from services.cli import story
from services.cli.place import CLIENT, Data, by_settings, connected, local, parsed_key
from services.cli.words import err, fail, out
from services.local.home import Address
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.follow import Follow

# How long ingress may take to store what the simulator delivers.
STORED_SECONDS = 30


class Saying(msgspec.Struct, frozen=True):
    """What is said, by whom, and where: in the thread `key`, or in a new one in `channel`."""

    text: str
    user: str
    channel: str
    key: SessionKey | None


def send(
    text: Annotated[str, typer.Argument(help="What to say.")],
    *,
    session: Annotated[
        SessionKey | None,
        typer.Option(parser=parsed_key, metavar="KEY", help="The thread to say it in; a new one without it."),
    ] = None,
    user: Annotated[str, typer.Option(help="Who says it: U1 is Ada, U2 is Grace.")] = "U1",
    channel: Annotated[
        str,
        typer.Option(
            help="Where the new thread begins: C1 is #general, C2 #backend, D1 Ada's direct messages."
        ),
    ] = "C1",
    as_json: Annotated[bool, typer.Option("--json", help="Print the turn's end as one JSON object.")] = False,
    data: Data = None,
) -> None:
    """Say something in a thread, and wait for the answer.

    The exit code is 0 when the turn completed, 1 when it ended otherwise.
    """
    if not text.strip():
        fail("there is nothing to say; give the message as one argument in quotes")
    end, key = uvloop.run(_send(Saying(text, user, channel, session), data))
    if as_json:
        typer.echo(msgspec.json.encode({"session": str(key)} | msgspec.to_builtins(end)).decode())
    else:
        out.print(end.text or _reason(end), markup=False, soft_wrap=True)
        err.print(f"[dim]{end.outcome} · session {key}[/dim]", soft_wrap=True)
    raise typer.Exit(0 if end.outcome == "completed" else 1)


def _reason(end: TurnEnd) -> str:
    again = f" You can start the next one at {end.retry_at.astimezone():%H:%M:%S}." if end.retry_at else ""
    return end.reason + again


async def _send(saying: Saying, data: Path | None) -> tuple[TurnEnd, SessionKey]:
    async with connected(data) as bus:
        if by_settings(data):
            key, sequence = await _publish(bus, saying)
        else:
            key, sequence = await _say(bus, await local(data), saying)
        return await _end(bus, key, sequence), key


async def _publish(bus: Bus, saying: Saying) -> tuple[SessionKey, int]:
    if saying.key is None:
        fail("name the thread with --session; only local mode can begin a new one from here")
    said = Said(id=f"cli-{bus.new_id()}", user=Person(id=saying.user), text=saying.text, source="cli")
    draft = Draft(subject=said.subject(saying.key), message=said, session=str(saying.key), fence=Fence(0))
    return saying.key, await bus.publish(draft)


async def _say(bus: Bus, address: Address, saying: Saying) -> tuple[SessionKey, int]:
    ts = await _write(address, saying)
    key = saying.key or SessionKey.of_thread("T1", saying.channel, ts)
    follow = Follow(bus, "SESSIONS", [f"session.{key}.in.{ts_token(ts)}"])
    try:
        async with (
            asyncio.timeout(STORED_SECONDS),
            contextlib.aclosing(follow.deliveries()) as deliveries,
        ):
            async for stored in deliveries:
                if stored:
                    return key, stored.sequence
    except TimeoutError:
        fail(f"ingress took no notice of the message; look at the thread at {address.url}/")
    raise AssertionError("following never ends")


async def _write(address: Address, saying: Saying) -> str:
    """Write the message into the simulated Slack; return its ts."""
    body, text = {"user": saying.user}, html.escape(saying.text, quote=False)
    if saying.key:
        body |= {
            "channel": saying.key.channel,
            "text": text,
            "thread_ts": saying.key.thread_ts,
        }
    else:
        body |= {"channel": saying.channel, "text": f"<@UBOT> {text}"}
    async with (
        aiohttp.ClientSession(headers=CLIENT) as http,
        http.post(f"{address.url}/sim/message", json=body) as answer,
    ):
        if answer.status == 404 and answer.content_type != "application/json":
            fail("this threadmill dev is connected to the real Slack; write there")
        told = await answer.json()
    if not told.get("ok"):
        fail(f"the message was not taken: {told.get('error')}")
    return str(told["ts"])


async def _end(bus: Bus, key: SessionKey, sequence: int) -> TurnEnd:
    """Wait for the end of the turn that took the input at `sequence`, showing what happens on a terminal."""
    filters = [f"session.{key}.out", f"session.{key}.end.*"]
    follow = Follow(bus, "SESSIONS", filters, after=sequence)
    async with contextlib.aclosing(follow.deliveries()) as deliveries:
        async for delivery in deliveries:
            message = story.message_of(delivery.subject, delivery.data) if delivery else None
            if isinstance(message, TurnEnd) and sequence in (message.turn, *message.inputs):
                return message
            if err.is_terminal and (line := story.line(message, datetime.now(UTC))):
                err.print(line)
    raise AssertionError("following never ends")
