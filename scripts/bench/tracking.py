"""Time in MLflow per trial, with an SQLite store and over HTTP to a tracking server.

A small experiment is measured once. Then it is recorded with few trials and with many, and the difference divided by
the trials in between.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from _common import Verdict, arguments, finish, seconds

WORDS = ["dataset=synthetic", "dataset.points=2000", "dataset.size=32", "dataset.queries=100", "search=quick"]
WORDS += ["index.full_scan_threshold=100", "search.rounds=2", "quantization=scalar"]
FEW, MANY = 2, 22


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, repeats=5)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["QEXP_CACHE_DIR"] = f"{folder}/cache"
        sqlite = f"sqlite:///{folder}/mlflow.db"
        rows = [{"store": "SQLite", "ms per trial": per_trial(sqlite, given.repeats)}]
        with served(folder) as url:
            rows.append({"store": "HTTP", "ms per trial": per_trial(url, given.repeats)})
    verdicts = [
        Verdict(f"one trial, {row['store']}", row["ms per trial"], goal, "ms")
        for row, goal in zip(rows, (30, 60), strict=True)
    ]
    finish("tracking", given, verdicts, rows)


def per_trial(store: str, repeats: int) -> float:
    """Return the median milliseconds that one more trial takes to record."""
    import mlflow
    from _bare import composed

    from qexp.runner import measure_experiment
    from qexp.tracking import collection_run

    mlflow.set_tracking_uri(store)
    config = composed(*WORDS)
    measured = measure_experiment(config)

    def record(trials: int) -> float:
        copies = (measured.trials * trials)[:trials]
        with collection_run(config, WORDS) as keep:
            return seconds(lambda: keep(replace(measured, trials=copies)))

    record(FEW)
    return statistics.median(1000 * (record(MANY) - record(FEW)) / (MANY - FEW) for _ in range(repeats))


@contextmanager
def served(folder: str) -> Iterator[str]:
    """Run a tracking server on a free port, with a store of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/served.db", "--artifacts-destination", f"{folder}/served"]
    url = f"http://127.0.0.1:{port}"
    with Path(folder, "server.log").open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_for(f"{url}/health", server)
            yield url
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes], patience: float = 120) -> None:
    """Return when the URL answers."""
    for _ in range(int(patience / 0.2)):
        try:
            urllib.request.urlopen(url).close()
            return
        except (urllib.error.URLError, ConnectionError):
            if server.poll() is not None:
                break
            time.sleep(0.2)
    sys.exit("the MLflow server did not start")


if __name__ == "__main__":
    main()
