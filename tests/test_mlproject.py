import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from tests.support.running import ran, runs_of

CHECKOUT = Path(__file__).resolve().parents[1]
QUICK = "dataset.points=2000 dataset.size=64 dataset.queries=100 index.full_scan_threshold=100 search.rounds=2"
SMALL = ["-P", "dataset=synthetic", "-P", "search=quick", "-P", f"overrides={QUICK}"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project: its entry points run in its folder, and write there."""
    folder = tmp_path / "project"
    for name in ("qexp", "conf"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("MLproject", "python_env.yaml", "requirements.lock"):
        shutil.copy(CHECKOUT / name, folder)
    return folder


def mlflow_run(project: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    inherited = {name: value for name, value in environment.items() if name != "PYTHONPATH"} | {"PATH": path}
    return ran(inherited, project.parent, "-m", "mlflow", "run", str(project), "--env-manager=local", *words)


def tree(store: str) -> list[tuple[str, str, str]]:
    """Level, level of the parent and status of every run."""
    client = MlflowClient(store)
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()])
    levels = {run.info.run_id: run.data.tags.get("qexp.level", "none") for run in runs}
    return sorted(
        (levels[run.info.run_id], levels.get(run.data.tags.get("mlflow.parentRunId", ""), ""), run.info.status)
        for run in runs
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry_point", "given", "collections", "name"),
    [
        ("main", [], 1, "mlflow run -e main"),
        ("sweep", ["-P", "experiment=", "-P", "quantization=scalar,binary"], 2, "sweep quantization=scalar,binary"),
    ],
)
def test_mlflow_run_becomes_the_parent(
    entry_point: str, given: list[str], collections: int, name: str, project: Path, environment: dict[str, str]
) -> None:
    done = mlflow_run(project, environment, "-e", entry_point, *given, *SMALL)
    assert done.returncode == 0, done.stderr
    (parent,) = runs_of(environment, "sweep")
    assert parent.info.run_name == name
    assert tree(environment["MLFLOW_TRACKING_URI"]) == sorted(
        [
            ("sweep", "", "FINISHED"),
            *[("collection", "sweep", "FINISHED")] * collections,
            *[("trial", "collection", "FINISHED")] * 4 * collections,
        ]
    )


@pytest.mark.slow
def test_what_was_recorded_is_reported_exported_and_reproduced(project: Path, environment: dict[str, str]) -> None:
    assert mlflow_run(project, environment, *SMALL).returncode == 0
    trial = runs_of(environment, "trial")[0].info.run_id  # one that keeps to the limits is a matter of luck
    for entry_point, run_id, file in (("report", "last", "report/report.html"), ("export", trial, "deploy/README.md")):
        done = mlflow_run(project, environment, "-e", entry_point, "-P", f"run_id={run_id}")
        assert done.returncode == 0, done.stderr
        assert (project / file).stat().st_size > 0
    (recorded,) = runs_of(environment, "collection")
    done = mlflow_run(project, environment, "-e", "reproduce", "-P", f"run_id={recorded.info.run_id}")
    assert done.returncode == 0, done.stderr
    again = runs_of(environment, "collection")[0]
    assert again.data.tags["qexp.reproduces"] == recorded.info.run_id
    assert again.data.tags["qexp.verdict"] == "reproduced"
    assert tree(environment["MLFLOW_TRACKING_URI"]) == sorted(
        [
            *[("none", "", "FINISHED")] * 2,
            *[("sweep", "", "FINISHED"), ("collection", "sweep", "FINISHED")] * 2,
            *[("trial", "collection", "FINISHED")] * 8,
        ]
    )


@pytest.mark.slow
def test_bad_input_fails_the_mlflow_run(project: Path, environment: dict[str, str]) -> None:
    done = mlflow_run(project, environment, "-P", "quantization=binnary")
    assert done.returncode == 1
    assert "quantization=binnary: no such choice (did you mean 'binary'?)" in done.stderr
    assert tree(environment["MLFLOW_TRACKING_URI"]) == [("sweep", "", "FAILED")]


def test_environment_is_made_from_the_lock() -> None:
    assert yaml.safe_load((CHECKOUT / "python_env.yaml").read_text())["dependencies"] == ["-r requirements.lock"]
    assert (CHECKOUT / "requirements.lock").exists()
