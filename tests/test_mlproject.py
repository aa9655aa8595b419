import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from qexp.usage import expanded

CHECKOUT = Path(__file__).resolve().parents[1]
QUICK = "dataset.points=2000 dataset.size=64 dataset.queries=100 index.full_scan_threshold=100 search.rounds=2"


def mlflow_run(cwd: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(CHECKOUT), "--env-manager=local", *words],
        cwd=cwd,
        env=environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def tree(store: str) -> list[tuple[str, str, str]]:
    """Level, level of the parent and status of every run."""
    client = MlflowClient(store)
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()])
    levels = {run.info.run_id: run.data.tags["qexp.level"] for run in runs}
    return sorted(
        (levels[run.info.run_id], levels.get(run.data.tags.get("mlflow.parentRunId", ""), ""), run.info.status)
        for run in runs
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry_point", "given", "collections"),
    [("main", [], 1), ("sweep", ["-P", "experiment=", "-P", "quantization=scalar,binary"], 2)],
)
def test_mlflow_run_becomes_the_parent(
    entry_point: str, given: list[str], collections: int, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = ["-P", "dataset=synthetic", "-P", "search=quick", "-P", f"overrides={QUICK}"]
    done = mlflow_run(tmp_path, environment, "-e", entry_point, *given, *words)
    assert done.returncode == 0, done.stderr
    assert tree(environment["MLFLOW_TRACKING_URI"]) == sorted(
        [
            ("sweep", "", "FINISHED"),
            *[("collection", "sweep", "FINISHED")] * collections,
            *[("trial", "collection", "FINISHED")] * 4 * collections,
        ]
    )


@pytest.mark.slow
def test_bad_input_fails_the_mlflow_run(tmp_path: Path, environment: dict[str, str]) -> None:
    done = mlflow_run(tmp_path, environment, "-P", "quantization=binnary")
    assert done.returncode == 1
    assert "quantization=binnary: no such choice (did you mean 'binary'?)" in done.stderr
    assert tree(environment["MLFLOW_TRACKING_URI"]) == [("sweep", "", "FAILED")]


def test_overrides_are_split_and_empty_parameters_left_out() -> None:
    words = ["-m", "experiment=", "embedding=128", "storage=", "--overrides", "search.rounds=3 dataset.label='a b'"]
    assert expanded(words) == ["-m", "embedding='128'", "search.rounds=3", "dataset.label=a b"]
    assert expanded(["dataset=wordnet", "--overrides", ""]) == ["dataset=wordnet"]
    assert expanded(["storage="]) == ["storage="]
    assert expanded(["embedding=native,128,64", "search.limit=5,10"]) == [
        "embedding=native,'128','64'",
        "search.limit=5,10",
    ]
