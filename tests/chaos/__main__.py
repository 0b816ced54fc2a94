"""The campaign by hand: `python -m tests.chaos --seed 7 --minutes 3`. Exit code 1 when a promise was broken."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.broken import BREAK
from tests.chaos.campaign import campaign
from tests.chaos.checker import check
from tests.chaos.field import Setup
from tests.chaos.report import report


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what decides who does what when")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults rain")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=3, help="broker nodes")
    parser.add_argument("--sessions", type=int, default=16, help="threads that people keep busy")
    parser.add_argument("--claude", type=int, default=2, help="how many of them have the real Claude Code")
    parser.add_argument("--http", action="store_true", help="Slack delivers over HTTP instead of Socket Mode")
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    parser.add_argument("--broken", choices=sorted(BREAK), default="", help="break a promise on purpose")
    parser.add_argument("--data", type=Path, help="where everything is kept; a folder that is new")
    parser.add_argument("--report", type=Path, help="write the report into this file as well")
    return parser.parse_args()


def _folder(asked: Path | None) -> Path:
    if asked is None:
        return Path(tempfile.mkdtemp(prefix="chaos-"))
    asked.mkdir(parents=True)
    return asked


def tell(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


async def run(asked: argparse.Namespace, folder: Path) -> int:
    setup = Setup(
        seed=asked.seed,
        nodes=asked.nodes,
        sessions=asked.sessions,
        claude=asked.claude,
        broken=asked.broken,
        socket_mode=not asked.http,
    )
    tell(f"seed {setup.seed}, everything is kept in {folder}")
    outcome = await campaign(folder, setup, asked.minutes * 60, tell, only=asked.only)
    violations = check(outcome.evidence)
    text = report(outcome, violations)
    print(text)
    if asked.report:
        asked.report.write_text(text)
    return 1 if violations else 0


if __name__ == "__main__":
    asked = arguments()
    sys.exit(asyncio.run(run(asked, _folder(asked.data))))
