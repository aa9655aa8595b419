"""Measure the memory of bringing data in: from Arrow to `.npy` files and exact neighbours, for growing corpora.

    python scripts/bench/memory.py                          four shapes, up to 1,000,000 × 384
    python scripts/bench/memory.py 30000x384 30000x768      others

Each shape, points × dimensions, runs in a process of its own with 100 queries. `private` is the peak of memory that is
the process's own (RssAnon, sampled), `mapped` the peak of file pages in its page tables, which the system takes back
at will and which grow with whatever is read through a mapping. The collection is not built: that is the engine's
memory.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

from _common import Verdict, finish, run

SHAPES = ("100000x384", "300000x384", "1000000x384", "100000x1536")
LIMIT_MB = 300
FLAT = 1.1  # most memory over least


def main() -> None:
    """Run every size and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="POINTSxSIZE")
    parser.add_argument("--one", action="store_true", help="measure this process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(*map(int, given.shapes[0].split("x")))))
        return
    rows = []
    for shape in given.shapes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(json.loads(run([sys.executable, __file__, "--one", shape], QEXP_CACHE_DIR=folder).stdout))
    private = [row["private MB"] for row in rows]
    verdicts = [Verdict("most private memory", max(private), LIMIT_MB, "MB")]
    if len(rows) > 1:
        verdicts.append(Verdict("most / least", max(private) / min(private), FLAT))
    finish("memory", given, verdicts, rows)


def measured(points: int, size: int) -> dict[str, Any]:
    """Load and search; return a row with the peaks in MB."""
    import mlflow  # noqa: F401 - it is there in every run, and its memory with it

    import qexp.runner  # noqa: F401
    from qexp.config import ExperimentConfig, SearchConfig, SyntheticDataset
    from qexp.data.truth import find_truth
    from qexp.data.vectors import load_data
    from qexp.paths import cache_root

    peaks = {"RssAnon": 0, "RssFile": 0}
    done = Event()

    def watch() -> None:
        while not done.wait(0.005):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]) * 1024)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        started = perf_counter()
        dataset = SyntheticDataset(points=points, size=size, queries=100)
        cache = cache_root(None)
        data = load_data(ExperimentConfig(dataset=dataset, search=SearchConfig(limit=10)), cache)
        loaded = perf_counter()
        find_truth(data, 10, cache)
        searched = perf_counter()
    finally:
        done.set()
        watcher.join()
    return {
        "points": points,
        "size": size,
        "private MB": peaks["RssAnon"] / 1e6,
        "mapped MB": peaks["RssFile"] / 1e6,
        "laid out s": loaded - started,
        "searched s": searched - loaded,
    }


if __name__ == "__main__":
    main()
