import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.errors import HydraException
from mlflow import MlflowClient

from qexp import mendable, store
from qexp.environment import ENTRY_POINT, SWEEP_FOLDER, SWEEP_RUN, remedy
from tests.conftest import Qexp
from tests.support.running import all_runs, ran, runs_of

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


def assert_the_parent(environment: dict[str, str], name: str, collections: int) -> None:
    """The run that `mlflow run` has started is a sweep of this name, above all collections."""
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
def test_mlflow_run_becomes_the_parent_of_a_sweep(project: Path, environment: dict[str, str]) -> None:
    swept = ["-P", "experiment=", "-P", "quantization=scalar,binary"]
    done = mlflow_run(project, environment, "-e", "sweep", *swept, *SMALL)
    assert done.returncode == 0, done.stderr
    assert_the_parent(environment, "sweep quantization=scalar,binary", 2)


@pytest.mark.slow
def test_what_mlflow_run_records_is_reported_exported_and_reproduced(
    project: Path, environment: dict[str, str]
) -> None:
    done = mlflow_run(project, environment, *SMALL)  # of the entry point `main`, where none is named
    assert done.returncode == 0, done.stderr
    assert_the_parent(environment, "mlflow run -e main", 1)
    trial = runs_of(environment, "trial")[0].info.run_id  # one that keeps to the limits is a matter of luck
    for entry_point, run_id, file in (("report", "last", "report/report.html"), ("export", trial, "deploy/README.md")):
        done = mlflow_run(project, environment, "-e", entry_point, "-P", f"run_id={run_id}")
        assert done.returncode == 0, done.stderr
        assert (project / file).stat().st_size > 0
        assert f"{project / file}" in done.stdout  # which the user, in another folder, would not find by less
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


def started_by_mlflow_run(environment: dict[str, str], entry_point: str) -> str:
    """Start a run as `mlflow run` does that was given no name; return its id."""
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.create_experiment("mine")
    run_id: str = client.create_run(experiment, tags={"mlflow.project.entryPoint": entry_point}).info.run_id
    return run_id


def test_a_parameter_that_the_mlproject_has_not_is_told_and_recorded(qexp: Qexp, environment: dict[str, str]) -> None:
    run_id = started_by_mlflow_run(environment, "main")
    done = qexp("dataset=wordnet", "--overrides", "", "--search.rounds", "3", MLFLOW_RUN_ID=run_id)
    assert done.returncode == 2
    (run,) = all_runs(environment)
    assert run.info.run_name == "mlflow run -e main"
    assert run.data.tags["qexp.error"].startswith("-P search.rounds=…: MLproject has no such parameter")


@pytest.mark.parametrize("name", ["report", "export"])
def test_a_run_that_reads_others_is_named_after_its_entry_point(name: str, environment: dict[str, str]) -> None:
    environment["MLFLOW_RUN_ID"] = started_by_mlflow_run(environment, name)
    call = f"from qexp.commands import {name}; {name}()"
    done = ran(environment, Path(environment["QEXP_CACHE_DIR"]).parent, "-c", call, "last")
    assert done.returncode == 2
    (run,) = all_runs(environment)
    assert run.info.run_name == f"mlflow run -e {name}"
    assert "qexp.level" not in run.data.tags


def test_a_name_that_mlflow_run_was_given_is_kept(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENTRY_POINT, "")  # so that what is set is taken back
    run_id = started_by_mlflow_run(environment, "report")
    MlflowClient(environment["MLFLOW_TRACKING_URI"]).set_tag(run_id, "mlflow.runName", "mine")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    store.name_mlflow_run()
    (run,) = all_runs(environment)
    assert run.info.run_name == "mine"


def test_advice_is_in_the_words_of_mlflow_run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENTRY_POINT, "main")
    several = mendable.mendable(HydraException("Ambiguous value for argument 'quantization=a,b'"), [])
    assert several == (
        "quantization=a,b: a sweep over several values needs -e sweep: mlflow run … -e sweep -P experiment= …"
    )
    assert remedy("abc") == "mlflow run … -e report -P run_id=abc writes its report"
    monkeypatch.setenv(SWEEP_RUN, "abc")
    monkeypatch.setenv(SWEEP_FOLDER, "here")
    assert remedy("abc") == "repeat the command with sweep.resume=abc in -P overrides"


def test_environment_is_made_from_the_lock() -> None:
    assert yaml.safe_load((CHECKOUT / "python_env.yaml").read_text())["dependencies"] == ["-r requirements.lock"]
    assert (CHECKOUT / "requirements.lock").exists()
