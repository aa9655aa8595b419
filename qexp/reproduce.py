"""The command `qexp-reproduce`: measure a recorded run again, from the run alone, and judge whether it holds."""

import logging
import shlex
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.config import ExperimentConfig, HubDataset, restored
from qexp.environment import sweep_run
from qexp.errors import ConfigError, QexpError
from qexp.reproduced import Agreement, TrialComparison, compare, differences, only_one_has, other_version, same_build
from qexp.rows import experiment_rows
from qexp.streams import BAD_INPUT, Parser, command, complain

if TYPE_CHECKING:
    from mlflow.entities import Run
    from rich.table import Table
    from rich.text import Text

    from qexp.report.terminal import Cell

REPRODUCED, DIFFERENT, CANNOT = 0, 1, BAD_INPUT  # exit codes


@command("qexp-reproduce")
def main() -> int:
    """Run `qexp-reproduce RUN_ID`; exit with 0 (reproduced), 1 (not), 2 (it cannot be tried) or 130 (interrupted)."""
    from qexp import history, store, sweep

    parser = Parser("qexp-reproduce", description="Measure a recorded run again and compare.")
    parser.add_argument("run_id", help="a sweep, a collection or a trial in MLFLOW_TRACKING_URI, or last")
    parser.add_argument("--fresh", action="store_true", help="build everything again, in a cache of its own")
    words = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("qexp").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store.name_mlflow_run()
    run_id = history.run_id(words.run_id)  # before the run that `mlflow run` has started is one of ours
    sweep.adopt_mlflow_run()
    return _fresh(run_id) if words.fresh else reproduce(run_id, None)


def _fresh(run_id: str) -> int:
    """Reproduce with a cache that is empty before and gone afterwards, unless it keeps what could not be logged."""
    cache = tempfile.mkdtemp(prefix="qexp-")
    try:
        return reproduce(run_id, cache)
    finally:
        if not any(Path(cache).glob("spool/*")):
            shutil.rmtree(cache)


def reproduce(run_id: str, cache: str | None) -> int:
    """Measure every collection of a run again; return the exit code."""
    from qexp import jobs, sweep
    from qexp.paths import cache_root

    runs, whole = jobs.collections_of(run_id)
    if whole:
        sweep.begin(f"reproduction of {run_id}", cache_root(cache), None)
    status = "FAILED"
    try:
        code = max([_attempt(run, cache) for run in runs])
        status = "FAILED" if code == CANNOT else "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        parent = sweep_run()
        if parent:
            sweep.finish(parent, status)
    return code


def _attempt(run: "Run", cache: str | None) -> int:
    """Measure a collection again; what keeps it from that keeps nobody from trying the next."""
    try:
        return REPRODUCED if _holds(run, cache) else DIFFERENT
    except QexpError as error:
        return complain("qexp-reproduce", f"{run.info.run_name} ({run.info.run_id}): {error}")


def _holds(run: "Run", cache: str | None) -> bool:
    from qexp import jobs, spool, store, tracking
    from qexp.report.terminal import console
    from qexp.runner import run as measure

    run_id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        with store.store_faults(f"reading run {run_id}"):
            saved = store.json_artifact(run_id, tracking.SAVED_CONFIG)
            environment = store.json_artifact(run_id, tracking.ENVIRONMENT_FILE)
            latencies = store.file_artifact(run_id, spool.LATENCIES_FILE, folder)
            then = jobs.rows_of(run)
        if not saved:
            raise ConfigError(f"the run has no {tracking.SAVED_CONFIG}, so it cannot be composed")
        config = _at_revision(restored(saved, cache_dir=cache), run.data.tags.get(tracking.DATASET_REVISION))
        again, experiment = measure(config, shlex.split(run.data.tags["qexp.command"])[1:], run_id)
        same = same_build(run, experiment)
        now = experiment_rows(config, experiment)
        compared = compare(then, now, experiment, same, latencies)
    changed = differences(run, environment, experiment)
    dataset_changed = any(line.startswith("dataset:") for line in changed)
    good = not dataset_changed and all(one.holds for trial in compared for one in trial.agreements)
    out = console()
    out.print(_table(compared, str(run.info.run_name), out.width), crop=False)
    told = [_explained(same), *([] if good else other_version(changed))]
    lines = [*changed, *only_one_has(then, now), *told, _verdict(run, compared, good, dataset_changed)]
    for line in lines:
        out.print(line, markup=False)
    tracking.record_verdict(again, "reproduced" if good else "not reproduced", "\n".join(lines))
    return good


def _at_revision(config: ExperimentConfig, revision: str | None) -> ExperimentConfig:
    """Return the experiment with the commit of its hub dataset, whichever is the newest now."""
    if revision is None or not isinstance(config.dataset, HubDataset):
        return config
    return replace(config, dataset=replace(config.dataset, revision=revision))


def _table(compared: list[TrialComparison], title: str, width: int) -> "Table":
    from qexp.report.terminal import Column, fitted

    measures = [f"{measure}\n{what}" for measure in ("retention", "recall") for what in ("then", "now", "may differ")]
    rows: list[list[Cell]] = []
    for trial in compared:
        latency = trial.latency.ratio if trial.latency else "unknown"
        rows.append([trial.name, *(text for one in trial.agreements for text in _cells(one)), latency])
    return fitted(
        title,
        [Column("operating point", left=True, folds=20), *map(Column, [*measures, "latency\nnow / then"])],
        rows,
        width,
        (7,),
    )


def _cells(one: Agreement) -> list["Text"]:
    from rich.text import Text

    now = Text(f"{one.now:.4f}", style="" if one.holds else "red")
    return [Text(f"{one.then:.4f}"), now, Text(f"± {one.allowed:.4f}" if one.allowed else "0")]


def _explained(same: bool) -> str:
    if same:
        return "The collection is the build of then, from the cache, so its results must be the same to the bit."
    return (
        "The collection was built again. Qdrant does not build the same graph twice, so accuracy may differ as much as "
        "two samples of queries would; latency is this machine's, and judges nothing."
    )


def _verdict(run: "Run", compared: list[TrialComparison], good: bool, dataset_changed: bool) -> str:
    agreements = [one for trial in compared for one in trial.agreements]
    held = sum(one.holds for one in agreements)
    name = f"{run.info.run_name} ({run.info.run_id})"
    if dataset_changed:
        return f"NOT REPRODUCED: {name}: the dataset is another one, so nothing can be said about the figures"
    return f"{'reproduced' if good else 'NOT REPRODUCED'}: {name}: {held} of {len(agreements)} accuracies hold"


if __name__ == "__main__":
    main()
