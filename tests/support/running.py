"""qexp in a process of its own, and the runs that it leaves."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run


def ran(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these words in a folder; return how it ended and what it said."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def started(environment: dict[str, str], tmp_path: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """Start `qexp` with these words; its standard error is to be read."""
    command = [sys.executable, "-m", "qexp", *words]
    return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, **more)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what it writes to standard error up to the line that holds the text."""
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    return seen


def errors(stderr: str) -> list[str]:
    """Return the lines in which qexp says what is wrong."""
    return [line for line in stderr.splitlines() if line.startswith("qexp: ")]


def all_runs(environment: dict[str, str]) -> list[Run]:
    """Return the runs of a store, the newest first."""
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, max_results=1000))


def runs_of(environment: dict[str, str], level: str) -> list[Run]:
    """Return those of a level."""
    return [run for run in all_runs(environment) if run.data.tags.get("qexp.level") == level]
