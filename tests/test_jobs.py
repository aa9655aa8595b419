"""The jobs of a sweep as MLflow holds them, deleted trials among them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from qexp import jobs, store, sweep
from qexp.config import ExperimentConfig, FileDataset
from qexp.environment import SWEEP_RUN
from qexp.errors import DataError
from qexp.provenance import code_tags
from qexp.report.cliff import to_json
from qexp.report.sizing import CLIFF_FILE
from qexp.report.table import markdown
from qexp.results.footprint import CapTrial, Cliff
from qexp.tracking import INPUTS, SWEEPS
from tests.conftest import QUICK, Qexp, Swept
from tests.support.running import all_runs, runs_of


def delete_trials(environment: dict[str, str], method: str, number: int) -> None:
    trials = runs_of(environment, "trial")
    for trial in [run for run in trials if run.data.params["quantization"] == method][:number]:
        MlflowClient(environment["MLFLOW_TRACKING_URI"]).delete_run(trial.info.run_id)


@pytest.mark.slow
def test_what_lost_trials_is_measured_again_and_told(qexp: Qexp, measured: Swept) -> None:
    words, environment = measured.words, measured.environment
    delete_trials(environment, "scalar", 1)
    resumed = qexp(*words, "sweep.resume=last")
    assert "scalar: measured again: trials were deleted of run" in resumed.stderr
    assert "binary: measured already" in resumed.stderr
    assert resumed.stdout.count("scalar  ") == measured.printed.count("scalar  ")
    reused = qexp(*words, "skip_existing=true")
    assert reused.stderr.count("measured already by run") == 2
    chosen = next(line for line in reused.stdout.splitlines() if "qexp.sweeps" in line)
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = all_runs(environment)[0].info.experiment_id
    found = client.search_runs([experiment], chosen.strip())
    shown = [trial.data.params["quantization"] for trial in found]
    assert sorted(shown) == ["binary"] * (len(found) // 2) + ["scalar"] * (len(found) // 2)
    assert len(found) > 2
    delete_trials(environment, "scalar", 99)
    *same, _ = words
    one = ["quantization=binary", "search.rescore=[false]"]  # another job beside those that are there
    others = qexp(*same, *one, "sweep.resume=last")
    assert others.returncode == 0, others.stderr
    assert "its trials were deleted" in others.stdout


@pytest.mark.slow
def test_what_read_other_files_is_measured_again(qexp: Qexp, tmp_path: Path) -> None:
    words = ["dataset=file", "dataset.path=mine.npy", *QUICK[5:], "search.oversampling=[2]", "skip_existing=true"]
    for seed, told in (
        (0, ": round 0"),
        (0, "measured already by run"),
        (1, "measured again: files were changed since"),
    ):
        np.save(tmp_path / "mine.npy", np.random.default_rng(seed).normal(size=(700, 32)).astype("f4"))
        done = qexp(*words)
        assert done.returncode == 0, done.stderr
        assert told in done.stderr


def test_what_is_reused_says_at_which_commit_and_what_is_not_says_why(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "qexp")
    client, experiment = store.connect()

    def asked(config: ExperimentConfig, **tags: str) -> tuple[str, str]:
        job = store.start_run(client, experiment, "mine", "collection", {"qexp.config_hash": config.hash, **tags})
        trial = store.start_run(client, experiment, "mine", "trial", {"mlflow.parentRunId": job})
        store.log_values(client, trial, {"quantization": "scalar", "hnsw_ef": "default"}, {"latency_mean_ms": 0.5})
        client.set_terminated(job)
        caplog.clear()
        found = sweep.finished(config)
        return found[0] if found else "", caplog.text.replace(job, "JOB")

    again = replace(small, skip_existing=True)
    now = code_tags().get("qexp.git_sha", "")
    assert asked(again, **{"qexp.git_sha": now})[1].endswith("mine: measured already by run JOB\n")
    told = asked(again, **{"qexp.git_sha": "0" * 40})[1]
    assert told.endswith("mine: measured already by run JOB, at commit 0000000 of qexp\n")
    np.save(tmp_path / "points.npy", np.eye(9))
    files = replace(again, dataset=FileDataset(path=str(tmp_path / "points.npy")))
    for tags, told in (({}, "may have changed"), ({INPUTS: "0"}, "were changed")):
        found, text = asked(files, **tags)
        assert not found
        assert f"mine: measured again: files {told} since run JOB" in text


def test_trials_older_than_the_search_for_those_of_a_sweep_are_found_by_it(
    small: ExperimentConfig, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, experiment = store.connect()
    first, second = (store.start_run(client, experiment, "mine", "sweep", {}) for _ in range(2))
    job = store.start_run(client, experiment, "", "collection", {"qexp.config_hash": small.hash, "qexp.sweep": first})
    trial = store.start_run(client, experiment, "", "trial", {"mlflow.parentRunId": job, "qexp.sweep": first})
    store.log_values(client, trial, {"quantization": "scalar", "hnsw_ef": "default"}, {"latency_mean_ms": 0.5})
    client.set_terminated(job)
    for sweep_id, known in ((first, first), (second, f"{first} {second}"), (first, f"{first} {second}")):
        monkeypatch.setenv(SWEEP_RUN, sweep_id)
        assert sweep.finished(replace(small, skip_existing=True))
        assert client.get_run(trial).data.tags[SWEEPS] == known


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["quantization=scalar,binry"], "quantization=binry: no such choice (did you mean 'binary'?)"),
        (["quantization=scalar,binary", "search.limit=99999"], "2 of 2 jobs failed"),
    ],
)
def test_a_sweep_that_failed_says_why(words: list[str], reason: str, qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp("-m", *QUICK, *words)
    assert done.returncode == 2
    assert "Compare in MLflow" not in done.stdout
    (sweep,) = runs_of(environment, "sweep")
    assert (sweep.info.status, sweep.data.tags["qexp.error"]) == ("FAILED", reason)
    assert sweep.data.tags["qexp.reproduce"].startswith("mlflow run ")


def test_a_job_without_trials_has_no_part_in_what_caps_do(environment: dict[str, str]) -> None:
    client, experiment = store.connect()
    sweep = store.start_run(client, experiment, "capped", "sweep", {})
    job = store.start_run(client, experiment, "none", "collection", {"qexp.sweep": sweep, "qexp.config_hash": "a"})
    client.log_param(job, "engine.ram_caps", "['50%']")
    client.log_text(job, to_json(Cliff(1, (CapTrial("none", "no rescore", None),))), CLIFF_FILE)
    client.set_terminated(job)
    assert jobs.cliff_of(client.get_run(sweep)) is None


def test_what_is_edited_in_mlflow_by_hand(environment: dict[str, str]) -> None:
    client, experiment = store.connect()
    sweep = store.start_run(client, experiment, "mine", "sweep", {})
    for method in ("scalar", "binary"):
        tags = {"qexp.sweep": sweep, "qexp.config_hash": method}
        job = store.start_run(client, experiment, method, "collection", tags)
        trial = store.start_run(client, experiment, method, "trial", {"mlflow.parentRunId": job})
        store.log_values(client, trial, {"quantization": method, "hnsw_ef": "default"}, {"latency_mean_ms": 0.5})
        client.set_terminated(job)

    def title() -> str:
        rows, told = jobs.collect(client.get_run(sweep))
        assert {row.params["quantization"] for row in rows if row.trial} == {"scalar", "binary"}
        return told

    assert title() == "2 collections"
    client.set_tag(job, "mlflow.note.content", "**data: 9 points**\n\n|a|")
    assert title() == "data: 9 points"
    client.set_tag(job, "mlflow.note.content", markdown([], r"my [a\b] *_data_*: 9 points"))
    assert title() == r"my [a\b] *_data_*: 9 points"
    client.set_tag(job, "mlflow.note.content", "")
    assert title() == "2 collections"
    for value, shown in ((0, "0"), (float("inf"), r"1.79769e\+308"), (-1, "-1"), (float("nan"), "nan")):
        client.log_metric(trial, "latency_mean_ms", value)
        with pytest.raises(DataError, match=rf"^run {trial} \(binary\): its latency_mean_ms is {shown}, which no"):
            jobs.collect(client.get_run(sweep))


@pytest.mark.slow
def test_jobs_are_looked_for_where_their_sweep_is(qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp("-m", "quantization=scalar", *QUICK, "+hydra.job.env_set.MLFLOW_EXPERIMENT_NAME=elsewhere")
    assert done.returncode == 0, done.stderr
    assert len({run.info.experiment_id for run in all_runs(environment)}) == 1


@pytest.mark.slow
def test_values_of_a_swept_mapping_tell_trials_apart(qexp: Qexp, environment: dict[str, str]) -> None:
    values = ",".join(f"{{scalar: {{type: int8, quantile: {quantile}}}}}" for quantile in (0.95, 0.99))
    done = qexp("-m", "quantization=none", f"quantization.config={values}", "quantization.name=mine", *QUICK)
    assert done.returncode == 0, done.stderr
    trials = runs_of(environment, "trial")
    assert {run.data.params["quantization.config.scalar.quantile"] for run in trials} == {"0.95", "0.99"}


def test_a_folder_for_every_job_is_refused_where_it_would_hold_a_store(qexp: Qexp) -> None:
    done = qexp(
        "-m", "quantization=scalar,binary", *QUICK, "hydra.job.chdir=true", MLFLOW_TRACKING_URI="sqlite:///mlflow.db"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("qexp: hydra.job.chdir=true: every job would have an MLflow store in its own folder")
