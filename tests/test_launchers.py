"""Hydra's parallel launchers and Optuna's sweeper, each where its extra is installed."""

from pathlib import Path

import pytest

from tests.conftest import QUICK, Qexp
from tests.test_sweep import (
    ONE_POINT,
    all_runs,
    assert_nothing_left,
    assert_whole,
    of_level,
    read_until,
    started,
)

SWEPT = ["-m", "quantization=scalar,binary,turbo_4bit", *ONE_POINT]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [("joblib", "hydra_joblib_launcher"), ("submitit_local", "hydra_submitit_launcher")],
)
def test_parallel_jobs_make_one_sweep_and_one_baseline(
    launcher: str, plugin: str, qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    done = qexp(*SWEPT, *QUICK, f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stderr
    assert_whole(environment, jobs=3, trials=1)
    assert len(list((tmp_path / "cache" / "collections").iterdir())) == 4
    if launcher == "joblib":  # submitit keeps what jobs say in files
        assert done.stderr.count(": building") == 4


@pytest.mark.slow
def test_a_killed_parallel_sweep_leaves_no_process_and_is_resumed(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [*SWEPT, *QUICK, "hydra/launcher=joblib", "search.rounds=40"]
    process = started(environment, tmp_path, *words)
    read_until(process, "round 1 of")
    process.kill()
    process.communicate()
    assert_nothing_left(tmp_path / "cache")
    done = qexp(*words, "sweep.resume=last")
    assert done.returncode == 0, done.stderr
    assert_whole(environment, jobs=3, trials=1)


@pytest.mark.slow
def test_optuna_weighs_accuracy_latency_and_memory(qexp: Qexp, environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    quick = [word for word in QUICK if word != "search=quick"]
    done = qexp("-m", "experiment=optuna", *quick, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert "job 3 of 3" in done.stderr
    trials = of_level(all_runs(environment), "trial")
    assert len(trials) == 3
    assert {run.data.params["rescore"] for run in trials} == {"true"}
    (front,) = tmp_path.glob("multirun/*/*/optimization_results.yaml")
    assert "solutions" in front.read_text()


def test_a_launcher_that_is_not_installed_is_one_line(qexp: Qexp) -> None:
    done = qexp("-m", *QUICK, "hydra/launcher=nowhere")
    assert done.returncode == 2
    assert "hydra/launcher=nowhere: not installed" in done.stderr
    assert "Traceback" not in done.stderr
