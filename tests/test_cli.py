"""The command as a user runs it, into an MLflow store of its own."""

import contextlib
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from qexp import __version__, cli
from qexp.paths import packaged
from qexp.provenance import code_tags
from qexp.results import Row
from qexp.usage import help_text
from tests.conftest import QUICK, Qexp, Swept
from tests.support.running import errors, runs_of

TRIAL_PARAMS = {
    *("dataset", "embedding_size", "quantization", "storage", "engine"),
    *("rescore", "oversampling", "hnsw_ef", "limit"),
}
TRIAL_METRICS = {
    *("latency_mean_ms", "latency_p50_ms", "latency_p95_ms", "qps"),
    *("accuracy_retention", "recall", "recall_worst_decile"),
    *("speedup_mean", "speedup_mean_low", "speedup_mean_high", "speedup_p95"),
    *("ram_estimated_mib", "ram_measured_mib", "compression_ratio"),
    *("ram_cost_usd_month", "savings_usd_month", "savings_usd_year"),
}
COLLECTION_METRICS = {
    *("upload_seconds", "index_seconds", "points_per_second", "disk_mib"),
    *("baseline_latency_mean_ms", "baseline_latency_p95_ms", "baseline_recall"),
    *("aa_speedup_mean", "aa_speedup_low", "aa_speedup_high"),
}
TAGS = {"qexp.version", "qexp.config_hash", "qexp.reproduce", "qexp.level"}


def test_a_sweep_leaves_a_tree_of_runs_and_one_table(qexp: Qexp, measured: Swept, tmp_path: Path) -> None:
    sweeps, collections, trials = (runs_of(measured.environment, level) for level in ("sweep", "collection", "trial"))
    assert (len(sweeps), len(collections), len(trials)) == (1, 2, 8)
    assert {run.info.status for run in sweeps + collections + trials} == {"FINISHED"}
    sweep = sweeps[0].info.run_id
    for collection in collections:
        assert collection.data.tags["mlflow.parentRunId"] == sweep
        assert set(collection.data.metrics) >= COLLECTION_METRICS
        assert set(collection.data.tags) >= TAGS | {*code_tags()}  # of which there are none without a checkout
        assert collection.data.params["search.limit"] == "10"
        assert collection.inputs.dataset_inputs[0].dataset.name == "synthetic"
        assert f"| {collection.data.params['quantization.name']} |" in collection.data.tags["mlflow.note.content"]
    parents = {collection.info.run_id for collection in collections}
    for trial in trials:
        assert trial.data.tags["mlflow.parentRunId"] in parents
        assert trial.data.tags["qexp.sweep"] == sweep
        assert set(trial.data.params) == TRIAL_PARAMS
        assert set(trial.data.metrics) >= TRIAL_METRICS
        assert not {"server_latency_mean_ms", "ndcg", "latency_p99_ms"} & set(trial.data.metrics)
    for trial in trials:  # the table, the note and MLflow agree
        assert f"{trial.data.metrics['latency_mean_ms']:.3f}" in measured.printed
        assert f"{trial.data.metrics['accuracy_retention']:.3f}" in sweeps[0].data.tags["mlflow.note.content"]
    assert sweep in measured.printed
    assert not list(tmp_path.glob("cache/**/*.partial*"))

    again = qexp(*measured.words)
    assert again.returncode == 0
    assert "building" not in again.stderr


@pytest.mark.slow
def test_the_recorded_command_finds_choices_of_the_users_own(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "own" / "quantization").mkdir(parents=True)
    (tmp_path / "own" / "quantization" / "mine.yaml").write_text("name: mine\nconfig: {binary: {}}\n")
    assert qexp("--config-dir", "own", "quantization=mine", *QUICK).returncode == 0
    (run,) = runs_of(environment, "collection")
    words = shlex.split(run.data.tags["qexp.command"])[1:]
    assert words[0] == f"--config-dir={tmp_path}/own"
    assert f"overrides={words[0]} " in run.data.tags["qexp.reproduce"]
    again = qexp("-m", *words, "skip_existing=true")
    (sweep,) = runs_of(environment, "sweep")
    assert sweep.data.tags["qexp.command"].startswith(f"qexp -m {words[0]} ")
    assert f"measured already by run {run.info.run_id}" in again.stderr


