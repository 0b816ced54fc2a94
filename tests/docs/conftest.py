"""The documents, and what stands in them."""

import re
from pathlib import Path

import msgspec

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
