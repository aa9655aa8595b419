"""Every test has a cache, a working directory and an MLflow store of its own."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from mlflow import MlflowClient

from qexp import history, machine
from qexp.config import (
    EngineConfig,
    ExperimentConfig,
    IndexConfig,
    QuantizationConfig,
    SearchConfig,
    StorageConfig,
    SyntheticDataset,
)
from qexp.report.record import Record
from tests.support.running import ran

if TYPE_CHECKING:
    from tests.support.qdrant_rest import QdrantRest

hypothesis.settings.register_profile("qexp", deadline=None, derandomize=True)  # a busy machine is no failure
hypothesis.settings.load_profile("qexp")

QUICK = [
    "dataset=synthetic",
    "dataset.points=2000",
    "dataset.size=64",
    "dataset.queries=100",
    "index.full_scan_threshold=100",
    "search=quick",
    "search.rounds=2",
    "search.warmup=5",
]

# What a run of qexp around the tests would have them write into.
INHERITED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "QEXP_SWEEP_RUN_ID")

Qexp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """No test finds the collection loaded that another has left."""
    yield
    if "qexp.places" in sys.modules:
        sys.modules["qexp.places"].release()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store with nothing in it, made once: its tables take MLflow a second."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM experiments")  # the default one, whose artifacts would lie here
    return path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> dict[str, str]:
    """The environment of a subprocess that must leave nothing outside of `tmp_path`."""
    for name in INHERITED:
        monkeypatch.setenv(name, "")  # so that what a test sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("QEXP_LOCK", str(tmp_path / "lock"))  # no test times anything: they need not wait for each other
    monkeypatch.setenv("QEXP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, tmp_path)}")
    return dict(os.environ)


@pytest.fixture
def qexp(tmp_path: Path, environment: dict[str, str]) -> Qexp:
    """Run `python -m qexp` with some words in an empty directory."""

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return ran(environment | more, tmp_path, "-m", "qexp", *words)

    return run


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentConfig:
    """A small experiment on the Edge engine that leaves nothing outside of `tmp_path`, to be run in this process."""
    monkeypatch.setenv(machine.LOCK, str(tmp_path / "lock"))
    return small_experiment(tmp_path)


def small_experiment(folder: Path) -> ExperimentConfig:
    return ExperimentConfig(
        dataset=SyntheticDataset(points=1000, size=32, queries=50),
        quantization=QuantizationConfig("scalar", {"scalar": {"type": "int8"}}),
        storage=StorageConfig("on_disk"),
        index=IndexConfig(full_scan_threshold=10),
        search=SearchConfig(rounds=2, budget_seconds=0, oversampling=[2.0], warmup=2),
        engine=EngineConfig("edge"),
        cache_dir=str(folder / "cache"),
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator["QdrantRest"]:
    """A Qdrant server for the test, on top of Edge."""
    from tests.support.qdrant_rest import QdrantRest

    with QdrantRest(tmp_path / "server") as running:
        yield running


@dataclass(frozen=True)
class Swept:
    """A finished sweep: its words, where it ran, how to reach its record, what it printed."""

    words: list[str]
    folder: Path
    environment: dict[str, str]
    printed: str


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep over two methods, run once for all tests that read records; they must not change it."""
    folder = tmp_path_factory.mktemp("swept")
    environment = {name: value for name, value in os.environ.items() if name not in INHERITED} | {
        "QEXP_LOCK": str(folder / "lock"),
        "QEXP_CACHE_DIR": str(folder / "cache"),
        "HF_HOME": str(folder / "huggingface"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    words = ["-m", *QUICK, "dataset.queries=240", "quantization=scalar,binary"]
    done = ran(environment, folder, "-m", "qexp", *words)
    assert done.returncode == 0, done.stderr
    return Swept(words, folder, environment, done.stdout)


@pytest.fixture
def measured(swept: Swept, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Swept:
    """The sweep as if this test had run it: with a record and a cache of the test's own, to do with as it likes."""
    # By run, where MLflow has written for the copy of a test before.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    for name in ("cache", "mlruns"):
        shutil.copytree(swept.folder / name, tmp_path / name)
    store = shutil.copy(swept.folder / "mlflow.db", tmp_path)
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, '{swept.folder}', '{tmp_path}')")
    return replace(swept, folder=tmp_path, environment=environment)


@pytest.fixture(scope="session")
def read_once(swept: Swept) -> Record:
    """The sweep's record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", swept.environment["MLFLOW_TRACKING_URI"])
        return history.read("last")


@pytest.fixture
def recorded(swept: Swept, read_once: Record, monkeypatch: pytest.MonkeyPatch) -> Record:
    """The sweep's record, with this process pointed at its store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", swept.environment["MLFLOW_TRACKING_URI"])
    return read_once
