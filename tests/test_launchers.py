"""Hydra's parallel launchers and Optuna's sweeper, each where its extra is installed."""

import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest
from hydra.errors import HydraException

from qexp import sweep
from qexp.environment import SWEEP_RUN
from qexp.mendable import mendable
from qexp.paths import install
from tests.conftest import QUICK, Qexp
from tests.support import slurm
from tests.support.composing import composed
from tests.support.running import read_until, runs_of, started
from tests.test_sweep import ONE_POINT, assert_nothing_left, assert_whole

SWEPT = ["-m", "quantization=scalar,binary,turbo_4bit", *ONE_POINT]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [("joblib", "hydra_joblib_launcher"), ("submitit_local", "hydra_submitit_launcher"), ("ray", "hydra_ray_launcher")],
)
def test_parallel_jobs_make_one_sweep_and_one_baseline(
    launcher: str, plugin: str, qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    done = qexp(*SWEPT, *QUICK, f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stderr
    assert_whole(environment, jobs=3, trials=1)
    assert_nothing_left(tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "collections").iterdir())) == 4
    if launcher != "submitit_local":  # which keeps what jobs say in files
        assert done.stderr.count(": building") == 4


@pytest.mark.slow
def test_slurm_is_given_an_array_of_jobs_that_make_one_sweep(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    slurm.install(tmp_path / "bin")
    where = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"}
    asked = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=fast", "hydra.launcher.timeout_min=90"]
    done = qexp("-m", "quantization=scalar,binary", *ONE_POINT, *QUICK, *asked, **where)
    assert done.returncode == 0, done.stderr
    assert_whole(environment, jobs=2, trials=1)
    assert_nothing_left(tmp_path / "cache")
    (batch,) = tmp_path.glob("multirun/*/*/.submitit/*submission*.sh")
    lines = batch.read_text().splitlines()
    for line in ("--partition=fast", "--time=90", "--array=0-1%2", "--job-name=qexp"):
        assert f"#SBATCH {line}" in lines


@pytest.mark.slow
def test_a_parallel_sweep_that_is_killed_in_part_and_whole_leaves_nothing_and_is_resumed(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [*SWEPT, *QUICK, "hydra/launcher=joblib", "search.rounds=40"]
    process = started(environment, tmp_path, *words)
    read_until(process, "round 1 of")
    children = psutil.Process(process.pid).children()
    next(child for child in children if "--process-name" in child.cmdline()).kill()
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    assert "Traceback" not in stderr
    assert "qexp: hydra/launcher: one of its processes was killed, and all jobs with it" in stderr
    assert {run.info.status for run in runs_of(environment, "sweep") + runs_of(environment, "collection")} == {"KILLED"}

    process = started(environment, tmp_path, *words, "sweep.resume=last")
    read_until(process, "round 1 of")
    process.kill()
    process.communicate()
    assert_nothing_left(tmp_path / "cache")
    done = qexp(*words, "sweep.resume=last")
    assert done.returncode == 0, done.stderr
    assert_whole(environment, jobs=3, trials=1)


def test_a_process_of_a_launcher_that_was_killed_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEEP_RUN, "abc")
    told = mendable(BrokenProcessPool("A worker process managed by the executor was unexpectedly terminated."), [])
    assert told.startswith("hydra/launcher: one of its processes was killed, and all jobs with it; ")
    assert told.endswith("; repeat the command with sweep.resume=abc to go on")


@pytest.mark.slow
def test_optuna_weighs_accuracy_latency_and_memory(qexp: Qexp, environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    quick = [*(word for word in QUICK if word != "search=quick"), "search.budget_seconds=0"]
    done = qexp("-m", "experiment=optuna", *quick, "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    assert "job 2 of 2" in done.stderr
    trials = runs_of(environment, "trial")
    assert len(trials) == 2
    assert {run.data.params["rescore"] for run in trials} == {"true"}
    (front,) = tmp_path.glob("multirun/*/*/optimization_results.yaml")
    assert "solutions" in front.read_text()
    few = qexp("-m", "experiment=optuna", *quick, "hydra.sweeper.n_trials=1", "search.queries=99")
    assert few.returncode == 2
    assert "a sweeper that optimizes needs jobs of one operating point, and 100 queries" in few.stderr
    alone = qexp("experiment=optuna", *quick, "search.queries=99")
    assert alone.returncode == 0, alone.stderr


def test_a_launcher_that_is_not_installed_is_one_line(qexp: Qexp) -> None:
    done = qexp("-m", *QUICK, "hydra/launcher=nowhere")
    assert done.returncode == 2
    assert "hydra/launcher=nowhere: not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_preset_for_a_launcher_that_is_not_installed_is_one_line() -> None:
    error = HydraException("In 'hydra/launcher/ray_cluster': Could not load 'hydra/launcher/ray'.\nConfig search path:")
    assert mendable(error, []) == f"hydra/launcher=ray: not installed; if it is an extra of qexp, run {install('ray')}"


def test_what_a_running_ray_cluster_is_given() -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    config = composed("hydra/launcher=ray_cluster")
    given = config.hydra.launcher.ray.init
    assert (given.address, given.object_store_memory) == ("auto", None)
    assert set(given.runtime_env.env_vars) > {SWEEP_RUN, sweep.JOBS, sweep.SWEPT, "MLFLOW_TRACKING_URI"}
