"""Plots of memory: what a collection wants, and what happens when there is less."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qexp.report.canvas import Frame, Theme, axes_of, beside, legend, plain_numbers
from qexp.report.cliff import BASELINE, name
from qexp.report.frontier import is_baseline_again
from qexp.report.record import CollectionRecord
from qexp.report.settings import method_name
from qexp.results import MIB
from qexp.results.footprint import Cliff

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Parts = dict[str, tuple[str, float, bool]]  # colour, MiB, whether searching wants it in RAM
MARKS = ("o", "s", "^", "D", "v")
PARTS = ("graph", "id_tracker", "codes", "vectors", "payload_indexes")


def ram_plot(collections: Sequence[CollectionRecord], frame: Frame) -> "Figure":
    """Draw predicted bytes by component: solid what searching wants in RAM, hatched what may stay on disk."""
    theme = frame.theme
    bars = _ram_bars(collections, theme)
    names, lines = beside([name for name, _ in reversed(bars)], frame)
    figure, axes = axes_of(frame, "MiB", "", "RAM by component, predicted", lines)
    axes.grid(axis="y", visible=False)
    for number, (_, parts) in enumerate(reversed(bars)):
        left = 0.0
        for part, (colour, size, in_ram) in parts.items():
            style: dict[str, Any] = {"color": colour} if in_ram else {"facecolor": "none", "edgecolor": theme.muted}
            label = f"{part.replace('_', ' ')}{'' if in_ram else ' on disk'}"
            if label in axes.get_legend_handles_labels()[1]:
                label = "_again"
            hatch = None if in_ram else "////"
            axes.barh(number, size, left=left, height=0.62, hatch=hatch, linewidth=0.6, label=label, **style)
            left += size
        total = sum(size for _, size, in_ram in parts.values() if in_ram)
        place: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        said = f"{total:.1f}{'' if all(in_ram for _, _, in_ram in parts.values()) else ' in RAM'}"
        axes.annotate(said, (left, number), color=theme.ink, **place)
    axes.set_yticks(range(len(bars)), names, color=theme.ink)
    axes.margins(x=0.08)
    legend(figure, axes, frame, 2 if frame.narrow else 5)
    return figure


def _ram_bars(collections: Sequence[CollectionRecord], theme: Theme) -> list[tuple[str, Parts]]:
    """Return every collection's parts, the baseline's first."""
    several = len({one.config["storage.name"] for one in collections}) > 1
    bars = []
    for one in collections:
        storage, metrics = one.config["storage.name"], one.metrics
        suffix = f" ({storage})" if several else ""
        colours = dict(zip(PARTS, theme.series, strict=False))
        whole, sizes = (
            {part: metrics.get(f"{role}{part}_predicted_mib", 0.0) for part in PARTS} for role in ("baseline_", "")
        )
        hot = one.config["storage.vectors"] == "cached" or not sizes["codes"]
        bare = {part: (colours[part], size, True) for part, size in whole.items() if size}
        own = {part: (colours[part], size, part != "vectors" or hot) for part, size in sizes.items() if size}
        bars.append((f"{method_name(one.rows[0].params)}{suffix}", bare))
        if not is_baseline_again(one.rows[-1]):
            bars.append((f"{method_name(one.rows[-1].params)}{suffix}", own))
    return sorted(dict(bars).items(), key=lambda bar: not bar[0].startswith("no quantization"))


def cliff_plot(cliff: Cliff, frame: Frame, title: str = "When memory runs short") -> "Figure":
    """Draw latency against the memory cap, rescoring dashed; × where the kernel killed the search."""
    figure, axes = axes_of(frame, "memory cap, MiB", "mean latency (median round), ms", title)
    theme = frame.theme
    looks: dict[tuple[str, str], tuple[str, str]] = {}
    killed = False
    for (method, point, told), (free, *capped) in cliff.series().items():
        colour, mark = looks.setdefault((method, told), _look(method, list(looks), theme))
        style: dict[str, Any] = {"color": colour, "linestyle": "--" if point.startswith("rescore") else "-"}
        alive = [(trial.cap / MIB, trial.typical_ms) for trial in capped if trial.cap and trial.typical_ms]
        caps, times = [cap for cap, _ in alive], [time for _, time in alive]
        axes.plot(caps, times, marker=mark, markersize=4, label=name(free), **style)
        dead = [trial.cap / MIB for trial in capped if trial.cap and trial.killed][:1]
        last = times[-1] if times else free.typical_ms or 1.0
        axes.plot(dead, [last] * len(dead), "x", color=colour, markersize=9)
        killed |= bool(dead)
    if killed:
        axes.plot([], [], "x", color=theme.ink, markersize=7, linestyle="none", label="killed")
    label = "RAM wanted without quantization"
    for wanted in sorted({trial.wanted or cliff.wanted for trial in cliff.trials}):
        axes.axvline(wanted / MIB, color=theme.muted, linestyle=":", label=label)
        label = "_again"
    axes.set_yscale("log")
    plain_numbers(axes, frame)
    legend(figure, axes, frame, 1 if frame.narrow else 3)
    return figure


def _look(method: str, before: Sequence[tuple[str, str]], theme: Theme) -> tuple[str, str]:
    """Return the colour and the mark of a method of a job: ink for baselines, the next pair for any other."""
    if method == BASELINE:
        return theme.ink, MARKS[sum(other == BASELINE for other, _ in before) % len(MARKS)]
    turn, place = divmod(sum(other != BASELINE for other, _ in before), len(theme.series))
    return theme.series[place], MARKS[turn % len(MARKS)]
