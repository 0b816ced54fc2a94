"""A container engine that really runs containers, and the images built with it."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ("ingress", "scheduler", "archiver", "worker", "all-in-one")
TAG = "smoke"
SUMS = ROOT / "requirements" / "claude-code.sha256"
# What reaches a build.
ALLOWED = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
# What a cluster under Pod Security `restricted` leaves a container, and no room to write but /tmp.
UNPRIVILEGED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp:mode=1777")


class NoEngine(Exception):
    """Images cannot be built or run here; the message says why."""


@dataclass(frozen=True)
class Engine:
    """`program` is podman or docker."""

    program: str

    @classmethod
    def find(cls) -> "Engine":
        """Return the one that is here and answers. Raises `NoEngine`."""
        program = os.environ.get("ENGINE") or shutil.which("podman") or shutil.which("docker")
        if not program:
            raise NoEngine("neither podman nor docker is here")
        told = subprocess.run([program, "info"], capture_output=True, text=True, timeout=60, check=False)
        if told.returncode:
            raise NoEngine(f"{program} does not answer: {told.stderr.strip().splitlines()[-1]}")
        return cls(program)

    def call(
        self, *arguments: str, timeout: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, timeout=timeout, check=check
        )

    def require(self, image: str) -> None:
        """See that a base is here or can be had. Raises `NoEngine`."""
        if self.call("image", "inspect", image, check=False).returncode == 0:
            return
        pulled = self.call("pull", "--quiet", image, timeout=600, check=False)
        if pulled.returncode:
            raise NoEngine(f"{image} cannot be pulled here: {pulled.stderr.strip().splitlines()[-1]}")

    def run(self, image: str, *command: str, options: tuple[str, ...] = (), timeout: float = 60) -> "Ended":
        """Run `command`, or what the image runs by itself, to its end."""
        ended = self.call(
            "run", "--rm", *UNPRIVILEGED, *options, name(image), *command, timeout=timeout, check=False
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def about(self, image: str) -> dict[str, object]:
        """Return what the image says of itself."""
        return dict(json.loads(self.call("image", "inspect", name(image)).stdout)[0]["Config"])


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Dockerfile:
    """The text, and what can be read from it."""

    text: str = (ROOT / "Dockerfile").read_text()

    @cached_property
    def bases(self) -> dict[str, str]:
        """The images that it begins with, by the name of their argument."""
        return dict(re.findall(r"^ARG (\w+)=(\S+)$", self.text, re.MULTILINE))

    @cached_property
    def stages(self) -> list[tuple[str, str]]:
        """What each stage begins with, and its name."""
        return re.findall(r"^FROM (\S+) AS (\S+)$", self.text, re.MULTILINE)


def name(image: str) -> str:
    """Return what an image is called that the tests build."""
    return f"threadmill/{image}:{TAG}"
