"""Latency against memory, as a picture."""

from pathlib import Path

from qexp.report.cliff import BASELINE, name
from qexp.results import MIB
from qexp.results.footprint import Cliff

SIZE = (9.0, 4.8)  # inches
DPI = 120


def plot_cliff(cliff: Cliff, path: Path, title: str) -> Path:
    """Draw latency against the memory cap, both logarithmic; × marks the first cap that killed a configuration."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    colors = {BASELINE: "black"}
    for (method, point), (free, *capped) in cliff.series().items():
        color = colors.setdefault(method, f"C{len(colors) - 1}")
        style = "--" if "rescore" in point and "no rescore" not in point else "-"
        alive = [(trial.cap / MIB, trial.typical_ms) for trial in capped if trial.cap and trial.typical_ms]
        caps, means = [cap for cap, _ in alive], [mean for _, mean in alive]
        axes.plot(caps, means, marker="o", label=name(method, point), color=color, linestyle=style)
        dead = [trial.cap / MIB for trial in capped if trial.cap and trial.killed]
        axes.plot(dead[:1], [means[-1] if means else free.typical_ms or 1.0] * len(dead[:1]), "x", color=color)
    axes.axvline(cliff.wanted / MIB, color="grey", linestyle=":", label="RAM the baseline wants")
    axes.set(
        xscale="log", yscale="log", xlabel="memory cap, MiB", ylabel="mean latency (median round), ms", title=title
    )
    axes.set_xticks(sorted({trial.cap / MIB for trial in cliff.trials if trial.cap}))
    axes.xaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.grid(which="both", alpha=0.25)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=DPI)
    return path
