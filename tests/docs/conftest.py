"""The documents, and what stands in them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import RunningDev

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(msgspec.Struct, frozen=True):
    """A fenced block: the heading it stands under, its info string, its text."""

    heading: str
    info: str
    text: str


def script(page: list[Block], block: Block) -> str:
    """Return `block` after what its page has set by then."""
    before = page[: page.index(block)]
    exports = [line for one in before for line in one.text.splitlines() if line.startswith("export ")]
    return "\n".join(["set -euo pipefail", *exports, block.text])


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    found, heading = [], ""
    pattern = r"^#+ (?P<heading>.+)$|^ *```(?P<info>.*)\n(?P<text>(?:.*\n)*?) *```$"
    for match in re.finditer(pattern, document.read_text(), re.MULTILINE):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.append(Block(heading, match["info"], match["text"]))
    return found


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDev]:
    """A Threadmill that has answered once and met one poison message."""
    if not shutil.which("nats"):
        assert not os.environ.get("CI"), "the nats CLI is missing: `make nats-cli` builds it"
        pytest.skip("the nats CLI is not installed: `make nats-cli` builds it")
    dev = RunningDev(tmp_path_factory.mktemp("home"))
    try:
        dev.wait()
        dev.cli.ok("send", "look into me")
        dev.cli.environ = {**dev.cli.environ, "NATS_URL": dev.cli.ok("nats-url").strip()}
        dev.cli.environ["NATS_CREDS"] = dev.cli.ok("nats-creds").strip()
        poison = ["nats", "pub", "--jetstream", "session.T1.C1.1-1.in.x", "poison"]
        subprocess.run(poison, env=dev.cli.environ, check=True, capture_output=True, timeout=90)
        for _ in range(60):
            if "session.T1.C1.1-1" in dev.cli.ok("dead", "list"):
                break
        yield dev
    finally:
        dev.started.stop()
