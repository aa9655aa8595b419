"""The command `qexp-reproduce`: measure a recorded run again, from the run alone, and judge whether it holds."""

import argparse
import json
import logging
import math
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from qexp.bench.student import CONFIDENCE
from qexp.config import ExperimentConfig, HubDataset, restored
from qexp.environment import REPRODUCES, sweep_run
from qexp.errors import ConfigError, QexpError
from qexp.results import Experiment, Interval, Row
from qexp.rows import collection_metrics, experiment_rows
from qexp.streams import robust

if TYPE_CHECKING:
    from mlflow.entities import Run
    from rich.table import Table
    from rich.text import Text

    from qexp.report.terminal import Cell

MEASURES = ("accuracy_retention", "recall")
CODE = ("qexp.version", "qexp.git_sha", "qexp.git_dirty", "qexp.lock")
PASSING = ("time", "load_average", "memory_available_gib")  # of the environment: differs between any two runs
ENVIRONMENT, LATENCIES = "environment.json", "latencies.parquet"  # artifacts of a collection run


@dataclass(frozen=True)
class Check:
    """An accuracy then and now; `allowed` is how far apart two builds may be by chance, 0 for the same build."""

    measure: str
    then: float
    now: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the difference is no larger than chance makes it."""
        return abs(self.now - self.then) <= self.allowed + 1e-9


@dataclass(frozen=True)
class TrialComparison:
    """One operating point then and now; `latency` is mean latency now over mean latency then."""

    name: str
    checks: tuple[Check, ...]
    latency: Interval | None


@robust
def main() -> None:
    """Run `qexp-reproduce RUN_ID`; exit with 0 (reproduced), 1 (not) or 2 (it cannot be tried)."""
    from qexp import history, sweep

    parser = argparse.ArgumentParser("qexp-reproduce", description="Measure a recorded run again and compare.")
    parser.add_argument("run_id", help="a sweep, a collection or a trial in MLFLOW_TRACKING_URI, or last")
    parser.add_argument("--fresh", action="store_true", help="build everything again, in a cache of its own")
    words = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("qexp").setLevel(logging.INFO)
    try:
        run_id = history.run_id(words.run_id)  # before the run that `mlflow run` has started is one of ours
        sweep.adopt_mlflow_run()
        verdicts = _fresh(run_id) if words.fresh else reproduce(run_id, None)
    except QexpError as error:
        print(f"qexp-reproduce: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if all(verdicts) else 1)


def _fresh(run_id: str) -> list[bool]:
    """Reproduce with a cache that is empty before and gone afterwards, unless it keeps what could not be logged."""
    cache = tempfile.mkdtemp(prefix="qexp-")
    try:
        return reproduce(run_id, cache)
    finally:
        if not any(Path(cache).glob("spool/*")):
            shutil.rmtree(cache)


def reproduce(run_id: str, cache: str | None) -> list[bool]:
    """Measure every collection of a run again; return for each whether it was reproduced."""
    from qexp import jobs, sweep
    from qexp.paths import cache_root

    runs, whole = jobs.collections_of(run_id)
    if whole:
        sweep.begin(f"reproduction of {run_id}", cache_root(cache), None)
    verdicts: list[bool] = []
    status = "FAILED"
    try:
        verdicts = [_collection(run, cache) for run in runs]
        status = "FINISHED"
    finally:
        parent = sweep_run()
        if parent:
            sweep.finish(parent, status)
    return verdicts


def _collection(run: "Run", cache: str | None) -> bool:
    from qexp import jobs, store, tracking
    from qexp.report.terminal import console
    from qexp.runner import run as measure

    with tempfile.TemporaryDirectory() as folder:
        old = store.artifacts(run.info.run_id, Path(folder), (tracking.SAVED_CONFIG, ENVIRONMENT, LATENCIES))
        if tracking.SAVED_CONFIG not in old:
            raise ConfigError(f"{run.info.run_id}: the run has no {tracking.SAVED_CONFIG}, so it cannot be composed")
        config = restored(json.loads(old[tracking.SAVED_CONFIG].read_text()), cache_dir=cache)
        config = _at_revision(config, run.data.tags.get(tracking.DATASET_REVISION))
        os.environ[REPRODUCES] = run.info.run_id
        try:
            experiment = measure(config, shlex.split(run.data.tags["qexp.command"])[1:])
        finally:
            del os.environ[REPRODUCES]
        same = same_build(run, experiment)
        compared = compare(jobs.recorded_rows(run), experiment_rows(config, experiment), experiment, same, old)
        differences = _differences(run, json.loads(old[ENVIRONMENT].read_text()), experiment)
    dataset_changed = any(line.startswith("dataset:") for line in differences)
    good = not dataset_changed and all(check.holds for trial in compared for check in trial.checks)
    out = console()
    out.print(_table(compared, str(run.info.run_name), out.width), crop=False)
    lines = [*differences, _explained(same), _verdict(run, compared, good, dataset_changed)]
    for line in lines:
        out.print(line, markup=False)
    tracking.record_verdict(run.info.run_id, "reproduced" if good else "not reproduced", "\n".join(lines))
    return good


def _at_revision(config: ExperimentConfig, revision: str | None) -> ExperimentConfig:
    """Return the experiment with the commit of its hub dataset, whichever is the newest now."""
    if revision is None or not isinstance(config.dataset, HubDataset):
        return config
    return replace(config, dataset=replace(config.dataset, revision=revision))


def same_build(run: "Run", experiment: Experiment) -> bool:
    """Whether both collections of then were found in the cache: their builds took exactly as long."""
    build, bare, now = experiment.quantized.build, experiment.baseline_collection.build, collection_metrics(experiment)
    found = build.reused and (bare.reused or experiment.quantized == experiment.baseline_collection)
    return found and all(
        run.data.metrics.get(name) == now[name] for name in ("index_seconds", "baseline_index_seconds")
    )


def compare(
    then: list[Row], now: list[Row], experiment: Experiment, same: bool, old: dict[str, Path]
) -> list[TrialComparison]:
    """Compare the trials of two measurements of one experiment, in the order of the newer one."""
    keys = ("rescore", "oversampling", "hnsw_ef", "limit")
    measured = [row for row in then if "role" not in row.params and all(name in row.metrics for name in MEASURES)]
    before = {tuple(row.params.get(key) for key in keys): row for row in measured}
    latencies = _round_means(old[LATENCIES]) if LATENCIES in old else {}
    compared = []
    new = [row for row in now if "role" not in row.params]
    for trial, row in zip(experiment.trials, new, strict=True):
        found = before.get(tuple(row.params.get(key) for key in keys))
        if found is None:
            raise ConfigError(f"{trial.point.title}: the recorded run has no such trial")
        visit = f"trial: {trial.point.title}"
        means = experiment.latencies[experiment.visits.index(visit)].mean(axis=1)
        compared.append(
            TrialComparison(
                trial.point.title,
                tuple(_check(name, found, row, experiment.dataset.queries, same) for name in MEASURES),
                latency_ratio(latencies[visit], means) if visit in latencies else None,
            )
        )
    return compared


def _check(measure: str, then: Row, now: Row, queries: int, same: bool) -> Check:
    allowed = 0.0 if same else math.hypot(*(half_width(measure, row.metrics, queries) for row in (then, now)))
    return Check(measure, then.metrics[measure], now.metrics[measure], allowed)


def half_width(measure: str, metrics: dict[str, float], queries: int) -> float:
    """Return half of a mean's interval: as recorded, else the widest that a mean of shares in 0..1 can have.

    The variance of shares with mean p is at most p(1 - p) (Bhatia and Davis, 2000).
    """
    recorded = Interval.of(metrics, measure)
    if recorded:
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
    """Return each visit's mean latency per round, from the raw latencies."""
    table = pq.read_table(path, columns=["visit", "round", "nanoseconds"])
    means = table.group_by(["visit", "round"]).aggregate([("nanoseconds", "mean")]).to_pylist()
    return {
        str(visit): np.array([row["nanoseconds_mean"] for row in means if row["visit"] == visit])
        for visit in {row["visit"] for row in means}
    }


