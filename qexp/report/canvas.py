"""Where plots are drawn: themes, sizes, bare axes, and the way to SVG and PNG."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of a page: ink, muted ink, grid, and one colour per method (Okabe and Ito's, lighter on dark)."""

    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        """All colours, in the same order in every theme."""
        return (self.ink, self.muted, self.grid, *self.series)


LIGHT = Theme("#1d2330", "#5b6475", "#d9dde5", ("#0072b2", "#d55e00", "#009e73", "#b0579a", "#b07d00", "#3f8fc4"))
DARK = Theme("#e8ebf2", "#a3abbb", "#39404f", ("#56b4e9", "#ff8f45", "#2fcf9f", "#e79ccb", "#f0c24b", "#9db8ff"))
WIDE, NARROW = (7.6, 4.3), (4.3, 4.6)
BESIDE = {False: 44, True: 28}  # characters in a line beside the y axis, wide and narrow: more leave the axes no room
LEGEND_ROOM = {False: 105, True: 66}  # characters in a line, wide and narrow
LEGEND_SYMBOL = 7  # characters that a symbol and the space around it take
LEGEND_LINES = 4  # that a plot has room for; more make it taller
AROUND = 6  # lines that title, legend and x axis take
LINE = 0.21  # inches that a line of text takes, with the space around it


@dataclass(frozen=True)
class Frame:
    """Where a plot is drawn: theme and size in inches."""

    theme: Theme
    size: tuple[float, float]

    @property
    def narrow(self) -> bool:
        """Whether it is for a phone."""
        return self.size == NARROW


Draw = Callable[[Frame], "Figure"]


def svg(figure: "Figure") -> str:
    """Return a plot as SVG text, letters as paths so that it looks the same everywhere."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "qexp", "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def png(figure: "Figure") -> bytes:
    """Return a plot as PNG on white."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160, facecolor="white")
    return out.getvalue()


def axes_of(frame: Frame, x: str, y: str, title: str, lines: int = 0) -> "tuple[Figure, Axes]":
    """Return a figure with one bare pair of axes, tall enough for so many lines of text beside its y axis."""
    from matplotlib.figure import Figure

    width, height = frame.size
    figure = Figure(figsize=(width, max(height, (lines + AROUND) * LINE)), layout="constrained")
    axes = figure.subplots()
    theme = frame.theme
    axes.set_facecolor("none")
    axes.set_xlabel(x, color=theme.muted)
    axes.set_ylabel(y, color=theme.muted)
    figure.suptitle(title, color=theme.ink, fontsize=10 if frame.narrow else 11, fontweight="bold", x=0.02, ha="left")
    axes.tick_params(colors=theme.muted, which="both", length=0)
    axes.grid(color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def beside(names: Iterable[str], frame: Frame) -> tuple[list[str], int]:
    """Return names for the y axis in short lines, and how many lines they take; on a phone each part has its own."""
    parts = [name.split(", ") if frame.narrow else [name] for name in names]
    lines = [[line for part in own for line in wrap(part, BESIDE[frame.narrow])] for own in parts]
    return ["\n".join(own) for own in lines], len(lines) * max(map(len, lines), default=0)


def legend(figure: "Figure", axes: "Axes", frame: Frame, columns: int) -> None:
    """Put the legend below the axes, in at most so many columns, and fewer where names are long.

    A long one makes the figure taller, not the axes lower.
    """
    handles, labels = axes.get_legend_handles_labels()
    number = fitting(labels, columns, LEGEND_ROOM[frame.narrow])
    more = ceil(len(labels) / number) - LEGEND_LINES
    figure.set_figheight(figure.get_figheight() + max(0, more) * LINE)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=number,
        frameon=False,
        labelcolor=frame.theme.ink,
        fontsize=8 if frame.narrow else 9,
    )


def fitting(labels: Sequence[str], columns: int, room: int) -> int:
    """Return how many columns of a legend, at most `columns`, fit into `room` characters; it is filled by column."""
    for number in range(min(columns, len(labels)), 1, -1):
        widths = [int(column.max()) for column in np.array_split([len(label) for label in labels], number)]
        if sum(widths) + LEGEND_SYMBOL * len(widths) <= room:
            return number
    return 1


def keep_apart(figure: "Figure", axes: "Axes") -> None:
    """Hide those labels below the x axis that would run into the one before."""
    figure.draw_without_rendering()
    end = -np.inf
    for label in axes.get_xticklabels():
        extent = label.get_window_extent()
        label.set_visible(extent.x0 > end)
        end = extent.x1 if label.get_visible() else end


def plain_numbers(axes: "Axes", frame: Frame) -> None:
    """Make the x axis logarithmic, and label logarithmic axes with plain numbers, fewer where there is less room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    fractions = (1.0, 2.0, 5.0) if frame.narrow else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=fractions, numticks=12))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
