"""What qexp finds in its environment, and what its processes tell each other there."""

import os

SWEEP_RUN = "QEXP_SWEEP_RUN_ID"  # the parent of the collection runs
REPRODUCES = "QEXP_REPRODUCES"  # the run that is measured again
SWEEP_FOLDER = "QEXP_SWEEP_DIR"  # where Hydra keeps a multirun's output
SWEPT = "QEXP_SWEPT"  # the keys that differ between the jobs of a sweep, comma between
MAIN_PROCESS = "QEXP_MAIN_PID"  # the process that the user has started


def experiment_name() -> str:
    """Return the name of the MLflow experiment that runs are recorded in."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "qexp"


def sweep_run() -> str | None:
    """Return the id of the sweep's run, if there is a sweep."""
    return os.environ.get(SWEEP_RUN)


def in_multirun() -> bool:
    """Whether the sweep's run is that of a multirun, and not of `mlflow run` with a single run below it."""
    return SWEEP_RUN in os.environ and SWEEP_FOLDER in os.environ


def remedy(run_id: str) -> str:
    """Return how a sweep is concluded whose end was not reached; only a multirun can be resumed."""
    again = f"repeat the command with sweep.resume={run_id}"
    return again if in_multirun() else f"qexp-report {run_id} writes its report"


def swept_keys() -> list[str]:
    """Return the keys that differ between the jobs of the sweep; none without a sweep."""
    return [key for key in os.environ.get(SWEPT, "").split(",") if key]


def in_main_process() -> bool:
    """Whether this is the process that the user has started, and not one of a launcher's."""
    return os.environ.get(MAIN_PROCESS) == str(os.getpid())
