"""What is noted of the checkout behind a run."""

import subprocess
from pathlib import Path

import pytest

from qexp.provenance import code_tags, uncommitted


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
