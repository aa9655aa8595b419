"""The jobs of a sweep as MLflow holds them: one collection run of each configuration, and its rows."""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qexp.errors import ConfigError, DataError
from qexp.report.cliff import from_json, merged
from qexp.report.markdown import unescaped
from qexp.report.settings import CONTENT, told_apart
from qexp.report.sizing import CLIFF_FILE
from qexp.results import Row
from qexp.results.footprint import Cliff
from qexp.rows import failed_row, with_baselines
from qexp.store import address, connect, find_run, json_artifact, search, store_faults
from qexp.tracking import DIGESTS, TRIALS

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

FINISHED = "tags.`qexp.level` = 'collection' AND attributes.status = 'FINISHED'"
DELETED = "its trials were deleted"
BELOW = ("trial", "load")  # levels of the runs below a collection's
REUSED = "qexp.reused."  # tag of a sweep: the id of a collection run of another sweep, by its config hash


def collect(sweep: "Run") -> tuple[list[Row], str]:
    """Return the rows of a sweep's collections as MLflow has them, and a title.

    Of several runs of one configuration only one counts: the last that finished, else the last one. A collection
    that failed is a row that says why.
    """
    measured, rest = with_rows(jobs_of(sweep))
    told = told_apart([(run.data.params | content(run.data.tags), rows) for run, rows in measured])
    failed = [
        failed_row(run.info.run_name, run.data.params, reason)
        for run, reason in rest
        if run.info.status == "FINISHED" or "qexp.error" in run.data.tags  # else it is still to be measured
    ]
    if not measured:
        return failed, "no collection was measured"
    notes = [run.data.tags.get("mlflow.note.content", "") for run, _ in measured]  # which anyone may edit
    titles = {unescaped(found[1]) for note in notes if (found := re.match(r"\*\*(.+)\*\*\n", note))}
    title = titles.pop() if len(titles) == 1 else f"{len(measured)} collections"
    return [row for rows in told for row in rows] + failed, title


def with_rows(runs: "Iterable[Run]") -> "tuple[list[tuple[Run, list[Row]]], list[tuple[Run, str]]]":
    """Return the collections that have rows, each with them, and the others, each with what became of it."""
    measured, rest = [], []
    for run in runs:
        finished = run.info.status == "FINISHED"
        if rows := rows_of(run) if finished else []:
            measured.append((run, rows))
        else:
            rest.append((run, run.data.tags.get("qexp.error", DELETED if finished else run.info.status.lower())))
    return measured, rest


def cliff_of(sweep: "Run") -> Cliff | None:
    """Return what the collections of a sweep measured under memory caps, as one; None without any."""
    measured, _ = with_rows(run for run in jobs_of(sweep) if capped(run.data.params))
    told = told_apart([(run.data.params | content(run.data.tags), rows) for run, rows in measured])
    return merged_cliff([(run.info.run_id, rows) for (run, _), rows in zip(measured, told, strict=True)])


def content(tags: Mapping[str, str]) -> dict[str, str]:
    """Return what a collection's data were, in the words of a flat configuration; nothing where it is not recorded."""
    return {CONTENT: tags[DIGESTS]} if DIGESTS in tags else {}


def capped(config: Mapping[str, Any]) -> bool:
    """Whether a flat configuration, as values or as the text of MLflow's parameters, asks for memory caps."""
    return str(config.get("engine.ram_caps", [])) not in ("[]", "None")


def merged_cliff(jobs: Sequence[tuple[str, Sequence[Row]]]) -> Cliff | None:
    """Return what jobs (run id, rows) measured under memory caps, as one; None without any."""
    read = [(rows, json_artifact(run_id, CLIFF_FILE)) for run_id, rows in jobs]
    found = [(rows, from_json(cliff)) for rows, cliff in read if cliff]
    return merged(found) if found else None


