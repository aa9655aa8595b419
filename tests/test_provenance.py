"""What is noted of the checkout behind a run."""

import os
import subprocess
from pathlib import Path

import pytest

from qexp.config import EmbeddingConfig, ExperimentConfig, FileDataset, HubDataset, QueriesConfig
from qexp.provenance import _fetchable, code_tags, inputs, reproduce_command, uncommitted


def test_changed_files_may_be_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", *words], cwd=tmp_path, check=True)

    (tmp_path / "notes.txt").write_text("cafe\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    (tmp_path / "notes.txt").write_bytes(b"caf\xe9\n")
    monkeypatch.setattr("qexp.provenance.checkout", lambda: tmp_path)
    assert code_tags()["qexp.git_dirty"] == "true"
    assert "+caf\ufffd" in uncommitted()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "new é.yaml").write_text("name: mine\n")
    assert "+name: mine" in uncommitted()


@pytest.mark.parametrize(
    ("remote", "fetched"),
    [
        ("https://me:secret@github.com/o/qexp.git", "https://github.com/o/qexp.git"),
        ("ssh://git:secret@github.com/o/qexp.git", "ssh://git@github.com/o/qexp.git"),
        ("ssh://github.com/o/qexp.git", "ssh://github.com/o/qexp.git"),
        ("git@github.com:o/qexp.git", "git@github.com:o/qexp.git"),
        ("/srv/qexp", ""),
        ("../qexp", ""),
        ("file:///srv/qexp", ""),
        ("", ""),
    ],
)
def test_only_a_remote_that_others_reach_is_told_and_no_password(remote: str, fetched: str) -> None:
    assert _fetchable(remote) == fetched


def test_a_clone_of_a_folder_is_reproduced_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "remote", "add", "origin", "/srv/qexp"], cwd=tmp_path, check=True)
    monkeypatch.setattr("qexp.provenance.checkout", lambda: tmp_path)
    assert reproduce_command([]).startswith("mlflow run . --experiment-name")
    words = ["quantization=scalar,binary", "search.limit=5,10"]
    sweep = "-e sweep -P experiment= -P quantization=scalar,binary -P overrides=search.limit=5,10"
    assert reproduce_command(words, sweep=True).endswith(sweep)
    preset = ["experiment=tune", "dataset=mine"]
    assert reproduce_command(preset, sweep=True).endswith("-e sweep -P experiment=tune -P dataset=mine")
    monkeypatch.setattr("qexp.provenance.checkout", lambda: None)
    assert reproduce_command(words, sweep=True) == "qexp -m quantization=scalar,binary search.limit=5,10"


def test_inputs_are_the_files_that_an_experiment_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("points.npy", "asked.npy", "encoders.py", "other.npy"):
        (tmp_path / name).write_text(name)
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "inner" / "a.onnx").write_text("a")
    config = ExperimentConfig(
        dataset=FileDataset(path="points.npy", queries=QueriesConfig(path=f"{tmp_path}/asked.npy")),
        embedding=EmbeddingConfig(kind="callable", model="model", function="encoders:encode"),
    )
    known = [inputs(config)]
    for path in ("points.npy", "asked.npy", "encoders.py", "model/inner/a.onnx"):
        (tmp_path / path).write_text("changed")
        known.append(inputs(config))
    assert len(set(known)) == 5
    (tmp_path / "other.npy").write_text("changed")
    os.utime(tmp_path / "points.npy", (1, 1))
    assert inputs(config) == known[-1]
    monkeypatch.setattr("qexp.provenance.WHOLE_BYTES", 1)
    sizes = inputs(config)
    os.utime(tmp_path / "points.npy", (2, 2))
    assert inputs(config) != sizes
    assert inputs(ExperimentConfig(dataset=FileDataset(path="a" * 300))) == ""
    assert inputs(ExperimentConfig(dataset=HubDataset(path="bundled/wordnet"))) == inputs(ExperimentConfig()) == ""
