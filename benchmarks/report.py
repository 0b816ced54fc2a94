"""What a run reports: sections of Markdown tables, and the machine that they are from."""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

PICTURE = "report.png"
BUSY = 1.0
RATIO = re.compile(r"[0-9.]+x")
# What explains a name to a reader, and is too long for a picture.
ASIDE = re.compile(r" \(.*\)|[*`]")
NOT_ALONE = (
    "**The machine was busy with other work: milliseconds are too high and swing, p99 most of all;"
    " only the ratios say something.**"
)


class Table(msgspec.Struct, kw_only=True):
    """A table; the first column names what the others measure. Rows whose name begins with one of `bare` are baselines."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = []
    bare: tuple[str, ...] = ("bare",)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def markdown(self) -> str:
        """Return the table, its numbers to the right."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows))


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """How many times its baseline something is; of a `rate` more is better, of all else less."""

    name: str
    value: float
    rate: bool

    @property
    def better(self) -> bool:
        """Whether it is no worse than its baseline."""
        return self.value >= 1 if self.rate else self.value <= 1


class Section(msgspec.Struct, kw_only=True):
    """One benchmark's result; `told` says what was done, `tables` are its numbers by caption."""

    title: str
    told: str
    tables: dict[str, Table] = {}

    def ratios(self) -> list[Ratio]:
        """Return every ratio of ours to a baseline."""
        return [
            Ratio(
                name=" · ".join(filter(None, (ASIDE.sub("", row[0]), column, caption.partition(":")[0]))),
                value=float(cell.removesuffix("x")),
                rate="/s" in column,
            )
            for caption, table in self.tables.items()
            for row in table.rows
            for column, cell in zip(table.columns, row, strict=True)
            if RATIO.fullmatch(cell) and not row[0].startswith(table.bare)
        ]

    def markdown(self) -> str:
        """Return the section."""
        parts = [f"## {self.title}", self.told]
        for caption, table in self.tables.items():
            parts += [f"**{caption}**", table.markdown()] if caption else [table.markdown()]
        return "\n\n".join(parts)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def median(values: Sequence[float]) -> float:
    """Return the middle."""
    return float(statistics.median(values))


def ms(seconds: float) -> str:
    """Return `seconds` as milliseconds, to three digits."""
    value = seconds * 1000
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(value: float, bare: float) -> str:
    """Return how many times `bare` the value is."""
    return f"{value / bare:.2f}x" if bare else "-"


def load() -> float:
    """Return how many processes wanted a processor during the last minute."""
    return os.getloadavg()[0]


def head(*, quick: bool) -> str:
    """Return what stands above the sections: when, where, and what to think of it; before they are measured."""
    busy = load()
    aim = "Each number stands beside a bare baseline of the same run on the same machine; the ratios are what counts."
    parts = [
        "# Benchmarks",
        f"{aim} `make bench` measures anew.",
        f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}. Load average {busy:.1f} when the run began.",
    ]
    if busy >= BUSY:
        parts.append(NOT_ALONE)
    if quick:
        parts.append("This was a `--quick` run: few messages, so its numbers are rough.")
    else:
        parts.append(f"![every ratio as a bar]({PICTURE})")
    return "\n\n".join(parts)


def _machine() -> str:
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else ""
    kind = f"{os.cpu_count()} processors ({model or platform.machine()})"
    return f"{kind}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
