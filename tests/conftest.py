"""Every test has a cache, a working directory and an MLflow store of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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

Qexp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a subprocess that must leave nothing outside of `tmp_path`."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "QEXP_SWEEP_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QEXP_LOCK", str(tmp_path / "lock"))  # no test times anything: they need not wait for each other
    monkeypatch.setenv("QEXP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return dict(os.environ)


@pytest.fixture
def qexp(tmp_path: Path, environment: dict[str, str]) -> Qexp:
    """Run `python -m qexp` with some words in an empty directory."""

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qexp", *words],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
