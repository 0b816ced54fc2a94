"""What neither the linter nor the import contracts see: rooms stay small, packages state their law."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for top in ("schemas", "services") for path in (ROOT / top).rglob("*.py"))
PACKAGES = [path for path in SOURCES if path.name == "__init__.py"]
MOST_LINES = 400
# What one service alone needs; a lint of imports sees no import that another import brings along.
HEAVY = {"google.cloud", "slack_sdk", "claude_agent_sdk", "acp", "typer", "kubernetes_asyncio"}


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_no_file_holds_more_than_one_reader_can(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, f"{short(path)} has {lines} lines: which second idea moved in?"


@pytest.mark.parametrize("path", PACKAGES, ids=short)
def test_every_package_states_its_law(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{short(path)} has no docstring"


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in SOURCES}
    assert folders == {path.parent for path in PACKAGES}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("schemas", HEAVY | {"nats", "aiohttp", "services"}), ("services.runtime", HEAVY)],
)
def test_importing_what_all_share_brings_nothing_that_one_service_needs(
    package: str, forbidden: set[str]
) -> None:
    folder = ROOT / package.replace(".", "/")
    modules = [f"{package}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
    script = f"import sys, {', '.join(modules)}; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert forbidden & set(loaded) == set()
