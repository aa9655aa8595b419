"""The tracking store: MLflow, reached, searched and written to, with every fault in one line."""

import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp import __version__, store_file
from qexp.environment import ENTRY_POINT, experiment_name
from qexp.errors import ConfigError, DataError, TrackingError
from qexp.machine import user_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LONGEST_NAME = 250  # characters that a database has for the name of a run
UNNAMED = "mlflow run -e "  # and the entry point: what a run is called that `mlflow run` was given no name for
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # what MLflow calls a run that was given no name

TOLD_AFTER = 5.0  # seconds in which a server has not answered
SLOW_AFTER = 20.0  # seconds of many requests, or of one that MLflow tries again
# For a server that was never reached: it may be starting, but nothing is lost yet that MLflow's minutes would save.
FIRST_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}

log = logging.getLogger(__name__)

_reached: set[str] = set()  # servers

# Read when MLflow is imported: it reports while others measure.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def connect() -> tuple["MlflowClient", str]:
    """Return a client of the tracking store, and the id of the experiment.

    `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME` and `MLFLOW_EXPERIMENT_ID` are respected. Raises ConfigError if
    the store cannot be used.
    """
    import mlflow

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints what `store_faults` says shortly
    logging.getLogger("urllib3.connectionpool").addFilter(asked_again)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines and two requests for each trial
    try:
        store_file.check_place(mlflow.get_tracking_uri())
        _reach(mlflow.get_tracking_uri())
        with store_file.in_turn(mlflow.get_tracking_uri()):
            store_file.make_whole(mlflow.get_tracking_uri())
            client = mlflow.MlflowClient()
            if os.environ.get("MLFLOW_EXPERIMENT_ID"):
                return client, os.environ["MLFLOW_EXPERIMENT_ID"]
            name = experiment_name()
            found = client.get_experiment_by_name(name)
            if found and found.lifecycle_stage == "deleted":
                raise ConfigError(
                    f"the MLflow experiment '{name}' was deleted; set MLFLOW_EXPERIMENT_NAME=…, or take it back with "
                    f"mlflow experiments restore --experiment-id {found.experiment_id}"
                )
            return client, found.experiment_id if found else client.create_experiment(name)
    except Exception as error:
        if not isinstance(error, _faults(ImportError, ValueError)):  # no driver of the database, a port of no digits
            raise
        raise ConfigError(f"MLFLOW_TRACKING_URI={address()}: cannot be used: {_reason(error)}") from error