def _differences(run: "Run", then: dict[str, Any], experiment: Experiment) -> list[str]:
    """Return one line for everything that is not as it was: dataset, code, machine, libraries."""
    from qexp import __version__, machine
    from qexp.provenance import code_tags

    digests = [found.dataset.digest for found in run.inputs.dataset_inputs] if run.inputs else []
    lines = []
    if digests != [experiment.dataset.digest]:
        lines.append(f"dataset: its content has changed ({digests} then, {experiment.dataset.digest} now)")
    code = {"qexp.version": __version__, **code_tags()}
    lines += _changed("", {key: run.data.tags.get(key) for key in CODE}, {key: code.get(key) for key in CODE})
    now = machine.environment()
    lines += _changed("", _without(then, *PASSING, "libraries"), _without(now, *PASSING, "libraries"))
    return lines + _changed("library ", then.get("libraries", {}), now["libraries"])


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _changed(what: str, then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted({*then, *now})
    return [
        f"{what}{name}: {then.get(name)} then, {now.get(name)} now" for name in names if then.get(name) != now.get(name)
    ]


def _table(compared: list[TrialComparison], title: str, width: int) -> "Table":
    from qexp.report.terminal import Column, fitted

    measures = [f"{measure}\n{what}" for measure in ("retention", "recall") for what in ("then", "now", "may differ")]
    rows: list[list[Cell]] = [
        [trial.name, *(text for check in trial.checks for text in _cells(check)), _ratio(trial.latency)]
        for trial in compared
    ]
    return fitted(
        title,
        [Column("operating point", left=True, folds=20), *map(Column, [*measures, "latency\nnow / then"])],
        rows,
        width,
        (7,),
    )


def _ratio(latency: Interval | None) -> str:
    return latency.ratio if latency else "unknown"


def _cells(check: Check) -> list["Text"]:
    from rich.text import Text

    now = Text(f"{check.now:.4f}", style="" if check.holds else "red")
    return [Text(f"{check.then:.4f}"), now, Text(f"± {check.allowed:.4f}" if check.allowed else "0")]


def _explained(same: bool) -> str:
    if same:
        return "The collection is the build of then, from the cache, so its results must be the same to the bit."
    return (
        "The collection was built again. Qdrant does not build the same graph twice, so accuracy may differ as much as "
        "two samples of queries would; latency is this machine's, and judges nothing."
    )


def _verdict(run: "Run", compared: list[TrialComparison], good: bool, dataset_changed: bool) -> str:
    checks = [check for trial in compared for check in trial.checks]
    held = sum(check.holds for check in checks)
    name = f"{run.info.run_name} ({run.info.run_id})"
    if dataset_changed:
        return f"NOT REPRODUCED: {name}: the dataset is another one, so nothing can be said about the figures"
    return f"{'reproduced' if good else 'NOT REPRODUCED'}: {name}: {held} of {len(checks)} accuracies hold"


if __name__ == "__main__":
    main()
