"""The report's ratios as a picture: a panel for each benchmark, a bar for each ratio, the line is the bare baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.report import Ratio, Section

BARE = 1.0
INK, FAINT, PAPER = "#1d1c1d", "#8a8a8a", "#ffffff"
BETTER, WORSE = "#2f8f6b", "#5b82a6"
INCHES_A_BAR, INCHES_A_PANEL, INCHES_AROUND = 0.24, 0.45, 1.0
TICKS = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 200)
LEGEND = (Patch(color=BETTER, label="no worse than its baseline"), Patch(color=WORSE, label="what it costs"))


def draw(sections: Sequence[Section], path: Path) -> None:
    """Draw every ratio of `sections` into the PNG `path`."""
    panels = [(section.title, ratios) for section in sections if (ratios := section.ratios())]
    heights = [INCHES_A_BAR * len(ratios) + INCHES_A_PANEL for _, ratios in panels]
    figure = Figure(figsize=(11, sum(heights) + INCHES_AROUND), facecolor=PAPER, layout="constrained")
    figure.suptitle("Threadmill beside the bare baseline of the same run", fontsize=13, color=INK)
    every = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (title, ratios) in zip(every, panels, strict=True):
        _panel(axes, title, ratios)
    values = [BARE, *(ratio.value for _, ratios in panels for ratio in ratios)]
    every[-1].set_xlim(min(values) / 1.8, max(values) * 1.8)
    every[-1].set_xticks(TICKS, [f"{tick:g}x" for tick in TICKS], minor=False)
    figure.legend(handles=LEGEND, loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def _panel(axes: Any, title: str, ratios: Sequence[Ratio]) -> None:
    drawn = axes.barh(
        [ratio.name for ratio in ratios],
        [ratio.value - BARE for ratio in ratios],
        left=BARE,
        color=[BETTER if ratio.better else WORSE for ratio in ratios],
        height=0.7,
    )
    axes.bar_label(drawn, labels=[f" {ratio.value:.2f}x " for ratio in ratios], fontsize=8, color=INK)
    axes.axvline(BARE, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.set_title(title, fontsize=10, fontweight="bold", loc="left", color=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.3, alpha=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
