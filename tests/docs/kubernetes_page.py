"""docs/kubernetes.md, and the overlays that it tells a team to write, in a copy of k8s/."""

import re
import shutil
from pathlib import Path

from tests.docs.conftest import ROOT, blocks
from tests.kubernetes.manifests import K8S

PAGE = ROOT / "docs" / "kubernetes.md"
TEXT = PAGE.read_text()
# Without its blocks, in which a `#` begins no heading.
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
BLOCKS = blocks(PAGE)
SHELL = [block.text for block in BLOCKS if block.info in {"sh", "sh look"}]
OVERLAY = "k8s/overlays/"
ACME, RESTORE = "acme", "acme-restore"


def given(info: str) -> str:
    """Return the one block with `info`."""
    (found,) = (block.text for block in BLOCKS if block.info == info)
    return found


def tree(folder: Path) -> Path:
    """Write k8s/ as it is after the page's files were added; return its overlays."""
    shutil.copytree(K8S, folder / "k8s")
    for block in BLOCKS:
        if block.info.startswith(f"yaml {OVERLAY}"):
            file = folder / block.info.removeprefix("yaml ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)
    return folder / OVERLAY


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the tables between `heading` and the next one."""
    (part,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PROSE, re.MULTILINE | re.DOTALL)
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if set(line) - set("|- ")]


def coded(cell: str) -> list[str]:
    """Return what stands in code in a cell."""
    return re.findall(r"`([^`]+)`", cell)
