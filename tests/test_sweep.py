"""Sweeps that are stopped, resumed and run beside each other."""

import contextlib
import fcntl
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from omegaconf.errors import InterpolationKeyError

from qexp import sweep
from qexp.config import ExperimentConfig
from qexp.environment import SWEEP_FOLDER, SWEEP_RUN
from qexp.errors import ConfigError, Refused
from qexp.store import connect, start_run
from qexp.swept import plan
from tests.conftest import QUICK, Qexp
from tests.support.composing import composed
from tests.support.running import read_until, runs_of, started

SWEPT = ["-m", "quantization=scalar,binary"]
ONE_POINT = ["search.rescore=[false]"]


def assert_whole(environment: dict[str, str], jobs: int, trials: int) -> None:
    """One sweep; each job measured exactly once, with every trial below it; what was given up has none."""
    (parent,) = runs_of(environment, "sweep")
    assert parent.info.status == "FINISHED"
    collections = runs_of(environment, "collection")
    finished = [run for run in collections if run.info.status == "FINISHED"]
    assert len(finished) == len({run.data.tags["qexp.config_hash"] for run in finished}) == jobs
    assert {run.info.status for run in collections} <= {"FINISHED", "KILLED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in collections} == {parent.info.run_id}
    below = Counter(run.data.tags["mlflow.parentRunId"] for run in runs_of(environment, "trial"))
    assert below == {run.info.run_id: trials for run in finished}
    assert {run.info.status for run in runs_of(environment, "trial")} == {"FINISHED"}
    assert len({run.data.tags["qexp.trial"] for run in runs_of(environment, "trial")}) == trials


def assert_nothing_left(cache: Path) -> None:
    """No process works on this cache, and no lock in it is held."""
    deadline = time.monotonic() + 20
    while any(_works_on(process, cache) for process in psutil.process_iter()):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)
    for path in (cache / "locks").iterdir():
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not [folder for folder in (cache / "spool").glob("*") if ".partial" not in folder.name]


def _works_on(process: psutil.Process, cache: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.pid != os.getpid() and process.environ().get("QEXP_CACHE_DIR") == str(cache)
    return False


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_is_finished_by_resume(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    words = [*SWEPT, "search.limit=5,10", *QUICK, "search.rounds=20", *ONE_POINT]
    draw = random.Random(0)
    resume: list[str] = []
    for job in (1, 2, 3):  # each time one is new that the kill before has left
        process = started(environment, tmp_path, *words, *resume)
        read_until(process, f"job {job} of 4")
        time.sleep(draw.uniform(0, 2.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        resume = ["sweep.resume=last"]
    done = qexp(*words, *resume)
    assert done.returncode == 0, done.stderr
    assert_whole(environment, jobs=4, trials=1)
    assert_nothing_left(tmp_path / "cache")


@pytest.mark.slow
def test_a_sweep_killed_between_its_jobs_keeps_the_first(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    process = started(environment, tmp_path, *SWEPT, *QUICK, *ONE_POINT)
    read_until(process, "binary: round 1 of")
    process.kill()
    process.communicate()
    done = qexp(*SWEPT, *QUICK, *ONE_POINT, "sweep.resume=last")
    assert done.returncode == 0, done.stderr
    assert "scalar: measured already" in done.stderr
    assert "scalar: round" not in done.stderr
    assert "binary: round" in done.stderr
    assert_whole(environment, jobs=2, trials=1)
    assert sorted(run.info.status for run in runs_of(environment, "collection")) == [*["FINISHED"] * 2, "KILLED"]
    assert_nothing_left(tmp_path / "cache")

    again = qexp(*SWEPT, *QUICK, *ONE_POINT, "skip_existing=true", "--quiet")
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert "scalar" in again.stdout
    assert "binary" in again.stdout
    assert len(runs_of(environment, "collection")) == 3


@pytest.mark.slow
def test_a_running_sweep_is_not_resumed(qexp: Qexp, environment: dict[str, str], tmp_path: Path) -> None:
    process = started(environment, tmp_path, *SWEPT, *QUICK, "search.rounds=1000")
    try:
        read_until(process, "round 1 of")
        refused = qexp(*SWEPT, *QUICK, "sweep.resume=last")
    finally:
        process.kill()
        process.communicate()
    assert refused.returncode == 2
    assert "the sweep is still running" in refused.stderr


def test_a_sweep_that_another_process_runs_is_named_by_its_run(tmp_path: Path) -> None:
    held = sweep._hold(tmp_path, "1a")
    with pytest.raises(ConfigError, match=r"^run 1a: the sweep is still running"):
        sweep._hold(tmp_path, "1a")
    held.release()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "sweep.resume=nothing"], "sweep.resume=nothing: there is no such sweep"),
        (["sweep.resume=last"], "sweep.resume=last: only a multirun can be resumed"),
    ],
)
def test_what_cannot_be_resumed(qexp: Qexp, words: list[str], message: str) -> None:
    done = qexp(*words, *QUICK)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("environment")
def test_a_cache_that_cannot_be_written_is_not_blamed_on_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/fresh.db")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=rf"^cache_dir={tmp_path}/file: cannot be written \(File exists\)"):
        sweep.begin("sweep", tmp_path / "file", None)
    assert not (tmp_path / "fresh.db").exists()


@pytest.mark.slow
def test_two_sweeps_on_one_store_share_what_they_build(environment: dict[str, str], tmp_path: Path) -> None:
    MlflowClient(environment["MLFLOW_TRACKING_URI"]).create_experiment("qexp")
    both = [
        started(environment, tmp_path, "-m", f"quantization={name}", *QUICK, *ONE_POINT)
        for name in ("scalar", "binary")
    ]
    seen = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], seen
    assert seen.count("baseline: building") == 1
    assert [len(runs_of(environment, level)) for level in ("sweep", "collection", "trial")] == [2, 2, 2]