def test_a_field_of_tuning_without_tuning_is_one_line(qexp: Qexp) -> None:
    done = qexp("search.tune.most=10")
    assert done.returncode == 2
    assert done.stderr == "qexp: search.tune.most: this search has no tune; add search=tune\n"


@pytest.mark.slow
def test_what_was_measured_before_ends_with_the_answer_too(qexp: Qexp) -> None:
    first = qexp(*QUICK, "quantization=scalar")
    again = qexp(*QUICK, "quantization=scalar", "skip_existing=true", "--quiet")
    assert (first.returncode, again.returncode, again.stderr) == (0, 0, "")
    told = [
        line for line in first.stdout.splitlines() if line.startswith(("Deploy", "Nothing", "Margin", "What would"))
    ]
    assert told
    assert set(told) <= set(again.stdout.splitlines())
    assert re.search(r"^Report and deploy files: (\S+/)?qexp-report [0-9a-f]{32}$", again.stdout, re.MULTILINE)


@pytest.mark.slow
def test_none_measures_the_baseline_against_itself(qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp("quantization=none", *QUICK)
    assert done.returncode == 0, done.stderr
    (trial,) = runs_of(environment, "trial")
    assert trial.data.metrics["accuracy_retention"] == 1.0
    assert trial.data.metrics["compression_ratio"] == 1.0
    assert trial.data.metrics["savings_usd_month"] == 0.0


@pytest.mark.slow
def test_bundled_data_has_labels_and_binary_needs_rescoring(qexp: Qexp, environment: dict[str, str]) -> None:
    words = ("search=quick", "search.rounds=2", "search.queries=200")
    done = qexp("-m", "quantization=turbo_4bit,binary", *words)
    assert done.returncode == 0, done.stderr
    retention = {}
    for trial in runs_of(environment, "trial"):
        assert 0.2 < trial.data.metrics["ndcg"] < 0.6
        params = trial.data.params
        retention[params["quantization"], params["rescore"], params["oversampling"]] = trial.data.metrics[
            "accuracy_retention"
        ]
    assert retention["turbo_4bit", "true", "2"] > 0.95
    assert retention["binary", "false", "1"] < 0.75
    assert retention["binary", "true", "4"] > retention["binary", "true", "1"]


def test_help_is_complete_and_needs_nothing(qexp: Qexp, tmp_path: Path) -> None:
    done = qexp("--help", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/fresh.db")
    assert done.returncode == 0
    for file in packaged("conf").glob("*/*.yaml"):
        assert f" {file.stem} " in done.stdout
    assert done.stdout.strip() == help_text()
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]  # the store of the tests, which was there


def test_the_version_is_that_of_qexp(qexp: Qexp) -> None:
    done = qexp("--version")
    assert (done.returncode, done.stdout) == (0, f"qexp {__version__}\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "told"),
    [("quickstart", "quantization=scalar"), ("embedding_sizes", "embedding=native quantization=scalar")],
)
def test_a_sweep_without_m_says_what_alone_is_measured(qexp: Qexp, experiment: str, told: str) -> None:
    done = qexp(f"experiment={experiment}", *QUICK, "search.limit=5000")  # which is refused before any work
    assert f" experiment={experiment} is a sweep: without -m only {told} is measured\n" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quantization=scalr"], "quantization=scalr: no such choice (did you mean 'scalar'?)"),
        (["qantization=scalar"], "qantization: no such group or field (did you mean 'quantization'?)"),
        (["-m", "quantization=scalar,binary", "--cfg", "job"], "-m --cfg: shows the configuration of one experiment"),
        (["search.limt=3"], "search.limt: no such group or field (did you mean 'limit'?)"),
        (["+search.limt=3"], "limt: no such field"),
        (["search.limit=ten"], "search.limit=ten: must be a whole number"),
        (["search.limit=5000"], "search.limit=5000: synthetic has only 2000 points"),
        (["search.oversampling=[]"], "search.oversampling=[]: the grid is empty"),
        (["search.oversampling=[0.5]"], "search.oversampling=0.5: must be at least 1"),
        (["quantization.config.scalar.quantil=0.9"], "did you mean 'quantile'?"),
        (["quantization.config.scalar.quantile=0.2"], "quantile=0.2: Qdrant accepts 0.5 to 1.0"),
        (["cache_dir=/proc/nothing"], "cache_dir=/proc/nothing: cannot be written"),
        (["embedding=512"], "embedding.size=512: synthetic points has vectors of 64 dimensions"),
        (["index.full_scan_threshold=10000"], "T02 "),
        (["dataset=hub"], "dataset.path: must be given"),
        (["dataset=file", "dataset.path="], "dataset.path=: must name a file, a folder or a dataset of the hub"),
        (["--config-name=mine"], "--config-name=mine: no such file in the folder of --config-dir; leave it out"),
        (["--config-path=own"], "--config-path=own: leave it out; a folder with choices of your own is --config-dir=…"),
        (["--config-path=/nothing"], "--config-path=/nothing: leave it out"),
        (["--config-path=/"], "--config-path: leave it out; a folder with choices of your own is --config-dir=…"),
        (["quantization=NULL"], "quantization=NULL: must be one of its choices"),
        (["dataset=.5"], "dataset=.5: no such choice"),
        (["storage=null"], "storage=null: must be one of its choices"),
        (["hydra.run.dir=/proc/nothing"], "/proc/nothing: No such file or directory; run in another folder"),
        (["nonsense"], "nonsense"),
        (["dataset.label=${dataset.nosuch}"], "dataset.label: Interpolation key 'dataset.nosuch' not found"),
        (["cache_dir=${nosuch}"], "cache_dir: Interpolation key 'nosuch' not found"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(qexp: Qexp, words: list[str], message: str) -> None:
    name = words[0].split("=")[0]
    kept = [] if name == "dataset" else [word for word in QUICK if word.split("=")[0] != name]
    done = qexp(*kept, *words)
    assert done.returncode == 2, done.stderr
    (line,) = errors(done.stderr)
    assert message in line
    assert "Traceback" not in done.stderr
    assert "Error executing job" not in done.stderr


def test_what_a_flag_of_hydra_cannot_do_is_bad_input(qexp: Qexp) -> None:
    done = qexp("-c", "job", "-p", "nope")
    assert (done.returncode, done.stderr) == (2, "package 'nope' not found in config\n")


@pytest.mark.slow
def test_a_bad_job_does_not_stop_the_others(qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp("-m", *QUICK, "search.limit=10,5000")
    assert done.returncode == 2
    assert len(errors(done.stderr)) == 1
    statuses = sorted(run.info.status for run in runs_of(environment, "collection"))
    assert statuses == ["FAILED", "FINISHED"]
    (failed,) = (run for run in runs_of(environment, "collection") if run.info.status == "FAILED")
    assert failed.data.tags["qexp.error"].startswith("search.limit=5000")
    assert len(runs_of(environment, "trial")) == 4
    assert runs_of(environment, "sweep")[0].info.status == "FAILED"


@pytest.mark.slow
def test_a_terminal_of_80_characters_shows_every_figure_whole(environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    words = [sys.executable, "-m", "qexp", "quantization=scalar", *QUICK]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(ours, 65536):
            shown += part
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode())
    tables = text.partition("Compare in MLflow")[0]
    assert "…" not in tables
    assert max(len(line) for line in tables.splitlines() if not line.startswith("Note:")) <= 80
    assert "Too narrow for P95 ms, recall, codes smaller, saves USD/month." in " ".join(tables.split())
    for trial in runs_of(environment, "trial"):
        assert f"{trial.data.metrics['latency_mean_ms']:.3f}" in tables


def test_objectives_are_those_of_a_single_trial() -> None:
    metrics = {"accuracy_retention": 0.9, "latency_p95_ms": 2.0, "ram_estimated_mib": 3.0, "recall": 0.8}
    baseline, trial = Row({"role": "baseline"}, {}), Row({}, metrics)
    assert cli.objectives([baseline, trial]) == [0.9, 2.0, 3.0]
    assert cli.objectives([baseline, trial, trial]) is None
