"""What is noted of the checkout behind a run."""

import subprocess
from pathlib import Path

import pytest

from qexp.provenance import _fetchable, code_tags, reproduce_command, uncommitted


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
