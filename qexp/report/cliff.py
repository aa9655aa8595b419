"""Latency under memory caps, as tables: every configuration under every cap, and where each falls off."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any

from rich.table import Table

from qexp.report.markdown import bullets, table_markdown
from qexp.report.settings import apart, varying
from qexp.report.terminal import WORDS, Column, fitted
from qexp.results import MIB, Row
from qexp.results.footprint import SLOWED, WAITING, CapTrial, Cliff, holding

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
PLAIN = "no rescore"  # how the point of a baseline begins


def merged(jobs: Sequence[tuple[Sequence[Row], Cliff]]) -> Cliff:
    """Return the cliffs of a sweep's jobs as one, each beside its job's rows, which say what sets the job apart.

    What several jobs measured alike, such as one baseline, is there once, as the first of them has it.
    """
    differing = varying([row for rows, _ in jobs for row in rows])
    found: dict[tuple[str, str, str], list[CapTrial]] = {}
    for rows, cliff in jobs:
        trials = []
        for trial in cliff.trials:
            params = rows[0 if trial.method == BASELINE else -1].params
            trials.append(replace(trial, wanted=cliff.wanted, told=apart(params, differing)))
        for key, series in Cliff(cliff.wanted, tuple(trials)).series().items():
            found.setdefault(key, series)
    return Cliff(jobs[0][1].wanted, tuple(trial for series in found.values() for trial in series))


def to_json(cliff: Cliff) -> str:
    """Return the cliff as JSON."""
    return json.dumps(asdict(cliff), indent=1)


def from_json(found: dict[str, Any]) -> Cliff:
    """Return the cliff that `to_json` wrote, as it is read."""
    return Cliff(found["wanted"], tuple(CapTrial(**trial) for trial in found["trials"]))


def cells(cliff: Cliff) -> list[list[str]]:
    """Return one row for every configuration and cap."""
    rows = []
    for series in cliff.series().values():
        for trial in series:
            share = cliff.share(trial)
            told = "" if share is None else f"{share:.0%}"
            rows.append([name(trial), cap_text(trial), told, *_measured(trial, series[0])])
    return rows


def name(trial: CapTrial) -> str:
    """Return a configuration's name."""
    told = f" ({trial.told})" if trial.told else ""
    if trial.method == BASELINE:  # it has no codes to search without
        return f"baseline{told}{trial.point.removeprefix(PLAIN)}"
    return f"{trial.method}{told}, {trial.point}"


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
        "" if trial.method == BASELINE else number(trial.base_ms, ".3f"),
        "" if trial.speedup is None else f"{trial.speedup:.1f}×",
        number(trial.faults, ".2f"),
        number(None if trial.read is None else trial.read / 1024, ".1f"),
        f"{trial.marked} of {trial.rounds}" if trial.marked else "",
    ]


def floors(cliff: Cliff) -> list[str]:
    """Return one sentence per configuration: the smallest cap with which it is still fast."""
    lines = []
    for series in cliff.series().values():
        free, *capped = series
        standing = holding(series)
        if len(standing) == len(capped):
            verdict = f"holds under every cap, down to {cap_text(standing[-1])}"
        elif standing:
            fallen = capped[len(standing)]
            verdict = f"holds with {cap_text(standing[-1])}, {_fate(fallen)} with {cap_text(fallen)}"
        else:
            verdict = f"{_fate(capped[0])} with {cap_text(capped[0])} already"
        lines.append(f"{name(free)}: {verdict}.")
    return lines


def _fate(trial: CapTrial) -> str:
    return "is killed" if trial.killed else "falls off"


def markdown(cliff: Cliff) -> str:
    """Return both as Markdown."""
    table = table_markdown(COLUMNS, cells(cliff))
    return "\n\n".join((table, bullets(floors(cliff)), LEGEND))


def cliff_table(cliff: Cliff, width: int) -> Table:
    """Return the table for a terminal of `width` characters, one section per configuration."""
    columns = [Column(name, left=place == 0, folds=None if place else WORDS) for place, name in enumerate(COLUMNS)]
    starts = list(accumulate(len(trials) for trials in cliff.series().values()))[:-1]
    return fitted("under memory caps", columns, cells(cliff), width, SPARE, starts)


LEGEND = (
    f"A configuration falls off where it is more than {SLOWED:g} times slower than without a cap and its queries wait "
    f"for the disk ({WAITING:g} page faults each, or more); it is killed where the kernel finds no memory for it. "
    "Floats are the baseline under the same cap in the same rounds; speedup compares the two round by round. Slowness, "
    "faults and KiB are those of the median round, milliseconds are means over all rounds; odd rounds have other fault "
    "counts."
)