@pytest.mark.slow
def test_a_failed_job_is_a_row_with_its_reason(qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp("-m", *QUICK, *ONE_POINT, "quantization=scalar,binary", "search.limit=10,5000")
    assert done.returncode == 2
    assert "job 4 of 4" in done.stderr
    assert done.stdout.count("failed: search.limit=5000: synthetic has only 2000 points") == 2
    (parent,) = runs_of(environment, "sweep")
    assert parent.info.status == "FAILED"
    assert "- synthetic binary search.limit=5000 failed: search.limit=5000" in parent.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_the_course_preset_measures_the_course(qexp: Qexp, environment: dict[str, str]) -> None:
    quick = [word for word in QUICK if word != "search=quick"]
    done = qexp("-m", "experiment=course_day4", *quick, "search.budget_seconds=0")
    assert done.returncode == 0, done.stderr
    trials = runs_of(environment, "trial")
    assert {run.data.params["quantization"] for run in trials} == {"scalar", "binary", "binary_2bit"}
    assert {run.data.params["limit"] for run in trials} == {"10"}
    factors = {run.data.params["oversampling"] for run in trials if run.data.params["rescore"] == "true"}
    assert factors == {"2", "3", "5", "8", "10"}
    assert len(trials) == 3 * 6


@pytest.mark.usefixtures("environment")
def test_a_sweep_that_cannot_start_has_no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEEP_FOLDER, "")  # so that it is put back
    config = composed("cache_dir=${nosuch}")
    config.hydra.sweep.dir = "multirun"
    with pytest.raises(Refused) as refused:
        sweep.SweepCallback().on_multirun_start(config)
    assert isinstance(refused.value.reason, InterpolationKeyError)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("experiment=quickstart,tune", "experiment: presets are not swept; start a sweep for each"),
        ("slo=default,strict", "slo: limits are not swept; give one, and ask again with others by qexp-report --min-a"),
        ("slo.max_p95_ms=1,2", "slo.max_p95_ms: limits are not swept; .* by qexp-report --max-p95-ms …$"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_what_jobs_of_one_sweep_cannot_differ_in(word: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEEP_FOLDER, "")  # so that it is put back
    config = composed()
    config.hydra.overrides.task = [word]
    config.hydra.sweep.dir = "multirun"
    with pytest.raises(Refused, match=f"^{message}"):
        sweep.SweepCallback().on_multirun_start(config)
    assert not sweep.sweep_run()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (
            ["search.oversampling=[1,2]", "quantization=glob(turbo*)", "++search.limit=3,4"],
            "sweep quantization=glob(tu",
        ),
        (["search.oversampling=[1,2]"], "sweep wordnet"),
        (["experiment=tune", "search.limit=3,4"], "sweep tune"),
    ],
)
def test_a_sweep_is_named_after_what_it_sweeps(words: list[str], name: str) -> None:
    config = composed(*[word for word in words if "experiment" in word])
    config.hydra.overrides.task = words
    keys, _ = plan(config)
    named = sweep._name(config, keys)
    assert named.startswith(name)
    assert "oversampling" not in named


def test_a_sweep_without_jobs_is_no_sweep(qexp: Qexp) -> None:
    done = qexp("-m", "quantization=glob(zzz*)", *QUICK)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "qexp: the sweep has no jobs: nothing matches its glob(…), or they are in another experiment\n"
    )


