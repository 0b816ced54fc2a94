"""What is in the images that Pods name, as far as a process of this machine has to know, and which of them cannot be had."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.local.broker import nats_server


@dataclass(frozen=True)
class Layout:
    """Where a container's things are on this machine: its root folder, the paths of its mounts, and its ports."""

    root: Path
    mounts: tuple[str, ...]
    ports: Mapping[int, int]


def as_it_is(command: list[str], layout: Layout) -> list[str]:
    """Return the command of a program that takes its ports and places from its environment or arguments."""
    return command


def nats(command: list[str], layout: Layout) -> list[str]:
    """Return the command of a broker: options override the ports of its configuration, paths have to be written anew."""
    given = Path(command[next(place for place, word in enumerate(command, 1) if word in ("-c", "--config"))])
    mounts = "|".join(re.escape(each) for each in layout.mounts)
    here = re.sub(rf"(?<![\w./-])(?=(?:{mounts})[/\"'\s])", str(layout.root), given.read_text())
    # Beside the other, since it may include what is there.
    adapted = given.with_name(f"here.{given.name}")
    adapted.write_text(here)
    ports = ["--addr", "127.0.0.1", "--port", str(layout.ports[4222]), "--http_port", str(layout.ports[8222])]
    if 6222 in layout.ports:
        ports += ["--cluster", f"nats://127.0.0.1:{layout.ports[6222]}"]
    return [nats_server(), *(str(adapted) if word == str(given) else word for word in command[1:]), *ports]


@dataclass(frozen=True)
class Image:
    """An image's own environment, and how its command is adapted to this machine."""

    environ: Mapping[str, str] = field(default_factory=dict)
    adapted: Callable[[list[str], Layout], list[str]] = as_it_is


class Images:
    """The images there are, by repository. A test adds its own to `known`, and breaks and mends them."""

    def __init__(self) -> None:
        self.known: dict[str, Image] = {"nats": Image(adapted=nats)}
        self._broken: dict[str, str] = {}
        self._mended = asyncio.Event()

    def of(self, name: str) -> Image:
        """Return what is known of an image, whatever its registry and tag."""
        repository = repository_of(name)
        fits = [each for each in self.known if repository == each or repository.endswith(f"/{each}")]
        return self.known[max(fits, key=len)] if fits else Image()

    def break_pull(self, name: str, message: str) -> None:
        """Let nobody pull an image from now on."""
        self._broken[name] = message

    def mend_pull(self, name: str) -> None:
        self._broken.pop(name, None)
        self._mended.set()
        self._mended = asyncio.Event()

    def complaint(self, name: str) -> str:
        """Return why an image cannot be pulled, empty where it can."""
        return self._broken.get(name, "")

    async def mended(self) -> None:
        """Return when an image was mended."""
        await self._mended.wait()


def repository_of(name: str) -> str:
    """Return an image's name without its tag or digest. Pure."""
    path, slash, last = name.partition("@")[0].rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"
