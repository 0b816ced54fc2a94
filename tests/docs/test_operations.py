"""docs/operations.md: its commands against a running Threadmill, its metrics and alerts against what services count."""

import asyncio
import importlib
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.local.broker import running_broker
from services.local.keys import made
from services.scheduler.stuck import State
from tests.cli.conftest import RunningDev
from tests.docs.conftest import ROOT, Block, blocks, script

pytestmark = pytest.mark.xdist_group("docs-operations")

PAGE = ROOT / "docs" / "operations.md"
BLOCKS = blocks(PAGE)
RULES = next(block.text for block in BLOCKS if block.info == "yaml alerts")
# What the output of a block must hold, by its first line: a command that shows nothing is no help.
SHOWN = {
    "threadmill doctor --live": ("SESSIONS/scheduler", "answers, version", "oldest unarchived event"),
    "threadmill turns\n": ("no turn is open", "w-"),
    "threadmill audit --since": ("started", '"did":"started"'),
    "threadmill turns --stuck\n": ("nothing is stuck",),
    "threadmill dead list": ('"payload": "poison"', "sent again as message"),
    "threadmill backup": ("13 streams, ",),
    "THREADMILL_NATS_URL": ("13 streams are restored; now start the services",),
    "nats stream info SESSIONS": ("Every session's log", "Maximum Bytes: 8.0 GiB", "16 GiB"),
}
DOCTOR = "threadmill doctor --live\nthreadmill turns --stuck"


def run(dev: RunningDev, text: str) -> str:
    done = subprocess.run(
        ["bash", "-c", text], env=dev.cli.environ, capture_output=True, timeout=90, check=False
    )
    shown = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, shown
    return shown


def expected(block: Block) -> tuple[str, ...]:
    if block.text.startswith(DOCTOR):
        return ("nothing is stuck",)
    found = [words for begin, words in SHOWN.items() if block.text.startswith(begin)]
    assert len(found) == 1, f"SHOWN must say what {block.text!r} shows"
    return found[0]


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.info == "sh"],
    ids=lambda block: f"{block.heading}: {block.text.splitlines()[0][:40]}",
)
def test_a_command_of_the_page_shows_what_the_page_says(lived_in: RunningDev, block: Block) -> None:
    shown = run(lived_in, script(BLOCKS, block))
    for words in expected(block):
        assert words in shown


async def test_what_was_backed_up_is_restored_elsewhere(lived_in: RunningDev, tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if block.info == "sh elsewhere")
    if not (lived_in.cli.home / "backup").exists():
        await asyncio.to_thread(lived_in.cli.ok, "backup", lived_in.cli.home / "backup")
    keys = made(tmp_path / "keys")
    async with running_broker(tmp_path / "broker", keys.broker.read_text()) as broker:
        text = block.text.replace("nats://nats.new:4222", broker.url)
        text = text.replace("admin.creds", str(keys.of("admin")))
        text = f"unset THREADMILL_DATA\n{text}"  # an operator has none
        shown = await asyncio.to_thread(run, lived_in, text)
    for words in expected(block):
        assert words in shown


def test_every_block_of_the_page_is_run_or_checked() -> None:
    assert {block.info for block in BLOCKS} == {"sh", "sh elsewhere", "yaml alerts"}


def metrics() -> set[str]:
    """Return the names of all that our services count, as a scraper sees them."""
    for path in (ROOT / "services").rglob("metrics.py"):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in REGISTRY.collect()
    }
    return {name for name in found if name.startswith("threadmill_")}


def test_every_metric_is_explained_and_none_that_there_is_not() -> None:
    explained = re.findall(r"^\| `(threadmill_\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert set(explained) == metrics()
    assert len(explained) == len(set(explained))


def test_every_alert_asks_for_metrics_that_there_are_and_says_what_to_do() -> None:
    alerts = re.findall(r"^      - alert: (\w+)\n        expr: (.+)\n", RULES, re.MULTILINE)
    assert len(alerts) == RULES.count("alert:")
    for name, expression in alerts:
        asked = re.findall(r"threadmill_\w+", expression)
        assert asked, name
        assert {re.sub(r"(?<=_seconds)_bucket$", "", metric) for metric in asked} <= metrics(), name
        assert expression.count("(") == expression.count(")"), name
    told = re.findall(r"`(Threadmill\w+)`", PAGE.read_text())
    assert sorted(told) == sorted(name for name, _ in alerts)


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    text = PAGE.read_text()
    headings = {h.lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_every_state_is_explained() -> None:
    told = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert set(State.__args__) - {"idle"} <= set(told)  # type: ignore[attr-defined]