def collections_of(run_id: str) -> "tuple[list[Run], bool]":
    """Return the finished collections of a sweep, a collection or a run below one, and whether it is a sweep.

    Raises ConfigError if there is no such run, or nothing of it is finished.
    """
    connect()
    with store_faults(f"looking for run {run_id}"):
        run = find_run(run_id)
        if run is None:
            raise ConfigError(
                f"{run_id}: no such run in MLFLOW_TRACKING_URI={address()}; set it to the store that has the run"
            )
        if run.info.lifecycle_stage == "deleted":
            log.warning("%s: is deleted in MLflow; its figures are still there", run_id)
        run, collections = whole(run)
        found = [one for one in collections if one.info.status == "FINISHED" and "qexp.config_hash" in one.data.tags]
    if not found:
        raise ConfigError(f"{run_id}: is no finished run of qexp")
    if len(found) < len(collections):
        lost = len(collections) - len(found)
        log.warning("%s: left out what did not finish: %d of %d", run.info.run_name, lost, len(collections))
    return found, run.data.tags.get("qexp.level") == "sweep"


def whole(run: "Run") -> "tuple[Run, list[Run]]":
    """Return the sweep or collection that a run is, or the collection that it is of; and its collections."""
    import mlflow

    level = run.data.tags.get("qexp.level")
    if level in BELOW:
        run = mlflow.get_run(run.data.tags["mlflow.parentRunId"])
    return run, jobs_of(run) if level == "sweep" else [run]


def jobs_of(sweep: "Run") -> "list[Run]":
    """Return one collection run of each configuration of a sweep, finished where there is one."""
    return one_each(runs_of(sweep))


def runs_of(sweep: "Run") -> "list[Run]":
    """Return the collections that a sweep reuses, in the order in which they were measured, then its own and trials."""
    run_id, experiment_id = sweep.info.run_id, sweep.info.experiment_id
    reused = [value for key, value in sweep.data.tags.items() if key.startswith(REUSED)]
    there = [run for run in (find_run(value) for value in reused) if run]
    if gone := {*reused} - {run.info.run_id for run in there}:
        log.warning(
            "%s: left out what it reused and is deleted since: %s", sweep.info.run_name, ", ".join(sorted(gone))
        )
    there.sort(key=lambda run: run.info.start_time)
    return there + search(experiment_id, f"tags.`qexp.sweep` = '{run_id}'")


def one_each(runs: "list[Run]") -> "list[Run]":
    """Return of these runs the last collection of each configuration, the last finished one where there is one."""
    collections = [run for run in runs if run.data.tags["qexp.level"] == "collection"]
    finished = [run for run in collections if run.info.status == "FINISHED"]
    by_hash = {run.data.tags.get("qexp.config_hash", run.info.run_id): run for run in (*collections, *finished)}
    return list(by_hash.values())


def lost_trials(collection: "Run", rows: Sequence[Row]) -> int:
    """Return how many of a collection's trials are no longer there, since someone deleted their runs."""
    trials = sum(row.trial for row in rows)
    return int(collection.data.tags.get(TRIALS, trials)) - trials


def rows_of(collection: "Run") -> list[Row]:
    """Return a collection's baselines and trials, in the order in which they were recorded."""
    return with_baselines(_rows_below(collection, "trial"), dict(collection.data.metrics))


def loads_of(collection: "Run") -> list[Row]:
    """Return what a collection did under load, in the order in which it was recorded."""
    return _rows_below(collection, "load")


def _rows_below(collection: "Run", level: str) -> list[Row]:
    chosen = f"tags.`mlflow.parentRunId` = '{collection.info.run_id}' AND tags.`qexp.level` = '{level}'"
    runs = search(collection.info.experiment_id, chosen)
    runs.sort(key=lambda run: int(run.data.tags.get("qexp.trial", 0)))
    for run in runs:
        _check_edited(run)
    return [Row(dict(run.data.params), dict(run.data.metrics), run.info.run_id) for run in runs]


def _check_edited(run: "Run") -> None:
    """Raise DataError for a latency that was never measured, but written into the run by hand: all is divided by it."""
    for name, value in run.data.metrics.items():
        if name.startswith("latency_") and not 0 < value < sys.float_info.max:  # as which MLflow keeps infinity
            raise DataError(
                f"run {run.info.run_id} ({run.info.run_name}): its {name} is {value:g}, which no search takes; log "
                f"again what was measured, or leave it out by mlflow runs delete --run-id {run.info.run_id}"
            )
