"""Every command of docs/debugging.md, run by the real nats CLI against a running Threadmill with a finished turn."""

import os
import signal
import subprocess
from typing import IO

import pytest

from tests.cli.conftest import RunningDev
from tests.docs.conftest import ROOT, Block, blocks, script

pytestmark = pytest.mark.xdist_group("docs-debugging")

BLOCKS = [block for block in blocks(ROOT / "docs" / "debugging.md") if block.info.startswith("sh")]
# What the output of a block must hold, by its first line: a command that shows nothing is no help.
SHOWN = {
    "export NATS_URL": ("SESSIONS", "KV_leases", "DEADLETTER"),
    "nats context add": ("threadmill",),
    'nats sub "session.>"': ('"kind": "said"', "hear me"),
    'nats sub "live.>"': ('"kind": "',),
    "export SESSION": (),
    'nats sub --stream SESSIONS --all --terminate-at-end "session.$SESSION.>"': (
        "Threadmill-Schema: said/1",
        '"kind": "claimed"',
        '"kind": "turn-end"',
        "look into me",
    ),
    'nats sub --stream SESSIONS --all --terminate-at-end "session.$SESSION.end.*"': (
        '"outcome": "completed"',
    ),
    "nats stream get SESSIONS": ('"kind": "turn-finished"',),
    "nats kv get turns": ('"waiting":[]', '"open":null'),
    "nats kv ls leases": ('"kind":"lease"', '"holder":"w-'),
    "nats stream info WORK": ("One assignment per start", "pool-default"),
    "nats consumer report SESSIONS": ("scheduler", "archiver", "Unprocessed"),
    "nats kv ls cursors": ('"sequence":',),
    "nats stream info DEADLETTER": ("could not be processed", '"kind": "dead-letter"', "poison"),
    "nats kv ls ratelimits": ("T1.U1", '"starts":[{'),
    "nats stream info AUDIT": ("Who started, approved",),
}


def expected(block: Block) -> tuple[str, ...]:
    """Return what the output of `block` must hold."""
    found = [words for begin, words in SHOWN.items() if block.text.startswith(begin)]
    assert len(found) == 1, f"SHOWN must say what {block.text!r} shows"
    return found[0]


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.info == "sh"],
    ids=lambda block: block.text.splitlines()[0][:60],
)
def test_a_command_of_the_page_shows_what_the_page_says(lived_in: RunningDev, block: Block) -> None:
    done = subprocess.run(
        ["bash", "-c", script(BLOCKS, block)],
        env=lived_in.cli.environ,
        capture_output=True,
        timeout=90,
        check=False,
    )
    shown = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, shown
    for words in expected(block):
        assert words in shown


def until_shown(output: IO[bytes], *words: str) -> None:
    """Read on until all of `words` were shown."""
    shown = ""
    while not all(each in shown for each in words):
        line = output.readline().decode()
        assert line, f"it ended without {words}; it showed {shown}"
        shown += line


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.info == "sh follow"],
    ids=lambda block: block.text.splitlines()[0][:60],
)
def test_a_command_that_follows_shows_what_happens_next(lived_in: RunningDev, block: Block) -> None:
    following = subprocess.Popen(
        ["bash", "-c", script(BLOCKS, block)],
        env=lived_in.cli.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert following.stdout
    try:
        until_shown(following.stdout, "Subscribing on")
        lived_in.cli.ok("send", "hear me")
        until_shown(following.stdout, *expected(block))
    finally:
        os.killpg(following.pid, signal.SIGINT)
        following.communicate(timeout=90)


def test_every_block_of_the_page_is_run() -> None:
    assert {block.info for block in BLOCKS} == {"sh", "sh follow"}
    assert len(BLOCKS) == len(SHOWN)
