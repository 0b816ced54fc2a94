"""The campaign by hand: `python -m tests.chaos --seed 7 --minutes 3`. Exit code 1 when a promise was broken.

With `--broken`, when a build that breaks one on purpose was not caught.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.broken import MISTAKES
from tests.chaos.campaign import campaign
from tests.chaos.checker import check
from tests.chaos.field import Setup
from tests.chaos.report import report

# Long enough for each mistake to show.
BROKEN_SECONDS = 40.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what decides who does what when")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults rain")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=3, help="broker nodes")
    parser.add_argument("--sessions", type=int, default=16, help="threads that people keep busy")
    parser.add_argument("--claude", type=int, default=2, help="how many of them have the real Claude Code")
    parser.add_argument("--http", action="store_true", help="Slack delivers over HTTP instead of Socket Mode")
    parser.add_argument("--folder", action="store_true", help="the archive is a folder, not a bucket")
    parser.add_argument(
        "--beside",
        type=Path,
        help="a checkout of another version, which the last replica of each service is of",
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only faults whose names contain one of these"
    )
    parser.add_argument(
        "--broken", choices=("all", *MISTAKES), default="", help="builds that break a promise: is it seen?"
    )
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


async def run(asked: argparse.Namespace, folder: Path) -> bool:
    """Run the campaign that was asked for; tell whether every promise held."""
    setup = Setup(
        seed=asked.seed,
        nodes=asked.nodes,
        sessions=asked.sessions,
        claude=asked.claude,
        only=tuple(asked.only),
        socket_mode=not asked.http,
        in_folder=asked.folder,
        beside=asked.beside and asked.beside.resolve(),
    )
    tell(f"seed {setup.seed}")
    outcome = await campaign(folder, setup, asked.minutes * 60, tell)
    violations = check(outcome.evidence)
    text = report(outcome, violations)
    print(text)
    if asked.report:
        asked.report.write_text(text)
    return not violations


async def run_broken(name: str, seed: int, folder: Path) -> bool:
    """Run a build that breaks a promise; tell whether the checker found that."""
    mistake = MISTAKES[name]
    setup = Setup(
        seed=seed,
        nodes=1,
        sessions=8,
        claude=0,
        turns=30,
        idle=10.0,
        crash=0.0,
        say_every=mistake.say_every,
        strike_every=1.0,
        settle=15.0,
        only=mistake.only,
        pick_up=False,
        broken=name,
    )
    outcome = await campaign(folder / name, setup, BROKEN_SECONDS, lambda _: None)
    found = [each for each in check(outcome.evidence) if each.promise == mistake.promise]
    what = f"caught: {found[0].session}: {found[0].what}" if found else "NOT CAUGHT"
    print(f"{name}: {mistake.promise}: {what} ({len(found)} violations)", flush=True)
    return bool(found)


async def main(asked: argparse.Namespace, folder: Path) -> int:
    if not asked.broken:
        return 0 if await run(asked, folder) else 1
    names = MISTAKES if asked.broken == "all" else [asked.broken]
    return 0 if all([await run_broken(name, asked.seed, folder) for name in names]) else 1


if __name__ == "__main__":
    asked = arguments()
    folder = _folder(asked.data)
    code = asyncio.run(main(asked, folder))
    if code or asked.data:
        tell(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(code)
