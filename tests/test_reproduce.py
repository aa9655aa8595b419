"""A recorded run is measured again, and what holds is told from what does not."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from qexp.config import ExperimentConfig, restored
from qexp.errors import ConfigError
from qexp.provenance import reproduce_command
from qexp.reproduced import Agreement, compare, half_width, latency_ratio, only_one_has, other_version, same_build
from qexp.results import Experiment, Row
from qexp.rows import experiment_rows
from tests.conftest import QUICK, Qexp, Swept
from tests.support.by_hand import made_by_hand
from tests.support.running import ran, runs_of
from tests.tables import row
from tests.test_config import composed


def reproduced(environment: dict[str, str], tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return ran(environment, tmp_path, "-m", "qexp.reproduce", *words)


def job(environment: dict[str, str], method: str) -> Run:
    return next(run for run in runs_of(environment, "collection") if method in run.info.run_name)


@pytest.mark.slow
def test_a_run_holds_with_its_build_and_with_a_fresh_one(measured: Swept, tmp_path: Path) -> None:
    environment = measured.environment
    (sweep,) = runs_of(environment, "sweep")
    collection = runs_of(environment, "collection")[0]

    again = reproduced(environment, tmp_path, sweep.info.run_id)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("its results must be the same to the bit") == 2
    assert again.stdout.count("\nreproduced: ") == 2
    assert "Another version of qexp" not in again.stdout

    fresh = reproduced(environment, tmp_path, "--fresh", collection.info.run_id)
    assert fresh.returncode == 0, fresh.stdout
    assert "The collection was built again" in fresh.stdout
    newest = runs_of(environment, "collection")[0]
    assert newest.data.tags["qexp.reproduces"] == collection.info.run_id
    assert newest.data.tags["qexp.verdict"] == "reproduced"
    assert newest.data.tags["qexp.config_hash"] == collection.data.tags["qexp.config_hash"]


@pytest.mark.slow
def test_another_dataset_and_other_figures_are_said(measured: Swept, tmp_path: Path) -> None:
    environment = measured.environment
    collection = job(environment, "binary")
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    for trial in runs_of(environment, "trial"):
        if (trial.data.params["quantization"], trial.data.params["rescore"]) == ("binary", "false"):
            client.log_metric(trial.info.run_id, "recall", trial.data.metrics["recall"] - 0.01)
    client.set_tag(collection.info.run_id, "qexp.git_sha", "0" * 40)
    client.log_dict(collection.info.run_id, {"python": "2.7.18", "libraries": {"numpy": "0.1"}}, "environment.json")
    other = reproduced(environment, tmp_path, collection.info.run_id)
    assert other.returncode == 1, other.stdout
    assert "NOT REPRODUCED: synthetic binary" in other.stdout
    assert "7 of 8 accuracies hold" in other.stdout
    assert "Another version of qexp measured it then" in other.stdout
    assert "library numpy: 0.1 then, " in other.stdout
    assert "python: 2.7.18 then, " in other.stdout

    saved = json.loads(Path(client.download_artifacts(collection.info.run_id, "experiment.json")).read_text())
    saved["dataset"]["values"]["seed"] = 1
    client.log_dict(collection.info.run_id, saved, "experiment.json")
    changed = reproduced(environment, tmp_path, collection.info.run_id)
    assert changed.returncode == 1
    assert re.search(r"^dataset: its content has changed \(\w{16} then, \w{16} now\)$", changed.stdout, re.MULTILINE)
    assert "the dataset is another one, so nothing can be said" in changed.stdout


@pytest.mark.slow
def test_files_are_found_from_another_folder(qexp: Qexp, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text\n" + "".join(f"text {number}\n" for number in range(2000)))
    (tmp_path / "encoders.py").write_text(
        "import numpy as np\n"
        "def encode(texts):\n"
        "    return [np.random.default_rng(int(text.split()[1])).standard_normal(64) for text in texts]\n"
    )
    words = [word for word in QUICK if not word.startswith("dataset")]
    texts = ["dataset=file", "dataset.path=mine.csv", "dataset.text_column=text", "dataset.queries.held_out=100"]
    done = qexp("quantization=scalar", *texts, "embedding=callable", "embedding.function=encoders:encode", *words)
    assert done.returncode == 0, done.stderr
    (collection,) = runs_of(environment, "collection")
    command = collection.data.tags["qexp.reproduce"].replace("\\", "")
    assert f'dataset.path="{tmp_path}/mine.csv"' in command
    assert f'embedding.function="{tmp_path}/encoders.py:encode"' in command
    (tmp_path / "elsewhere").mkdir()
    again = reproduced(environment, tmp_path / "elsewhere", collection.info.run_id)
    assert again.returncode == 0, again.stderr
    assert "its results must be the same to the bit" in again.stdout


@pytest.mark.slow
def test_what_is_lost_of_one_run_keeps_nobody_from_the_next(measured: Swept, tmp_path: Path) -> None:
    environment = measured.environment
    (sweep,) = runs_of(environment, "sweep")
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    scalar, binary = (job(environment, method).info.run_id for method in ("scalar", "binary"))
    client.log_text(scalar, '{"search": ', "experiment.json")
    client.log_dict(binary, {}, "environment.json")
    client.log_text(binary, "PAR1", "latencies.parquet")
    again = reproduced(environment, tmp_path, sweep.info.run_id)
    assert again.returncode == 2
    (said,) = [line for line in again.stderr.splitlines() if line.startswith("qexp-reproduce: ")]
    assert f"({scalar}): run {scalar}: its experiment.json is damaged" in said
    assert "machine and libraries: nothing is kept of then to compare them with" in again.stdout
    assert "unknown" in again.stdout
    assert f"({binary}): 8 of 8 accuracies hold" in again.stdout
    newest = runs_of(environment, "sweep")[0]
    assert (newest.info.run_name, newest.info.status) == (f"reproduction of {sweep.info.run_id}", "FAILED")


@pytest.mark.parametrize(
    ("run_id", "message"), [("nothing", "nothing: no such run"), ("last", "last: nothing is recorded yet")]
)
def test_what_cannot_be_reproduced_is_one_line(
    environment: dict[str, str], tmp_path: Path, run_id: str, message: str
) -> None:
    done = reproduced(environment, tmp_path, run_id)
    assert done.returncode == 2
    assert done.stderr.startswith(f"qexp-reproduce: {message}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [[], ["dataset=synthetic", "embedding='64'", "quantization=product_x8"], ["search.hnsw_ef=[null,64]"]]
)
def test_a_saved_experiment_is_restored_whole(words: list[str]) -> None:
    config = composed(*words)
    again = restored(json.loads(json.dumps(config.saved())))
    assert again == config
    assert again.hash == config.hash


def test_what_this_version_does_not_know_is_said() -> None:
    saved = composed().saved()
    saved["search"]["values"]["colour"] = "blue"
    with pytest.raises(ConfigError, match=r"search: this version of qexp has no such SearchConfig: Key 'colour'"):
        restored(saved)
    with pytest.raises(ConfigError, match=r"^colours: this version of qexp has no such part of an experiment"):
        restored({"colours": {}})


def test_accuracy_may_differ_by_chance_and_no_more() -> None:
    assert half_width("recall", {"recall": 0.5, "recall_low": 0.48, "recall_high": 0.52}, 100) == pytest.approx(0.02)
    assert half_width("recall", {"recall": 0.5}, 100) == pytest.approx(1.959964 * np.sqrt(0.0025), rel=1e-6)
    assert half_width("recall", {"recall": 1.0}, 100) == 0.0
    assert Agreement(0.9, 0.95, 0.06).holds
    assert not Agreement(0.9, 0.95, 0.04).holds
    assert Agreement(0.9, 0.9, 0.0).holds


def test_points_that_only_one_measurement_has_are_told() -> None:
    then, now = [row("binary", 2.4), row("binary", 3.0)], [row("binary", 3.0), row("binary", 2.5), row("binary", 4.0)]
    assert only_one_has(then, now) == [
        "measured then only, and not compared: binary, rescoring 2.4×",
        "measured now only, and not compared: binary, rescoring 2.5×; binary, rescoring 4×",
    ]
    assert only_one_has(then, then) == []


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ([], 0),
        (["qexp.lock: a then, b now", "library numpy: 1 then, 2 now"], 0),
        (["qexp.git_sha: a then, b now"], 1),
        (["qexp.version: 0.1.0 then, 0.2.0 now", "qexp.git_sha: a then, b now"], 1),
    ],
)
def test_what_another_version_measured_may_be_counted_otherwise(changed: list[str], lines: int) -> None:
    assert [line[:42] for line in other_version(changed)] == ["Another version of qexp measured it then, "] * lines


def test_latency_ratio_is_now_over_then() -> None:
    then, now = np.array([1.0, 1.1, 0.9, 1.0]), np.array([2.0, 2.2, 1.8, 2.0])
    ratio = latency_ratio(then, now)
    assert ratio.estimate == pytest.approx(2.0)
    assert ratio.low < 2.0 < ratio.high
    assert ratio.low * ratio.high == pytest.approx(4.0)


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_latencies_that_vary_differently_are_compared_by_welch() -> None:
    ratio = latency_ratio(np.exp([0.0, 0.2]), np.exp([1.0, 1.0]))
    # the standard error of a mean of two that are 0.2 apart is 0.1, with one degree of freedom: t(0.975) = 12.7062
    assert np.log([ratio.low, ratio.estimate, ratio.high]) == pytest.approx(
        [0.9 - 1.27062, 0.9, 0.9 + 1.27062], abs=1e-5
    )


def measured_again() -> tuple[Experiment, list[Row]]:
    """An experiment of 200 queries whose trial takes 2 ms in the geometric mean over rounds, and its rows."""
    made = made_by_hand()
    rounds = {"baseline": [4] * 5, "control": [5] * 5, f"trial: {made.trials[0].point.title}": [1, 2, 4, 2, 2]}
    latencies = {visit: np.repeat(np.array(ms)[:, None] * 1_000_000, 200, axis=1) for visit, ms in rounds.items()}
    experiment = replace(made, latencies=latencies)
    return experiment, experiment_rows(ExperimentConfig(), experiment)


def test_a_trial_is_compared_with_the_one_at_its_operating_point(tmp_path: Path) -> None:
    experiment, now = measured_again()
    *_, trial = now
    then = [replace(one, metrics=one.metrics | {"recall": 0.79, "accuracy_retention": 0.9}) for one in now]
    other = replace(trial, params=trial.params | {"rescore": "true"}, metrics=trial.metrics | {"recall": 0.1})
    visits = {f"trial: {experiment.trials[0].point.title}": 1, "baseline": 9}
    raw = [(visit, place, ms * (place + 1) * 10**6) for visit, ms in visits.items() for place in range(3)]
    pq.write_table(
        pa.table(dict(zip(("visit", "round", "nanoseconds"), zip(*raw, strict=True), strict=True))), tmp_path / "raw"
    )
    (found,) = compare([*then, other], now, experiment, same=False, raw=tmp_path / "raw")
    retention, recall = found.agreements
    assert (retention.then, retention.now) == (0.9, 0.9)
    assert (recall.then, recall.now) == (0.79, 0.85)
    assert (retention.allowed, recall.allowed) == pytest.approx((2**0.5 * 0.01, 2**0.5 * 0.05))
    assert found.latency is not None
    assert found.latency.estimate == pytest.approx(2 / 6 ** (1 / 3))  # over the geometric mean of 1, 2 and 3 ms
    (found,) = compare(then, now, experiment, same=True, raw=None)
    assert ([one.allowed for one in found.agreements], found.latency) == ([0.0, 0.0], None)
    assert [one.holds for one in found.agreements] == [True, False]
    for nothing in ([other], [then[0]], [replace(trial, metrics={})]):
        with pytest.raises(ConfigError, match="none of the operating points that were measured now"):
            compare(nothing, now, experiment, same=False, raw=None)


@pytest.mark.parametrize(
    ("reused", "times", "same"),
    [
        ((True, True), (3.0, 9.0), True),
        ((True, False), (3.0, 9.0), False),
        ((False, True), (3.0, 9.0), False),
        ((True, True), (3.1, 9.0), False),
        ((True, True), (3.0, 9.1), False),
    ],
)
def test_a_build_is_the_same_if_both_were_found_and_took_as_long(
    reused: tuple[bool, bool], times: tuple[float, float], same: bool
) -> None:
    made = made_by_hand()
    experiment = replace(
        made,
        quantized=replace(made.quantized, build=replace(made.quantized.build, reused=reused[0])),
        baseline_collection=replace(
            made.baseline_collection, build=replace(made.baseline_collection.build, reused=reused[1])
        ),
    )
    metrics = dict(zip(("index_seconds", "baseline_index_seconds"), times, strict=True))
    run: Any = SimpleNamespace(data=SimpleNamespace(metrics=metrics))
    assert same_build(run, experiment) == same


def test_the_command_names_every_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["init", "-q"], ["remote", "add", "origin", "https://me:se@cret@example.org/qexp.git"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    commit = ["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(["git", *commit], cwd=tmp_path, check=True)
    sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr("qexp.provenance.checkout", lambda: tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    words = ["dataset=wordnet", "embedding='64'", "cost=course", "search.rounds=3", "dataset.label=a b"]
    assert reproduce_command(words) == (
        f"mlflow run https://example.org/qexp.git --version {sha} --experiment-name mine -e main "
        "-P dataset=wordnet -P embedding=64 "
        """-P 'overrides=cost=course search.rounds=3 '"'"'dataset.label=a b'"'"''"""
    )
