"""The Slack simulator as a process of its own, larger than local mode's, and writing down what the app acknowledged.

`python -m tests.chaos.slack FOLDER [INGRESS_URL]`. It prints its address, keeps the credentials in `slack.json`, and
adds a line to `acknowledged.jsonl` for every delivery that was answered as taken.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from services.local.server import listen, url_of
from services.local.slack.app import Simulator
from services.local.slack.http_transport import HttpTransport
from services.local.slack.model import BOT_USER, Channel, Person
from services.local.slack.parcels import Parcel
from services.local.slack.socket_mode import Connection

# Slack takes a message a second in each channel: threads spread over many do not wait for each other.
CHANNELS = [f"C{number}" for number in range(1, 25)]
CLAUDE_CHANNELS = CHANNELS[-4:]
PEOPLE = [f"U{number}" for number in range(1, 13)]
# Slack tries again after 1 min and 5 min; the campaign's minutes are shorter.
TIME_SCALE = 0.05

Deliver = Callable[[Any, Parcel], Awaitable[Any]]


def larger(simulator: Simulator) -> None:
    """Add the people and channels of a company to the workspace."""
    state = simulator.workspace.state
    for person in PEOPLE:
        state.people.setdefault(person, Person(id=person, name=person.lower(), real_name=f"Person {person}"))
    for channel in CHANNELS:
        state.channels[channel] = Channel(id=channel, name=channel.lower(), members=[*PEOPLE, BOT_USER])
        state.messages.setdefault(channel, {})
        state.threads.setdefault(channel, {})


def write_down(file: Path) -> None:
    """Add a line for each delivery that the app acknowledged, over whichever transport."""

    def wrapped(deliver: Deliver) -> Deliver:
        async def delivered(self: Any, parcel: Parcel) -> Any:
            answer = await deliver(self, parcel)
            with file.open("a") as lines:
                lines.write(json.dumps({"kind": parcel.kind, "event": parcel.payload.get("event")}) + "\n")
            return answer

        return delivered

    HttpTransport.deliver = wrapped(HttpTransport.deliver)  # type: ignore[method-assign]
    Connection.deliver = wrapped(Connection.deliver)  # type: ignore[method-assign]


async def main(folder: Path, ingress: str | None) -> None:
    simulator = Simulator(time_scale=TIME_SCALE)
    larger(simulator)
    write_down(folder / "acknowledged.jsonl")
    simulator.deliver_to(ingress)
    runner, port = await listen(simulator.app, "127.0.0.1", 0)
    await simulator.start()
    credentials = {
        "SLACK_BOT_TOKEN": simulator.bot_token,
        "SLACK_APP_TOKEN": simulator.app_token,
        "SLACK_SIGNING_SECRET": simulator.signing_secret,
    }
    told = {"url": url_of("127.0.0.1", port), "credentials": credentials}
    draft = folder / "slack.json.new"
    draft.write_text(json.dumps(told))
    draft.replace(folder / "slack.json")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await simulator.stop()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
