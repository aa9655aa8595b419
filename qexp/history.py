"""Finished runs, read back from MLflow for reports and exports."""

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexp import jobs, spool, store, tracking
from qexp.errors import MOST_NAMED, DataError, near_miss
from qexp.report.record import WARNINGS, CollectionRecord, Record
from qexp.report.settings import told_apart
from qexp.results import Check, Row

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

LAST = "last"


def read(reference: str) -> Record:
    """Return what a sweep, a collection or a run below one (its collection) recorded.

    `reference` is a run id, the name of an MLflow experiment (the newest run of each configuration), or `last` for the
    newest sweep or single experiment that has figures. Raises DataError if there is no such run, or nothing finished in
    it, and TrackingError if the store fails.
    """
    with store.store_faults(f"reading {reference}"):
        client, experiment_id = store.connect()
        if reference != LAST and (experiment := client.get_experiment_by_name(reference)):
            finished = store.search(experiment.experiment_id, jobs.FINISHED)
            return _record(reference, f"experiment {reference}", jobs.one_each(finished))
        run, collections = jobs.whole(_last(experiment_id) if reference == LAST else _run(reference))
        record = _record(run.info.run_id, run.info.run_name, collections)
        return replace(record, limits=json.loads(run.data.tags.get(tracking.SLO, "null")))


def run_id(reference: str) -> str:
    """Return the run that `last` stands for, the newest sweep or single experiment with figures; others as they are.

    Raises DataError if nothing is recorded yet, and TrackingError if the store fails.
    """
    if reference != LAST:
        return reference
    with store.store_faults(f"reading {reference}"):
        return str(_last(store.connect()[1]).info.run_id)


def latencies(collection: CollectionRecord) -> dict[str, NDArray[np.float64]]:
    """Return every visit's pooled latencies in milliseconds, from the raw artifact; empty if it is gone or damaged."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        with store.store_faults(f"reading {spool.LATENCIES_FILE} of run {collection.run_id}"):
            path = store.file_artifact(collection.run_id, spool.LATENCIES_FILE, folder)
        try:
            table = pq.read_table(path) if path else None
        except pa.ArrowInvalid:
            table = None
    if table is None:
        log.warning("%s: its %s is gone or damaged; nothing is drawn of it", collection.run_id, spool.LATENCIES_FILE)
        return {}
    visits = table["visit"].cast("string")
    return {
        name: table.filter(pc.equal(visits, name))["nanoseconds"].to_numpy() / 1e6
        for name in pc.unique(visits).to_pylist()
    }


def is_run(record: Record) -> bool:
    """Return whether the record is that of a run, and not of a whole MLflow experiment."""
    with store.store_faults(f"looking for run {record.run_id}"):
        return store.find_run(record.run_id) is not None


def log_report(run_id: str, folder: Path) -> None:
    """Keep the files of a report as artifacts of a run, below `report`."""
    with store.store_faults(f"keeping {folder} with run {run_id}"):
        client, _ = store.connect()
        client.log_artifacts(run_id, str(folder), "report")


def _last(experiment_id: str) -> "Run":
    # `mlflow run` has left a run of level `resume` that is newer than the sweep which it resumed.
    chosen = " AND ".join(f"tags.`qexp.level` != '{level}'" for level in (*jobs.BELOW, "resume"))
    tops = [run for run in store.search(experiment_id, chosen) if "mlflow.parentRunId" not in run.data.tags]
    if not tops:
        raise DataError(
            f"last: nothing is recorded yet in this MLflow experiment of {store.address()}; run qexp first, go to the "
            "folder where it ran, or name another store or experiment (MLFLOW_TRACKING_URI=…, "
            "MLFLOW_EXPERIMENT_NAME=…, mlflow run --experiment-name …)"
        )
    finished = store.search(experiment_id, jobs.FINISHED)
    having = {run.data.tags.get("qexp.sweep", run.info.run_id) for run in finished}
    reusing = {run.info.run_id for run in tops if any(tag.startswith(jobs.REUSED) for tag in run.data.tags)}
    told = [run for run in tops if run.info.run_id in having | reusing]
    if told and told[-1] is not tops[-1]:
        newest = tops[-1].info
        without = f"{newest.run_id} is newer, but {newest.status.lower()} and without figures"
        log.warning("last: taken is run %s; %s", told[-1].info.run_id, without)
    return (told or tops)[-1]


def _run(run_id: str) -> "Run":
    import mlflow

    found = store.find_run(run_id)
    if found is None:
        known = ["last", *(one.name for one in mlflow.search_experiments(max_results=MOST_NAMED))]
        raise DataError(f"{run_id}: no such run or MLflow experiment in {store.address()}{near_miss(run_id, known)}")
    level = found.data.tags.get("qexp.level")
    if level is None:
        raise DataError(f"{run_id}: {found.info.run_name} is no run of qexp; its sweeps, collections and trials are")
    if level in jobs.BELOW and found.info.lifecycle_stage == "deleted":  # its collection tells nothing of it any more
        raise DataError(f"{run_id}: is deleted in MLflow; take it back with mlflow runs restore --run-id {run_id}")
    return found


def _record(run_id: str, title: str, runs: "list[Run]") -> Record:
    measured, rest = jobs.with_rows(runs)
    failures = [(run.info.run_name, reason) for run, reason in rest]
    collections = []
    for run, rows in measured:
        try:
            collections.append(_collection(run, rows))
        except DataError as error:
            if len(runs) == 1:
                raise
            log.warning("%s: left out: %s", run.info.run_name, error)
            failures.append((run.info.run_name, str(error)))
    if not collections:
        reason = f": {failures[0][1]}" if failures else ""
        raise DataError(f"{title} ({run_id}): no finished collection to report on{reason}")
    apart = told_apart([(one.config | jobs.content(one.tags), (*one.rows, *one.loads)) for one in collections])
    told = [
        replace(one, rows=tuple(rows[: len(one.rows)]), loads=tuple(rows[len(one.rows) :]))
        for one, rows in zip(collections, apart, strict=True)
    ]
    cliff = jobs.merged_cliff([(one.run_id, one.rows) for one in told if jobs.capped(one.config)])
    return Record(run_id, title, tuple(told), tuple(failures), cliff)


def _collection(run: "Run", rows: list[Row]) -> CollectionRecord:
    checks = store.json_artifact(run.info.run_id, tracking.CHECKS_FILE, list)
    config = store.json_artifact(run.info.run_id, tracking.CONFIG_FILE)
    dataset = store.json_artifact(run.info.run_id, tracking.DATASET_FILE)
    for name, found in ((tracking.CONFIG_FILE, config), (tracking.DATASET_FILE, dataset)):
        if not found:
            raise DataError(
                f"run {run.info.run_id}: has no {name} (it is gone, or an older qexp kept none); delete the run and "
                "measure it again"
            )
    tags = dict(run.data.tags)
    if lost := jobs.lost_trials(run, rows):
        said = f"{lost} of its trials were deleted in MLflow and are left out"
        log.warning("%s: %s", run.info.run_name, said)
        tags[WARNINGS] = "\n".join(filter(None, (tags.get(WARNINGS), said)))  # so that reports have it
    loaded = config.get("search.clients") or config.get("search.rate")
    return CollectionRecord(
        run.info.run_id,
        config,
        dict(run.data.metrics),
        tags,
        dataset,
        store.json_artifact(run.info.run_id, tracking.ENVIRONMENT_FILE),
        tuple(rows),
        tuple(Check(**check) for check in checks),
        tuple(jobs.loads_of(run)) if loaded else (),
    )
