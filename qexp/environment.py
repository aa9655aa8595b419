"""What qexp finds in its environment, and what its processes tell each other there."""

import os

SWEEP_RUN = "QEXP_SWEEP_RUN_ID"  # the parent of the collection runs
SWEEP_FOLDER = "QEXP_SWEEP_DIR"  # where Hydra keeps a multirun's output
SWEPT = "QEXP_SWEPT"  # the keys that differ between the jobs of a sweep, comma between
MAIN_PROCESS = "QEXP_MAIN_PID"  # the process that the user has started
ENTRY_POINT = "QEXP_ENTRY_POINT"  # of the MLproject, where `mlflow run` has started that process


def experiment_name() -> str:
    """Return the name of the MLflow experiment that runs are recorded in."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "qexp"


def sweep_run() -> str | None:
    """Return the id of the sweep's run, if there is a sweep."""
    return os.environ.get(SWEEP_RUN)


def in_multirun() -> bool:
    """Whether the sweep's run is that of a multirun, and not of `mlflow run` with a single run below it."""
    return SWEEP_RUN in os.environ and SWEEP_FOLDER in os.environ


def in_mlflow_run() -> bool:
    """Whether `mlflow run` has started this, whose words and folder are then not the user's own."""
    return bool(os.environ.get(ENTRY_POINT))


def as_multirun() -> str:
    """Return what asks for a sweep, after whichever command was given."""
    return "-e sweep" if in_mlflow_run() else "-m"


def repeat(run_id: str | None) -> str:
    """Return how a multirun is resumed."""
    word = f"sweep.resume={run_id}"
    return f"repeat the command with {word}{' in -P overrides' if in_mlflow_run() else ''}"


def remedy(run_id: str) -> str:
    """Return how a sweep is concluded whose end was not reached; only a multirun can be resumed."""
    if in_multirun():
        return repeat(run_id)
    report = f"mlflow run … -e report -P run_id={run_id}" if in_mlflow_run() else f"qexp-report {run_id}"
    return f"{report} writes its report"


def swept_keys() -> list[str]:
    """Return the keys that differ between the jobs of the sweep; none without a sweep."""
    return [key for key in os.environ.get(SWEPT, "").split(",") if key]


def in_main_process() -> bool:
    """Whether this is the process that the user has started, and not one of a launcher's."""
    return os.environ.get(MAIN_PROCESS) == str(os.getpid())
