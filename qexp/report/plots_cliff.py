"""Latency against memory, as a picture."""

from pathlib import Path

from qexp.footprint import Cliff
from qexp.report.cliff import BASELINE
from qexp.results import MIB

SIZE = (8.0, 4.8)  # inches
DPI = 120


def plot_cliff(cliff: Cliff, path: Path, title: str) -> Path:
    """Draw latency against the memory cap, both logarithmic; × marks where the kernel killed a configuration."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for (method, point), (free, *capped) in cliff.series().items():
        alive = [(trial.cap / MIB, trial.typical_ms) for trial in capped if trial.cap and trial.typical_ms]
        name = "baseline (no quantization)" if method == BASELINE else f"{method}, {point}"
        caps, means = [cap for cap, _ in alive], [mean for _, mean in alive]
        color = "black" if method == BASELINE else None
        (line,) = axes.plot(caps, means, marker="o", label=name, color=color)
        dead = [trial.cap / MIB for trial in capped if trial.cap and trial.killed]
        last = means[-1] if means else free.typical_ms or 1.0
        axes.plot(dead, [last] * len(dead), "x", color=line.get_color(), markersize=9)
    axes.axvline(cliff.wanted / MIB, color="grey", linestyle=":", label="RAM the baseline wants")
    axes.set(
        xscale="log", yscale="log", xlabel="memory cap, MiB", ylabel="mean latency (median round), ms", title=title
    )
    axes.grid(which="both", alpha=0.25)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=DPI)
    return path
