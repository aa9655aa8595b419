"""How a sweep ends, and qexp-report and qexp-export for past runs."""

import errno
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from qexp import commands, history, jobs
from qexp.commands import WRITTEN, _chosen, _question, _replace, conclude
from qexp.config import SloConfig
from qexp.errors import ConfigError, DataError, TrackingError
from qexp.report.recommend import recommend
from qexp.report.record import CollectionRecord, Record
from qexp.report.verdict import verdict_lines
from tests.tables import baseline, row


@pytest.fixture
def command(swept, recorded, monkeypatch, capsys):
    """Run a command in this process, where the sweep lies; `test_streams.py` runs each in its own."""
    monkeypatch.chdir(swept.folder)

    def run(name, *words):
        monkeypatch.setattr("sys.argv", [f"qexp-{name}", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            getattr(commands, name)()
        return subprocess.CompletedProcess(words, ended.value.code or 0, *capsys.readouterr())

    return run


def test_a_sweep_ends_with_its_decision_and_where_the_files_are(swept, recorded):
    printed = " ".join(swept.printed.split())
    for line in verdict_lines(recommend(recorded.rows, recorded.slo)):
        assert line in printed
    assert "Deploy files: multirun/" in printed
    assert "Report: multirun/" in printed
    folder = next(swept.folder.glob("multirun/*/*/report"))
    assert (folder / "report.html").exists()
    assert (folder / "deploy" / "create_collection.json").exists()


def test_the_report_is_kept_with_the_sweep(recorded):
    from qexp import store

    client, _ = store.connect()
    kept = {artifact.path for artifact in client.list_artifacts(recorded.run_id, "report")}
    assert {"report/report.html", "report/report.md", "report/deploy", "report/plots"} <= kept


def test_report_of_one_collection_with_another_limit(command, recorded, tmp_path):
    asked = recorded.collections[0].run_id
    done = command("report", asked, "--out", tmp_path / "r", "--min-accuracy", "1", "--max-p95-ms", "0.000001")
    assert done.returncode == 0, done.stderr
    assert "Nothing that was measured keeps to the limits." in done.stdout
    assert "Nothing that was measured keeps to the limits." in (tmp_path / "r" / "report.md").read_text()
    assert not (tmp_path / "r" / "deploy").exists()
    assert f"the limits are not those of run {asked}, which keeps the report that it has in MLflow" in done.stdout
    assert not MlflowClient().list_artifacts(asked, "report")


def test_report_of_an_experiment_belongs_to_no_run(command, tmp_path):
    asked = ("report", "qexp", "--out", tmp_path / "r", "--objectives")
    done = command(*asked, "accuracy,cost")
    assert (done.returncode, done.stderr) == (0, "")
    assert "MLflow" not in done.stdout
    assert (tmp_path / "r" / "report.html").exists()
    told = "what keeps to that and is not dominated (compared in accuracy and cost alone), the cheapest"
    assert told in (tmp_path / "r" / "report.md").read_text()
    done = command(*asked, "cost,costs")
    assert (done.returncode, done.stderr) == (
        2,
        "qexp-report: slo.objectives=costs: no such value (did you mean 'cost'?)\n",
    )


def test_a_bad_limit_is_told_before_anything_is_read(command, tmp_path):
    done = command("report", "no-such-run", "--out", tmp_path / "r", "--min-accuracy", "95")
    assert (done.returncode, done.stderr) == (2, "qexp-report: slo.min_accuracy=95: must be from 0 to 1\n")


def test_the_folder_of_a_question_has_a_name_that_a_disk_takes():
    def named(data):
        return _question(recommend([baseline(data=data), row("scalar", data=data)], SloConfig(name="test")))

    assert named("truth=exact") == "words-truth=exact-64-edge-10"
    long = " ".join(f"dataset.queries.path=/somewhere/{number}" for number in range(50))
    assert len(named(long).encode()) < 100
    assert named(long) == named(long) != named(f"{long}1")


def test_a_report_takes_the_place_of_the_one_before_and_of_nothing_else(command, tmp_path):
    folder = tmp_path / "r"
    assert command("report", "qexp", "--out", folder, "--min-accuracy", "0.1").returncode == 0
    (folder / "plots" / "of_another_question.png").touch()
    (folder / ".qexp-report").write_text((folder / ".qexp-report").read_text() + "plots/of_another_question.png\n")
    (folder / "deploy" / "notes.txt").write_text("mine")
    assert command("report", "qexp", "--out", folder, "--max-ram-mib", "0.000001").returncode == 0
    assert [path.name for path in (folder / "deploy").iterdir()] == ["notes.txt"]
    assert "of_another_question.png" not in {path.name for path in (folder / "plots").iterdir()}
    assert "Nothing that was measured keeps to the limits." in (folder / "report.md").read_text()


def test_a_file_that_no_report_wrote_is_not_overwritten(command, tmp_path):
    (tmp_path / "report.md").write_text("mine")
    done = command("report", "qexp", "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"qexp-report: {tmp_path}/report.md: is in the way")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


@pytest.fixture
def made(tmp_path):
    (tmp_path / "made" / "plots").mkdir(parents=True)
    (tmp_path / "made" / "plots" / "a.png").write_text("new")
    (tmp_path / "r").mkdir()
    return tmp_path / "made"


def test_a_list_takes_away_nothing_outside_its_folder(made, tmp_path):
    folder, victim = tmp_path / "r", tmp_path / "victim"
    victim.write_text("mine")
    (folder / WRITTEN).write_text(f"../victim\n{victim}\nplots/../../victim\n\ngone\n")
    _replace(made, folder, WRITTEN)
    assert victim.read_text() == "mine"
    assert (folder / WRITTEN).read_text() == "plots/a.png\n"


def test_a_disk_that_is_full_is_one_line(made, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/r/[^\n]*: cannot be written \(No space left on device\)"):
        _replace(made, tmp_path / "r", WRITTEN)


@pytest.mark.parametrize(
    ("folders", "files", "blocked"),
    [
        ([], {WRITTEN: b"old\n\xff"}, WRITTEN),
        ([WRITTEN], {}, WRITTEN),
        (["gone"], {WRITTEN: b"old\ngone\n"}, "gone"),
        (["plots", "plots/a.png"], {WRITTEN: b"old\nplots/a.png\n"}, "plots/a.png"),
        ([], {WRITTEN: b"old\n", "plots": b"mine"}, "plots"),
    ],
)
def test_what_is_in_the_way_is_one_line_before_anything_is_changed(made, tmp_path, folders, files, blocked):
    folder = tmp_path / "r"
    for name in folders:
        (folder / name).mkdir()
    for name, content in {"old": b"of the report before", **files}.items():
        (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{folder}/{blocked}: is in the way, and [^\n]* with --out$"):
        _replace(made, folder, WRITTEN)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == {
        "old": b"of the report before",
        **files,
    }


def test_what_is_kept_with_the_run_is_what_was_written(recorded, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(
        history, "log_report", lambda run_id, folder: kept.extend(p.relative_to(folder) for p in folder.rglob("*"))
    )
    (tmp_path / "notes.txt").write_text("mine")
    lines = conclude(recorded.run_id, tmp_path)
    assert f"(and in MLflow, run {recorded.run_id}, below report/)" in lines[-1]
    assert Path("report.html") in kept
    assert Path("notes.txt") not in kept


def test_a_record_is_read_once_whatever_the_limits(command, recorded, tmp_path, monkeypatch):
    asked, read = [], history.read
    monkeypatch.setattr(history, "read", lambda reference: asked.append(reference) or read(reference))
    done = command("report", recorded.run_id, "--out", tmp_path / "r", "--min-accuracy", 0.5)
    assert done.returncode == 0, done.stderr
    assert asked == [recorded.run_id]


def test_export_of_a_trial_by_name(command, recorded, tmp_path):
    row = recorded.rows[2]
    done = command("export", row.run_id, "--out", tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "d" / "evidence.json").read_text())["runs"]["trial"] == row.run_id
    said, written, *_ = done.stdout.splitlines()
    assert said.endswith("was asked for by name.")
    assert written.startswith("Wrote ")


def test_an_export_takes_the_place_of_the_one_before_and_of_nothing_else(command, recorded, tmp_path):
    asked = ("export", recorded.rows[2].run_id, "--out", tmp_path)
    (tmp_path / "README.md").write_text("mine")
    refused = command(*asked)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"qexp-export: {tmp_path}/README.md: is in the way")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "README.md").rename(tmp_path / "mine.md")
    for _ in range(2):
        done = command(*asked)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "README.md").exists()
    assert (tmp_path / "mine.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["report", "export"])
def test_a_run_that_is_not_there_is_one_line(command, name):
    done = command(name, "nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith(f"qexp-{name}: nonsense: no such run or MLflow experiment in sqlite:")
    assert len(done.stderr.splitlines()) == 1


def test_a_run_to_reproduce_that_is_not_there_is_no_failure_of_the_store(recorded):
    for run_id in ("0" * 32, "no id"):
        with pytest.raises(ConfigError, match=f"^{run_id}: no such run in MLFLOW_TRACKING_URI=sqlite"):
            jobs.collections_of(run_id)


@pytest.mark.parametrize(
    ("owner", "broken"),
    [
        (MlflowClient, "get_run"),
        (MlflowClient, "search_runs"),
        (MlflowClient, "get_experiment_by_name"),
        (LocalArtifactRepository, "list_artifacts"),
    ],
)
def test_a_store_that_fails_is_one_line(recorded, monkeypatch, tmp_path, owner, broken):
    def fail(*asked, **more):
        raise MlflowException("the disk is gone\nand more lines")

    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "1")  # so that connecting asks the store for nothing
    monkeypatch.setattr(owner, broken, fail)
    for reference in (recorded.run_id, recorded.collections[0].run_id):
        with pytest.raises(
            TrackingError, match=f"^the tracking store failed while reading {reference}: the disk is gone$"
        ):
            history.read(reference)
    monkeypatch.setattr(MlflowClient, "log_artifacts", fail)
    with pytest.raises(TrackingError, match=f"while keeping {tmp_path} with run {recorded.run_id}: the disk is gone$"):
        history.log_report(recorded.run_id, tmp_path)


def test_a_trial_leads_to_its_collection_and_an_experiment_to_all(recorded):
    assert history.read(recorded.rows[1].run_id).run_id == recorded.collections[0].run_id
    assert [one.run_id for one in history.read("qexp").collections] == [one.run_id for one in recorded.collections]


def test_an_empty_store_says_so(environment):
    for find in (history.read, history.run_id):
        with pytest.raises(DataError, match=r"nothing is recorded yet in .* of sqlite:///.*the folder where it ran"):
            find("last")


def test_last_is_the_same_run_for_every_command(recorded):
    assert history.run_id("last") == recorded.run_id
    assert history.run_id("0" * 32) == "0" * 32


@pytest.mark.parametrize("name", ["report", "export"])
def test_a_folder_that_cannot_be_written_is_one_line(command, tmp_path, name):
    (tmp_path / "file").touch()
    done = command(name, "qexp", "--out", tmp_path / "file" / "inside")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_trial_without_quantization_can_be_asked_for_by_name():
    again = row("none")
    again = replace(again, metrics=again.metrics | {"compression_ratio": 1.0}, run_id="abc")
    record = Record("", "", (CollectionRecord("", {}, {}, {}, {}, {}, (baseline(), again)),))
    assert _chosen(record, "abc") == (again, ["none, no rescoring (storage on_disk) was asked for by name."])


def test_a_load_by_name_is_its_own_operating_point():
    rows = (baseline(), *(replace(row("binary", factor), run_id=f"trial {factor}") for factor in (None, 2, 4)))
    loads = [row("binary", factor, clients="2") for factor in (4, 8)] + [row("baseline", role="baseline", clients="2")]
    loads = [replace(load, run_id=f"load {number}") for number, load in enumerate(loads)]
    record = Record("", "", (CollectionRecord("", {}, {}, {}, {}, {}, rows, loads=tuple(loads)),))
    chosen, why = _chosen(record, "load 0")
    assert (chosen, why) == (rows[3], ["binary, rescoring 4× (storage on_disk) was asked for by name."])
    with pytest.raises(DataError, match=r"^load 1: is a load of binary, rescoring 8×, which has no trial; name a t"):
        _chosen(record, "load 1")
    assert _chosen(record, "load 2")[0] is rows[0]
