"""Measure the memory of bringing data in: from Arrow to `.npy` files and exact neighbours, for growing corpora.

    python scripts/bench/memory.py                              four shapes, up to 1,000,000 × 384, and two files
    python scripts/bench/memory.py 30000x384 30000x768:parquet  others

Each shape, points × dimensions, runs in a process of its own with 100 queries; vectors are drawn, or read from a
Parquet file that has ids and payload too. `private` is the peak of memory that is
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

SHAPES = ("100000x384", "300000x384", "1000000x384", "100000x1536", "100000x384:parquet", "1000000x384:parquet")
ROW_GROUP = 100_000  # rows
FILE = "points.parquet"
LIMIT_MB = 300
FLAT = 1.1  # most memory over least


def main() -> None:
    """Run every size and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="POINTSxSIZE[:parquet]")
    parser.add_argument("--one", action="store_true", help="measure this process")
    parser.add_argument("--file", action="store_true", help="write the file that is measured")
    given = parser.parse_args()
    shape, _, kind = given.shapes[0].partition(":")
    points, size = map(int, shape.split("x"))
    if given.one:
        print(json.dumps(measured(points, size, kind)))
    elif given.file:
        write(points, size)
    else:
        compared(given)


def compared(given: argparse.Namespace) -> None:
    """Run every shape in a process of its own, and record."""
    rows = []
    for shape in given.shapes:
        with tempfile.TemporaryDirectory() as folder:
            for step in ["--file", "--one"] if shape.endswith("parquet") else ["--one"]:
                done = run([sys.executable, __file__, step, shape], cwd=Path(folder), QEXP_CACHE_DIR=f"{folder}/cache")
            rows.append(json.loads(done.stdout))
    verdicts = [Verdict("most private memory", max(row["private MB"] for row in rows), LIMIT_MB, "MB")]
    drawn = [row["private MB"] for row in rows if not row["read from"]]  # the others look for ids given twice
    if len(drawn) > 1:
        verdicts.append(Verdict("most / least, without ids", max(drawn) / min(drawn), FLAT))
    finish("memory", given, verdicts, rows)


def write(points: int, size: int) -> None:
    """Write vectors, ids and payload."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, writer = np.random.default_rng(0), None
    for start in range(0, points, ROW_GROUP):
        rows = range(start, min(points, start + ROW_GROUP))
        drawn = pa.array(rng.standard_normal(len(rows) * size, np.float32))
        vectors = pa.FixedSizeListArray.from_arrays(drawn, size)
        table = pa.table({"vector": vectors, "id": [f"p{row}" for row in rows], "city": [row % 100 for row in rows]})
        writer = writer or pq.ParquetWriter(FILE, table.schema)
        writer.write_table(table)
    assert writer
    writer.close()


def measured(points: int, size: int, kind: str) -> dict[str, Any]:
    """Load and search; return a row with the peaks in MB."""
    import mlflow  # noqa: F401 - it is there in every run, and its memory with it

    import qexp.runner  # noqa: F401
    from qexp.config import ExperimentConfig, FileDataset, SearchConfig, SyntheticDataset
    from qexp.data.truth import find_truth
    from qexp.data.vectors import load_data
    from qexp.paths import cache_root

    dataset: SyntheticDataset | FileDataset = SyntheticDataset(points=points, size=size, queries=100)
    if kind:
        dataset = FileDataset(path=FILE, id_column="id", payload_columns=["city"])
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
        cache = cache_root(None)
        data = load_data(ExperimentConfig(dataset=dataset, search=SearchConfig(queries=100)), cache)
        loaded = perf_counter()
        find_truth(data, 10, cache)
        searched = perf_counter()
    finally:
        done.set()
        watcher.join()
    return {
        "points": points,
        "size": size,
        "read from": kind,
        "private MB": peaks["RssAnon"] / 1e6,
        "mapped MB": peaks["RssFile"] / 1e6,
        "laid out s": loaded - started,
        "searched s": searched - loaded,
    }


if __name__ == "__main__":
    main()
