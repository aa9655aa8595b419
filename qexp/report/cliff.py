"""Latency under memory caps, as tables: every configuration under every cap, and where each falls off."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.table import Table

from qexp.footprint import SLOWED, CapTrial, Cliff

COLUMNS = (
    "quantization",
    "search",
    "memory cap",
    "mean\nms",
    "P95\nms",
    "slower\nthan free",
    "speedup over\nbaseline",
    "major faults\na query",
    "KiB read\na query",
)
BASELINE = "none"
KILLED = "killed: out of memory"


def merged(cliffs: Sequence[Cliff]) -> Cliff:
    """Return several jobs' cliffs as one, with the baseline of the first."""
    trials = list(cliffs[0].trials)
    for cliff in cliffs[1:]:
        trials += [trial for trial in cliff.trials if trial.method != BASELINE]
    return Cliff(cliffs[0].wanted, tuple(trials))


def to_json(cliff: Cliff) -> str:
    """Return the cliff as JSON."""
    return json.dumps(asdict(cliff), indent=1)


def from_json(text: str) -> Cliff:
    """Return the cliff that `to_json` wrote."""
    found = json.loads(text)
    return Cliff(found["wanted"], tuple(CapTrial(**trial) for trial in found["trials"]))


def cells(cliff: Cliff) -> list[list[str]]:
    """Return one row for every configuration and cap."""
    rows = []
    for (method, point), (free, *capped) in cliff.series().items():
        for trial in (free, *capped):
            name = "baseline" if method == BASELINE else method
            rows.append([name, "" if method == BASELINE else point, trial.cap_text, *_measured(trial, free)])
    return rows


def _measured(trial: CapTrial, free: CapTrial) -> list[str]:
    if trial.mean_ms is None or free.mean_ms is None:
        return [KILLED, "", "", "", "", ""]
    doubt = f" ({trial.marked} of {trial.rounds} rounds differ)" if trial.marked else ""
    return [
        f"{trial.mean_ms:.3f}",
        "" if trial.p95_ms is None else f"{trial.p95_ms:.3f}",
        f"{trial.mean_ms / free.mean_ms:.1f}×",
        "" if trial.speedup is None else f"{trial.speedup:.1f}×",
        f"{trial.faults:.2f}{doubt}",
        f"{(trial.read or 0) / 1024:.1f}",
    ]


def floors(cliff: Cliff) -> list[str]:
    """Return one sentence per configuration: the smallest cap with which it is still fast."""
    lines = []
    for (method, point), trials in cliff.series().items():
        name = "baseline" if method == BASELINE else f"{method}, {point}"
        standing = cliff.holds(method, point)
        if len(standing) == len(trials) - 1:
            lines.append(f"{name}: holds under every cap, down to {standing[-1].cap_text}")
        elif standing:
            lines.append(f"{name}: falls off below {standing[-1].cap_text}")
        else:
            lines.append(f"{name}: falls off under every cap, from {trials[1].cap_text} down")
    return lines


def markdown(cliff: Cliff) -> str:
    """Return both as Markdown."""
    lines = ["| " + " | ".join(" ".join(column.split()) for column in COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in cells(cliff)]
    return "\n".join([*lines, "", *(f"- {line}" for line in floors(cliff)), "", LEGEND])


def cliff_table(cliff: Cliff) -> Table:
    """Return the table for a terminal, one section per configuration."""
    table = Table(title="under memory caps", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 3 else "right", no_wrap=True)
    last = None
    for row in cells(cliff):
        if last not in (None, row[:2]):
            table.add_section()
        last = row[:2]
        table.add_row(*row)
    return table


LEGEND = (
    f"A configuration falls off where its mean latency is more than {SLOWED:g} times that without a cap, or the kernel "
    "kills it. Caps in percent are shares of the RAM that the unquantized collection wants; speedup is over the "
    "baseline under the same cap."
)