def _reach(uri: str) -> None:
    """Ask a server that was never reached for less long than MLflow would, and say what is waited for."""
    from mlflow import MlflowClient

    if not uri.startswith(("http:", "https:")) or uri in _reached:
        return
    told = _after(TOLD_AFTER, log.warning, "waiting for an answer of %s", without_password(uri))
    ours = {name: value for name, value in FIRST_PATIENCE.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    finally:
        told.cancel()
        for name in ours:
            del os.environ[name]
    _reached.add(uri)


def asked_again(record: logging.LogRecord) -> bool:
    """Have a log say in short that a server is asked again, and why; a filter, which lets everything through."""
    if record.msg.startswith("Retrying (") and isinstance(record.args, tuple):
        why = record.args[1]
        while isinstance(why, Exception) and why.args and isinstance(why.args[-1], Exception):
            why = why.args[-1]
        said = re.sub(r"^(\w+\(.*?\)|<.*?>): ", "", str(why))  # the connection, with its address
        record.msg, record.args = "the server is asked again: %s", (without_password(said),)
    return True


def address() -> str:
    """Return the tracking store's address; the password in it, if there is one, as `***`."""
    import mlflow

    return without_password(mlflow.get_tracking_uri())


def without_password(text: str) -> str:
    """Return the text with what the addresses in it have before their `@` as `***`: passwords, tokens."""
    return re.sub(r"://[^/\s]*@", "://***@", text)


@contextmanager
def store_faults(doing: str) -> Iterator[None]:
    """Turn every failure of the tracking store into a TrackingError that says what could not be done.

    Where a server takes long, as MLflow does with one that is away, what is waited for is said.
    """
    told = _after(SLOW_AFTER, _say_slow, doing)
    try:
        yield
    except Exception as error:
        if not isinstance(error, _faults()):
            raise
        raise TrackingError(f"the tracking store failed while {doing}: {_reason(error)}") from error
    finally:
        told.cancel()


def _say_slow(doing: str) -> None:
    import mlflow

    if (uri := mlflow.get_tracking_uri()) in _reached:
        log.warning("still %s: %s is slow to answer, or does not", doing, without_password(uri))


def _after(seconds: float, say: Callable[..., None], *words: str) -> threading.Timer:
    timer = threading.Timer(seconds, say, words)
    timer.daemon = True
    timer.start()
    return timer


def _faults(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what MLflow raises, and `more`; it lets through what SQLAlchemy says while a database is opened.

    Not to be asked for when interrupted: half of what it imports may be all that is there.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # takes a tenth of a second, which only faults cost

    return MlflowException, SQLAlchemyError, OSError, *more


def _reason(error: Exception) -> str:
    """Return the line of an error that says most: SQLAlchemy puts advice before it, and the statement after it."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return without_password(lines[0]) if lines else type(error).__name__


def start_run(client: "MlflowClient", experiment_id: str, name: str, level: str, tags: dict[str, str]) -> str:
    """Start a run at a level below `qexp.sweep` or `mlflow.parentRunId`, and return its id."""
    run = client.create_run(
        experiment_id,
        run_name=fitting(name),
        tags={
            "mlflow.user": user_name(),
            "mlflow.source.name": "qexp",
            "mlflow.source.type": "LOCAL",
            "qexp.level": level,
            "qexp.version": __version__,
            **tags,
        },
    )
    return str(run.info.run_id)


def fitting(name: str) -> str:
    """Return the name of a run, cut where databases have no room for more."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def name_mlflow_run() -> "Run | None":
    """Return the run that `mlflow run` has started, named after its entry point if it was given no name; None without.

    Raises TrackingError if the store fails.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return None
    with store_faults(f"looking for MLFLOW_RUN_ID={run_id}"):
        client, _ = connect()
        run = client.get_run(run_id)
        entry_point = run.data.tags.get("mlflow.project.entryPoint", "")
        if _RANDOM_NAME.fullmatch(run.info.run_name or ""):
            client.set_tag(run_id, "mlflow.runName", UNNAMED + entry_point)
    os.environ[ENTRY_POINT] = entry_point
    return run


def find_run(run_id: str) -> "Run | None":
    """Return a run; None if there is none of that id, or no run could have it."""
    import mlflow

    try:
        return mlflow.get_run(run_id)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def search(experiment_id: str, filter_string: str) -> "list[Run]":
    """Return all runs that match, oldest first."""
    import mlflow

    order = ["attributes.start_time ASC"]
    runs: list[Run] = mlflow.search_runs([experiment_id], filter_string, order_by=order, output_format="list")
    return runs


def log_values(
    client: "MlflowClient",
    run_id: str,
    params: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
    at: int = 0,
) -> None:
    """Log parameters and metrics together; `at` is the time of the metrics in milliseconds."""
    from mlflow.entities import Metric, Param

    entities = [Param(key, str(value)) for key, value in (params or {}).items()]
    client.log_batch(run_id, [Metric(key, value, at, 0) for key, value in (metrics or {}).items()], entities)


def json_artifact(run_id: str, name: str, kind: type = dict) -> Any:
    """Return what a JSON artifact holds; `{}` if the run has none of that name.

    Raises DataError if it is damaged, or holds no `kind`.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = file_artifact(run_id, name, folder)
            if path is None:
                return {}
            found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise ValueError(f"no {kind.__name__}")
        return found
    except ValueError as error:
        raise DataError(
            f"run {run_id}: its {name} is damaged ({error}); delete the run and measure it again"
        ) from error


def file_artifact(run_id: str, name: str, folder: str) -> Path | None:
    """Download an artifact into a folder; return its path there, None if the run has none of that name."""
    found = _artifacts(run_id)
    if name not in {item.path for item in found.list_artifacts()}:
        return None
    return Path(found.download_artifacts(name, folder))


@lru_cache(maxsize=8)  # several files of a run are read one after the other, and its client asks for it anew for each
def _artifacts(run_id: str) -> Any:
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(mlflow.get_run(run_id).info.artifact_uri)
