"""Latency under memory caps, as tables: every configuration under every cap, and where each falls off."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from rich.table import Table

from qexp.report.settings import DATA, SETTINGS
from qexp.report.table import WORDS, varying
from qexp.report.terminal import Column, fitted
from qexp.results import MIB, Row
from qexp.results.footprint import SLOWED, WAITING, CapTrial, Cliff

COLUMNS = (
    "configuration",
    "memory\ncap",
    "of what\nfloats want",
    "mean\nms",
    "P95\nms",
    "slower\nthan free",
    "floats\nms",
    "speedup",
    "faults\na query",
    "KiB read\na query",
    "odd\nrounds",
)
SPARE = (9, 4, 10, 2, 6)  # places of the columns that go where a terminal is too narrow for all, the first first
BASELINE = "none"
KILLED = "killed"
_APART = {"dataset": "{}", DATA: "{}", "embedding_size": "{} dimensions", "storage": "storage {}", SETTINGS: "{}"}


def merged(jobs: Sequence[tuple[Sequence[Row], Cliff]]) -> Cliff:
    """Return the cliffs of a sweep's jobs as one, each beside its job's rows, which say what sets the job apart.

    Of baselines that nothing sets apart the first stays.
    """
    apart = [name for name in varying([row for rows, _ in jobs for row in rows]) if name in _APART]
    trials: list[CapTrial] = []
    baselines: set[str] = set()
    for rows, cliff in jobs:
        known = set(baselines)
        for trial in cliff.trials:
            params = rows[0 if trial.method == BASELINE else -1].params
            told = ", ".join(_APART[name].format(params[name]) for name in apart if name in params)
            method = f"{trial.method} ({told})" if told else trial.method
            if trial.method == BASELINE:
                baselines.add(method)
            if method not in known:
                trials.append(replace(trial, method=method, wanted=cliff.wanted))
    return Cliff(jobs[0][1].wanted, tuple(trials))


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
            share = "" if trial.cap is None else f"{trial.cap / (trial.wanted or cliff.wanted):.0%}"
            rows.append([name(method, point), cap_text(trial), share, *_measured(trial, free)])
    return rows


def name(method: str, point: str) -> str:
    """Return a configuration's name."""
    return method.replace(BASELINE, "baseline", 1) if is_baseline(method) else f"{method}, {point}"


def is_baseline(method: str) -> bool:
    """Whether this names a baseline, whatever sets its job apart."""
    return method.partition(" (")[0] == BASELINE


def cap_text(trial: CapTrial) -> str:
    """Return the cap in MiB."""
    return "none" if trial.cap is None else f"{trial.cap / MIB:.{1 if trial.cap < 10 * MIB else 0}f} MiB"


def _measured(trial: CapTrial, free: CapTrial) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    if trial.killed:
        return [KILLED, *[""] * 7]
    return [
        number(trial.mean_ms, ".3f"),
        number(trial.p95_ms, ".3f"),
        number(trial.slower(free), ".1f") + "×",
        "" if is_baseline(trial.method) else number(trial.base_ms, ".3f"),
        "" if trial.speedup is None else f"{trial.speedup:.1f}×",
        number(trial.faults, ".2f"),
        number(None if trial.read is None else trial.read / 1024, ".1f"),
        f"{trial.marked} of {trial.rounds}" if trial.marked else "",
    ]


def floors(cliff: Cliff) -> list[str]:
    """Return one sentence per configuration: the smallest cap with which it is still fast."""
    lines = []
    for (method, point), (_, *capped) in cliff.series().items():
        standing = cliff.holds(method, point)
        if len(standing) == len(capped):
            verdict = f"holds under every cap, down to {cap_text(standing[-1])}"
        elif standing:
            fallen = capped[len(standing)]
            verdict = f"holds with {cap_text(standing[-1])}, {_fate(fallen)} with {cap_text(fallen)}"
        else:
            verdict = f"{_fate(capped[0])} with {cap_text(capped[0])} already"
        lines.append(f"{name(method, point)}: {verdict}")
    return lines


def _fate(trial: CapTrial) -> str:
    return "is killed" if trial.killed else "falls off"


def markdown(cliff: Cliff) -> str:
    """Return both as Markdown."""
    lines = ["| " + " | ".join(" ".join(column.split()) for column in COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in cells(cliff)]
    return "\n".join([*lines, "", *(f"- {line}" for line in floors(cliff)), "", LEGEND])


def cliff_table(cliff: Cliff, width: int) -> Table:
    """Return the table for a terminal of `width` characters, one section per configuration."""
    rows = cells(cliff)
    columns = [Column(name, left=place == 0, folds=None if place else WORDS) for place, name in enumerate(COLUMNS)]
    starts = [number for number in range(1, len(rows)) if rows[number][0] != rows[number - 1][0]]
    return fitted("under memory caps", columns, rows, width, SPARE, starts)


LEGEND = (
    f"A configuration falls off where it is more than {SLOWED:g} times slower than without a cap and its queries wait "
    f"for the disk ({WAITING:g} page faults each, or more); it is killed where the kernel finds no memory for it. "
    "Floats are the baseline under the same cap in the same rounds; speedup compares the two round by round. Slowness, "
    "faults and KiB are those of the median round, milliseconds are means over all rounds; odd rounds have other fault "
    "counts."
)
