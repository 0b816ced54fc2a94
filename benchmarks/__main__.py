"""`python -m benchmarks`: measure, print, write the report."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path

import uvloop

from benchmarks import picture, report
from benchmarks.report import PICTURE, Section
from tests.kubernetes.assets import NoAssets, folder

REPORT = Path(__file__).with_name("report.md")
# What takes milliseconds comes first: a disk gets slower with use.
BENCHMARKS = {
    "start": "a person's message until the agent's start, phase by phase, with a warm pool",
    "ack": "a Slack event until its 200: stored first, beside slack-bolt and bare aiohttp",
    "pods": "the same through a Pod of a real API server: one that waits, and one that is yet to be made",
    "stop": "a person's stop until the turn's end, a tool running",
    "turns": "turns through the whole pipeline, beside the writes that they cost",
    "pull": "our pull loop beside nats-py's fetch(100)",
    "deltas": "a worker's live text until Slack's API receives it",
    "archive": "events into the archive, and a long session out of it",
    "sessions": "1,000 and 10,000 open sessions on one scheduler",
    "memory": "what local mode and an idle warm worker take",
}
EPILOG = """\
examples:
  python -m benchmarks                  everything (about twenty minutes); writes benchmarks/report.md and report.png
  python -m benchmarks ack pull         these two, printed only
  python -m benchmarks --quick          everything with few messages (about two minutes), printed only
  make bench ARGS="start --quick"       the same by make

Run it on a machine that does nothing else: the load average stands in the report. Absolute numbers differ by machine
and by 30 % from run to run; the ratios to the bare baseline, which is measured in the same run, differ less.
"""


def main() -> None:
    known = "\n".join(f"  {name:8} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measures what Threadmill costs, as ratios against bare baselines.\n\n{known}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="few messages: shows that it works, not how fast"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {min(unknown)!r}; choose of {', '.join(BENCHMARKS)}")
    names = given.names or list(BENCHMARKS)
    if "pods" in names:  # said before anything is measured, not minutes later
        try:
            folder()
        except NoAssets as e:
            parser.error(str(e))
    uvloop.run(_run(names, quick=given.quick))


async def _run(names: list[str], *, quick: bool) -> None:
    head, sections = report.head(quick=quick), []
    print(head)
    for name in names:
        print(f"measuring {name}: {BENCHMARKS[name]} ...", file=sys.stderr, flush=True)
        run: Callable[[bool], Awaitable[Section]] = import_module(f"benchmarks.{name}").run
        sections.append(await run(quick))
        print(f"\n{sections[-1].markdown()}", flush=True)
    if names == list(BENCHMARKS) and not quick:
        text = "\n\n".join([head, *(section.markdown() for section in sections)])
        REPORT.write_text(text + "\n", encoding="utf-8")
        picture.draw(sections, REPORT.with_name(PICTURE))
        print(f"written to {REPORT.parent.name}/{REPORT.name}, and {PICTURE} beside it", file=sys.stderr)


if __name__ == "__main__":
    main()
