"""The report's ratios as a picture: what costs more than its bare baseline reaches to the right of the line."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.report import Section

BARE = 1.0
INK, BAR, PAPER = "#1d1c1d", "#4a7c9d", "#ffffff"
INCHES_A_BAR = 0.26
TICKS = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50)


def draw(sections: Sequence[Section], path: Path) -> None:
    """Draw every ratio of `sections` into the PNG `path`."""
    bars = [(f"{section.title}: {name}", value) for section in sections for name, value in section.ratios()]
    figure = Figure(figsize=(11, 1.2 + INCHES_A_BAR * len(bars)), facecolor=PAPER, layout="constrained")
    axes = figure.subplots()
    names, values = [name for name, _ in bars], [value for _, value in bars]
    drawn = axes.barh(names, [value - BARE for value in values], left=BARE, color=BAR, height=0.7)
    axes.bar_label(drawn, labels=[f" {value:.2f}x" for value in values], fontsize=8, color=INK)
    axes.axvline(BARE, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}x" for tick in TICKS], minor=False)
    axes.minorticks_off()
    axes.set_xlim(min([*values, BARE]) / 1.6, max([*values, BARE]) * 1.6)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8, colors=INK)
    axes.set_title(
        "Threadmill beside bare baselines of the same run (1 = as the baseline)", fontsize=11, loc="left"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
