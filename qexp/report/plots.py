"""The plots of a report, drawn from its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexp.report.canvas import Draw, Frame, Theme, axes_of, beside, keep_apart, legend, plain_numbers
from qexp.report.frontier import Candidate, frontier
from qexp.report.plots_memory import cliff_plot, ram_plot
from qexp.report.recommend import Recommendation
from qexp.report.record import CollectionRecord
from qexp.report.settings import CollectionKey
from qexp.report.words import MEASURE
from qexp.results import OperatingPoint, Visit
from qexp.results.footprint import Cliff

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Samples = Mapping[str, NDArray[np.float64]]

MARKERS = "os^Dv<>phXP"  # no multiple of the colours in number, so that pairs repeat late; a star is no quantization
WITHOUT = 0.65  # where the points without rescoring are drawn, left of 1×
TOP = 4.0  # accuracy of 1 is drawn where 0.9999 is


@dataclass(frozen=True)
class Box:
    """Raw latencies in ms of an operating point, and whether so many tell of their P99 (T15)."""

    collection: CollectionKey
    title: str
    values: NDArray[np.float64]
    p99_known: bool


def plots(
    collections: Sequence[CollectionRecord],
    decided: Recommendation,
    samples: Mapping[str, Samples],
    cliff: Cliff | None,
) -> dict[str, Draw]:
    """Return the plots that the figures allow, by name; `samples` are raw latencies in ms by run and visit."""
    if not decided.matched:
        return {}
    found: dict[str, Draw] = {
        "frontier": lambda frame: _frontier(decided, frame),
        "oversampling": lambda frame: _oversampling(decided, frame),
        "ram": lambda frame: ram_plot(collections, frame),
    }
    if cliff:
        found["cliff"] = lambda frame: cliff_plot(cliff, frame)
    if boxes := _latencies(collections, decided, samples):
        found["latency"] = lambda frame: _latency(boxes, decided, frame)
    return found


def _styles(decided: Recommendation, theme: Theme) -> dict[CollectionKey, tuple[str, str]]:
    """Return colour and marker of every collection: a pair that no other has, among up to 66."""
    return {
        found.collection: (theme.series[index % len(theme.series)], MARKERS[index % len(MARKERS)])
        for index, found in enumerate(decided.matched)
    }


def _stretched(accuracy: float) -> float:
    """Return accuracy on a scale that gives each further nine the same room."""
    return -log10(max(1 - accuracy, 10**-TOP))


def _accuracy_axis(axes: "Axes", decided: Recommendation, theme: Theme) -> None:
    ticks = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0]
    lowest = min(one.accuracy for one in decided.considered)
    highest = max(one.accuracy for one in decided.considered)
    shown = [tick for tick in ticks if tick >= lowest - 0.1 and (tick <= highest + 0.001 or tick == 1.0)]
    shown = [tick for tick in shown if tick < 1 or highest > 0.9995]
    axes.set_yticks([_stretched(tick) for tick in shown], [f"{tick:g}" for tick in shown])
    least = decided.slo.min_accuracy
    axes.axhline(_stretched(least), color=theme.muted, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"asked for: {least:g}",
        (0.995, _stretched(least)),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=theme.muted,
    )


def _frontier(decided: Recommendation, frame: Frame) -> "Figure":
    label = f"{decided.latency}, ms"
    if any(one.levelled for one in decided.considered):
        label += f",{chr(10) if frame.narrow else ' '}adjusted for the machine's speed in each job"
    figure, axes = axes_of(frame, label, MEASURE[decided.slo.accuracy], "Accuracy against latency")
    theme = frame.theme
    for collection, (colour, marker) in _styles(decided, theme).items():
        points = [one for one in decided.considered if one.collection == collection]
        lows = [_stretched(one.floor) for one in points]
        highs = [_stretched(max(half.high for half in one.accuracy_halves)) for one in points]
        axes.vlines([one.latency for one in points], lows, highs, color=colour, alpha=0.35, linewidth=1)
        x, y = [one.latency for one in points], [_stretched(one.accuracy) for one in points]
        axes.scatter(x, y, s=34, color=colour, marker=marker, label=decided.name(collection), zorder=3)
    bases = [one for one in decided.considered if one.baseline]
    x, y = [one.latency for one in bases], [_stretched(one.accuracy) for one in bases]
    axes.scatter(x, y, s=48, color=theme.ink, marker="*", zorder=3, label="no quantization")
    _staircase(axes, decided, theme)
    choice = decided.choice
    if choice:
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": theme.ink, "linewidths": 1.6, "zorder": 4}
        axes.scatter(choice.latency, _stretched(choice.accuracy), s=190, label="recommended", **ring)
    plain_numbers(axes, frame)
    _accuracy_axis(axes, decided, theme)
    legend(figure, axes, frame, 3 if frame.narrow else 5)
    return figure


def _staircase(axes: "Axes", decided: Recommendation, theme: Theme) -> None:
    """Draw the best accuracy that is to be had for each latency, cost aside."""
    best: list[Candidate] = []
    undominated = frontier(decided.considered, decided.slo.objectives)
    for one in sorted(undominated, key=lambda one: (one.latency, -one.accuracy)):
        if not best or one.accuracy > best[-1].accuracy:
            best.append(one)
    x, y = [one.latency for one in best], [_stretched(one.accuracy) for one in best]
    axes.step(x, y, where="post", color=theme.muted, linewidth=1.2, zorder=1, label="frontier, cost aside")


def _oversampling(decided: Recommendation, frame: Frame) -> "Figure":
    figure, axes = axes_of(frame, "oversampling", MEASURE[decided.slo.accuracy], "What oversampling brings back")
    factors: set[float] = {1.0}
    styles = _styles(decided, frame.theme)
    for found in decided.matched:
        collection, (colour, marker) = found.collection, styles[found.collection]
        points = sorted(
            (one.row.point.oversampling, _stretched(one.accuracy))
            for one in decided.compared(found)
            if one.row.point.rescore
        )
        factors |= {factor for factor, _ in points}
        x, y = [factor for factor, _ in points], [height for _, height in points]
        axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.6, label=decided.name(collection))
        bare = [one for one in decided.compared(found) if not one.row.point.rescore]
        axes.scatter(
            [WITHOUT] * len(bare),
            [_stretched(one.accuracy) for one in bare],
            facecolors="none",
            edgecolors=colour,
            marker=marker,
            s=30,
        )
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(
        [WITHOUT, *sorted(factors)],
        [f"no{chr(10) if frame.narrow else ' '}rescoring", *(f"{factor:g}×" for factor in sorted(factors))],
    )
    _accuracy_axis(axes, decided, frame.theme)
    legend(figure, axes, frame, 3 if frame.narrow else 5)
    keep_apart(figure, axes)
    return figure


def _latencies(
    collections: Sequence[CollectionRecord], decided: Recommendation, samples: Mapping[str, Samples]
) -> list[Box]:
    """Return the compared points, and the first baseline."""
    boxes: list[Box] = []
    for found in decided.matched:
        one = decided.shown(found)
        point = one.row.point
        collection = next((own for own in collections if own.has(one.row)), None)
        own = samples.get(collection.run_id, {}) if collection else {}
        ours = own.get(Visit("trial", point).title)
        if ours is None:
            continue
        known = "latency_p99_ms" in one.row.metrics
        bare = Visit("baseline", OperatingPoint(point.limit, point.hnsw_ef))
        if not boxes and bare.title in own:
            without = f"no quantization{bare.point.title.removeprefix('no rescore')}"
            boxes.append(Box(CollectionKey("baseline", ""), without, own[bare.title], known))
        boxes.append(Box(one.collection, decided.title(one), ours, known))
    return boxes


def _latency(boxes: list[Box], decided: Recommendation, frame: Frame) -> "Figure":
    """P5 to P95 as whiskers, quartiles as a box, the median as a line, P99 as a dot where enough samples know it."""
    key = "box: quartiles, line: P5 to P95"
    key += ", dot: P99" if any(box.p99_known for box in boxes) else ""
    titles, lines = beside([box.title for box in reversed(boxes)], frame)
    figure, axes = axes_of(frame, "latency of a search, ms", "", f"Latency at the point compared\n{key}", lines)
    axes.grid(axis="y", visible=False)
    theme = frame.theme
    styles = _styles(decided, theme)
    for number, box in enumerate(reversed(boxes)):
        values, colour = box.values, styles.get(box.collection, (theme.muted, ""))[0]
        five, lower, median, upper, most, last = np.percentile(values, [5, 25, 50, 75, 95, 99])
        axes.plot([five, most], [number, number], color=colour, linewidth=1.6)
        axes.barh(number, upper - lower, left=lower, height=0.5, color=colour, alpha=0.45)
        axes.plot([median, median], [number - 0.25, number + 0.25], color=colour, linewidth=2.4)
        if box.p99_known:
            axes.plot([last], [number], marker="o", markersize=4, color=colour)
    axes.set_yticks(range(len(boxes)), titles, color=theme.ink)
    plain_numbers(axes, frame)
    return figure
