"""A tracking store in a SQLite file: refused where it cannot be, made whole, and by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from qexp.errors import ConfigError
from qexp.store import connect
from qexp.store_file import in_turn


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite://?timeout=5",
        "sqlite+pysqlite://",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_store_in_memory_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match=r"is in memory, .*; set MLFLOW_TRACKING_URI=sqlite:///mlflow\.db$") as error:
        connect()
    assert str(error.value).startswith(f"MLFLOW_TRACKING_URI={uri}: ")


def test_a_store_that_cannot_be_made_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(path: Path) -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        with pytest.raises(ConfigError) as error:
            connect()
        assert str(error.value).startswith(f"MLFLOW_TRACKING_URI=sqlite:///{path}: ")
        return str(error.value).partition(": ")[2].partition(";")[0]

    (tmp_path / "file").touch()
    assert told(tmp_path) == f"{tmp_path} is no file that can be read"
    assert told(tmp_path / "file" / "x.db") == f"{tmp_path / 'file'} is no folder that can be written"
    modes = []
    monkeypatch.setattr(os, "access", lambda path, mode: modes.append((path, mode)))
    assert told(tmp_path / "a" / "b" / "x.db") == f"{tmp_path} is no folder that can be written"
    assert told(tmp_path / "file") == f"{tmp_path / 'file'} is no file that can be read"
    assert modes == [(tmp_path, os.W_OK), (tmp_path / "file", os.R_OK)]


def test_a_store_whose_making_was_stopped_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(engine: Engine) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE guardrails (id INTEGER)")
        raise KeyboardInterrupt

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new/m.db")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as halfway:
        halfway.setattr("mlflow.store.db.utils._upgrade_db", stopped)
        with pytest.raises(KeyboardInterrupt):
            connect()
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new" / "m.db.partial-abc").mkdir()  # as a process that is killed leaves it
    client, experiment_id = connect()
    assert client.get_experiment(experiment_id).artifact_location == f"{tmp_path}/mlruns/{experiment_id}"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.db"]


@pytest.mark.slow
def test_processes_that_make_one_store_at_once_do_not_spoil_it(environment: dict[str, str], tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from qexp.store import connect; print(connect()[1])"]
    there = environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'fresh.db'}"}
    processes = [subprocess.Popen(words, env=there, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    experiments = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(experiments)) == 1


def test_who_opens_one_store_waits_for_nobody_with_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with in_turn("sqlite:///one.db"), in_turn(f"sqlite:///{tmp_path}/two.db"):
        assert len(list(tmp_path.glob("qexp-store-*.lock"))) == 2
    with in_turn(f"sqlite:///{tmp_path}/one.db"):
        assert len(list(tmp_path.glob("qexp-store-*.lock"))) == 2  # one by another name
