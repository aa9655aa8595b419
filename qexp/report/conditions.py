"""Tables of what was measured otherwise than warm and by one client: after a cold start, and under load."""

from collections.abc import Iterable

from qexp.report.elements import Element, Grid, Heading, Paragraph
from qexp.report.frontier import point
from qexp.report.table import speedup_text
from qexp.results import LoadLevel, Row

COLD = ("cold", "operating point", "warm ms", "cold ms", "speedup (95 % interval)", "first query ms", "faults a query")
LOAD = ("under load", "operating point", "load", "queries/s", "mean ms", "P95 ms", "speedup (95 % interval)")
SPARE = ("faults a query", "first query ms", "mean ms")  # where a terminal is too narrow, the first goes first
_COLD_SAID = (
    "Before every block all pages of the collection were dropped and it was loaded again. What its placement loads at "
    "once, such as pinned codes, is in memory before the first query; all else that a search reads comes from disk, "
    "and nothing is warmed up. Warm and cold are means, the speedup is one of cold means, faults are major page faults."
)
_LOAD_SAID = (
    "Clients search without pause, or queries arrive at a fixed rate, and then latency counts from the arrival. The "
    "speedup is one of throughput for clients without pause, of mean latency at a fixed rate; where queries arrive "
    "faster than they are served (saturated), waiting has no end, and no latency is given."
)


def condition_elements(rows: Iterable[tuple[str, Row]], loads: Iterable[tuple[str, Row]]) -> list[Element]:
    """Return both tables, of rows with the names of their collections, each with what it shows; none not measured."""
    cold, load = cold_grid(rows), load_grid(loads)
    elements: list[Element] = [Heading("After a cold start"), Paragraph(_COLD_SAID), cold] if cold else []
    return [*elements, Heading("Under load"), Paragraph(_LOAD_SAID), load] if load else elements


def cold_grid(named: Iterable[tuple[str, Row]]) -> Grid | None:
    """Return latency with pages dropped beside the warm one; None where it was not measured."""
    lines = []
    for name, row in named:
        cold = {key.removeprefix("cold_"): value for key, value in row.metrics.items() if key.startswith("cold_")}
        if cold:
            warm = f"{row.metrics['latency_mean_ms']:.3f}"
            means = (warm, f"{cold['latency_mean_ms']:.3f}", speedup_text(cold))
            lines.append(
                (name, _point(row), *means, f"{cold['first_query_ms']:.3f}", f"{cold['major_faults_per_query']:.2f}")
            )
    return Grid(COLD, tuple(lines)) if lines else None


def load_grid(named: Iterable[tuple[str, Row]]) -> Grid | None:
    """Return throughput and latency under load; None where there was none."""
    lines = []
    for name, row in named:
        metrics = row.metrics
        saturated = " (saturated)" if metrics["saturated"] else ""
        latencies = (f"{metrics[key]:.3f}" if key in metrics else "" for key in ("latency_mean_ms", "latency_p95_ms"))
        lines.append(
            (
                name,
                _point(row),
                _level(row).title,
                f"{metrics['qps']:.0f}{saturated}",
                *latencies,
                speedup_text(metrics),
            )
        )
    return Grid(LOAD, tuple(lines)) if lines else None


def _point(row: Row) -> str:
    return ", ".join(filter(None, ("baseline" if row.baseline else "", point(row.params))))


def _level(row: Row) -> LoadLevel:
    rate = row.params.get("rate")
    return LoadLevel(int(row.params["clients"]), float(rate) if rate else None)
