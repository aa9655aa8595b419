"""A measurement then and now: what of it holds, and what has changed around it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from qexp.bench.student import CONFIDENCE
from qexp.errors import ConfigError
from qexp.report.frontier import title
from qexp.results import Experiment, Interval, Row
from qexp.rows import collection_metrics

if TYPE_CHECKING:
    from mlflow.entities import Run

MEASURES = ("accuracy_retention", "recall")
CODE = ("qexp.version", "qexp.git_sha", "qexp.git_dirty", "qexp.lock")
PASSING = ("time", "load_average", "memory_available_gib")  # of the environment: differs between any two runs


@dataclass(frozen=True)
class Agreement:
    """An accuracy then and now; `allowed` is how far apart two builds may be by chance, 0 for the same build."""

    then: float
    now: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the difference is no larger than chance makes it."""
        return abs(self.now - self.then) <= self.allowed + 1e-9


@dataclass(frozen=True)
class TrialComparison:
    """One operating point then and now, by each of `MEASURES`; `latency` is mean latency now over mean latency then."""

    name: str
    agreements: tuple[Agreement, ...]
    latency: Interval | None


def same_build(run: "Run", experiment: Experiment) -> bool:
    """Whether both collections of then were found in the cache: their builds took exactly as long."""
    build, bare, now = experiment.quantized.build, experiment.baseline_collection.build, collection_metrics(experiment)
    found = build.reused and (bare.reused or experiment.quantized == experiment.baseline_collection)
    return found and all(
        run.data.metrics.get(name) == now[name] for name in ("index_seconds", "baseline_index_seconds")
    )


def compare(
    then: list[Row], now: list[Row], experiment: Experiment, same: bool, raw: Path | None
) -> list[TrialComparison]:
    """Compare the trials that both measurements of one experiment have, in the order of the newer one.

    `raw` is the file of the older one's latencies. Raises ConfigError if they have none in common.
    """
    keys = ("rescore", "oversampling", "hnsw_ef", "limit")
    measured = [row for row in then if row.trial and all(name in row.metrics for name in MEASURES)]
    before = {tuple(row.params.get(key) for key in keys): row for row in measured}
    latencies = _round_means(raw) if raw else {}
    compared = []
    new = [row for row in now if row.trial]
    for trial, row in zip(experiment.trials, new, strict=True):
        found = before.get(tuple(row.params.get(key) for key in keys))
        if found is None:  # tuning may find another factor with another build
            continue
        visit = f"trial: {trial.point.title}"
        means = experiment.latencies[visit].mean(axis=1)
        compared.append(
            TrialComparison(
                trial.point.title,
                tuple(_agreement(name, found, row, experiment.dataset.queries, same) for name in MEASURES),
                latency_ratio(latencies[visit], means) if visit in latencies else None,
            )
        )
    if not compared:
        raise ConfigError("the recorded run has none of the operating points that were measured now")
    return compared


def only_one_has(then: list[Row], now: list[Row]) -> list[str]:
    """Return a line for operating points that only one of two measurements has, as where tuning found others."""
    points = [[title(row.params) for row in rows if row.trial] for rows in (then, now)]
    apart = [[one for one in mine if one not in other] for mine, other in (points, points[::-1])]
    lines = zip(("then", "now"), apart, strict=True)
    return [f"measured {when} only, and not compared: {'; '.join(those)}" for when, those in lines if those]


def _agreement(measure: str, then: Row, now: Row, queries: int, same: bool) -> Agreement:
    allowed = 0.0 if same else math.hypot(*(half_width(measure, row.metrics, queries) for row in (then, now)))
    return Agreement(then.metrics[measure], now.metrics[measure], allowed)


def half_width(measure: str, metrics: dict[str, float], queries: int) -> float:
    """Return half of a mean's interval: as recorded, else the widest that a mean of shares in 0..1 can have.

    The variance of shares with mean p is at most p(1 - p) (Bhatia and Davis, 2000).
    """
    if recorded := Interval.of(metrics, measure):
        return (recorded.high - recorded.low) / 2
    mean = metrics[measure]
    return float(stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(mean * (1 - mean) / queries))


def latency_ratio(then: NDArray[np.float64], now: NDArray[np.float64]) -> Interval:
    """Return mean latency now over then with Welch's t interval on the logarithms of the rounds' means."""
    result = stats.ttest_ind(np.log(now), np.log(then), equal_var=False)
    interval = result.confidence_interval(CONFIDENCE)
    estimate = np.log(now).mean() - np.log(then).mean()
    return Interval(float(np.exp(estimate)), float(np.exp(interval.low)), float(np.exp(interval.high)))


def _round_means(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return each visit's mean latency per round, from the raw latencies; empty if they are damaged."""
    try:
        table = pq.read_table(path, columns=["visit", "round", "nanoseconds"])
    except pa.ArrowInvalid:
        return {}
    means = table.group_by(["visit", "round"]).aggregate([("nanoseconds", "mean")]).to_pylist()
    return {
        str(visit): np.array([row["nanoseconds_mean"] for row in means if row["visit"] == visit])
        for visit in {row["visit"] for row in means}
    }


def differences(run: "Run", then: dict[str, Any], experiment: Experiment) -> list[str]:
    """Return one line for everything that is not as it was: dataset, code, machine, libraries.

    `then` is the environment that the run has kept, empty if it has none.
    """
    from qexp import __version__, machine
    from qexp.provenance import code_tags

    digests = [found.dataset.digest for found in run.inputs.dataset_inputs] if run.inputs else []
    lines = []
    if digests != [experiment.dataset.digest]:
        before = ", ".join(digests) or "unknown"
        lines.append(f"dataset: its content has changed ({before} then, {experiment.dataset.digest} now)")
    code = {"qexp.version": __version__, **code_tags()}
    lines += _changed("", {key: run.data.tags.get(key) for key in CODE}, {key: code.get(key) for key in CODE})
    if not then:
        return [*lines, "machine and libraries: nothing is kept of then to compare them with"]
    now = machine.environment()
    lines += _changed("", _without(then, *PASSING, "libraries"), _without(now, *PASSING, "libraries"))
    return lines + _changed("library ", then.get("libraries", {}), now["libraries"])


def other_version(changed: Iterable[str]) -> list[str]:
    """Return what it means that another version of qexp measured then, where one of the `differences` says so."""
    if not any(line.startswith(("qexp.version:", "qexp.git_sha:")) for line in changed):
        return []
    return [
        "Another version of qexp measured it then, and may have counted otherwise: what does not hold here is to be "
        "measured with that one before it is called different."
    ]


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _changed(what: str, then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted({*then, *now})
    return [
        f"{what}{name}: {then.get(name)} then, {now.get(name)} now" for name in names if then.get(name) != now.get(name)
    ]