def test_the_last_sweep_to_resume_is_the_one_of_these_words_that_did_not_finish(environment: dict[str, str]) -> None:
    client, experiment_id = connect()

    def logged(words: str, status: str | None, start: int) -> str:
        tags = {"qexp.level": "sweep", sweep.WORDS: words}
        run_id = str(client.create_run(experiment_id, start_time=start, tags=tags).info.run_id)
        if status:
            client.set_terminated(run_id, status)
        return run_id

    def last(words: str) -> str:
        return str(sweep._to_resume(experiment_id, "last", words).info.run_id)

    killed = logged("quantization=scalar", None, 1)
    finished = logged("quantization=scalar", "FINISHED", 2)
    mistyped = logged("quantization=scalar search.limit=0", "FAILED", 3)
    assert last("quantization=scalar") == killed
    assert last("quantization=scalar search.limit=0") == last("quantization=binary") == mistyped
    client.set_terminated(killed, "FINISHED")
    client.delete_run(mistyped)
    assert last("quantization=scalar") == finished


def test_durations_read_well() -> None:
    assert [sweep.duration(seconds) for seconds in (4, 89, 91, 3600, 7260)] == [
        "4 s",
        "89 s",
        "2 min",
        "60 min",
        "2 h 01 min",
    ]


def test_housekeeping_changes_no_hash() -> None:
    changed = ExperimentConfig(skip_existing=True, cache_limit_gib=1.0, cache_dir="x", wait_seconds=1.0)
    assert changed.hash == ExperimentConfig().hash


@pytest.mark.slow
def test_a_sweep_is_judged_by_its_own_limits_whatever_it_reuses(qexp: Qexp, tmp_path: Path) -> None:
    words = ["-m", "quantization=scalar", *QUICK, *ONE_POINT]
    assert "Nothing that was measured keeps to the limits" in qexp(*words, "slo.max_usd_month=0.000001").stdout
    again = qexp(*words, "skip_existing=true", "slo.min_accuracy=0.1")
    assert again.returncode == 0, again.stderr
    assert "Deploy scalar" in again.stdout
    resumed = qexp(*words, "sweep.resume=last", "slo.max_usd_month=0.000002")
    assert "$0.000002 asked" in resumed.stdout
    assert "started with" not in resumed.stderr
    invalid_first = qexp(*words, "index.m=1,null", "sweep.resume=last", "slo.min_accuracy=0.1")
    assert invalid_first.returncode == 2
    assert re.search(r"started with (?!.*index\.m.*, not).*, not .*index\.m=1,null.*: it will", invalid_first.stderr)
    assert "scalar: measured already" in invalid_first.stderr
    assert "Deploy scalar" in invalid_first.stdout


@pytest.mark.slow
def test_a_single_run_of_mlflow_run_is_judged_by_its_own_limits(qexp: Qexp, environment: dict[str, str]) -> None:
    words = ["quantization=scalar", *QUICK, *ONE_POINT]
    assert "Nothing that was measured keeps to the limits" in qexp(*words, "slo.max_usd_month=0.000001").stdout
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (collection,) = runs_of(environment, "collection")
    parent = client.create_run(collection.info.experiment_id).info.run_id
    again = qexp(*words, "skip_existing=true", "slo.min_accuracy=0.1", MLFLOW_RUN_ID=parent)
    assert again.returncode == 0, again.stderr
    assert "Deploy scalar" in again.stdout


@pytest.mark.slow
def test_jobs_are_recorded_where_the_run_lies_that_is_their_parent(qexp: Qexp, environment: dict[str, str]) -> None:
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    mine = client.create_experiment("mine")
    parent = client.create_run(mine).info.run_id
    done = qexp("-m", "quantization=scalar", *QUICK, *ONE_POINT, MLFLOW_RUN_ID=parent)
    assert done.returncode == 0, done.stderr
    assert "Report: " in done.stdout
    (collection,) = client.search_runs([mine], "tags.`qexp.level` = 'collection'")
    assert collection.data.tags["mlflow.parentRunId"] == parent


def test_of_other_words_only_those_that_differ_are_named(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = start_run(*connect(), "a sweep", "sweep", {sweep.WORDS: "dataset=words index.m=8,16 quantization=scalar"})
    monkeypatch.setenv(SWEEP_RUN, run_id)
    sweep._compare_words("dataset=words quantization=binary,scalar", [])
    assert "started with index.m=8,16 quantization=scalar, not quantization=binary,scalar: it will" in caplog.text
    sweep._compare_words("dataset=words index.m=8,16", [])
    assert "started with quantization=scalar, not nothing else: it will" in caplog.text
