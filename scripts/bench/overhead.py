"""What timing costs: mean latency of qexp's timed loop against a bare loop of `shard.query` on the same requests."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import Verdict, arguments, finish, paired, ratio

WORDS = ["dataset=synthetic", "dataset.queries=1000", "index.full_scan_threshold=100"]
WARMUP = 50


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, repeats=41, points=10_000, size=384)
    rows, verdicts = [], []
    for method in ("none", "binary"):
        words = [*WORDS, f"dataset.points={given.points}", f"dataset.size={given.size}", f"quantization={method}"]
        with tempfile.TemporaryDirectory() as folder:
            pairs = measured(words, Path(folder), given.repeats)
        first, second = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append({"collection": method, "qexp ms": first, "bare ms": second, "ratio": ratio(pairs)})
        verdicts.append(Verdict(f"timed loop / bare loop, {method}", ratio(pairs), 1.02))
    finish("overhead", given, verdicts, rows)


def measured(words: list[str], folder: Path, repeats: int) -> list[tuple[float, float]]:
    """Return pairs of mean seconds per query, by qexp and bare."""
    import numpy as np
    from _bare import build, composed, edge, request

    from qexp.bench.blocks import timed_block
    from qexp.data.vectors import load_data
    from qexp.engine.configured import collection_spec, engine_version
    from qexp.results import OperatingPoint, Search

    config = composed(*words)
    data = load_data(config, folder)
    build(collection_spec(config, data.facts, engine_version(config.engine)), folder / "shard", data.vectors)
    shard = edge.EdgeShard.load(str(folder / "shard"))
    point = OperatingPoint(10)
    requests: list[Any] = [request(point, query) for query in np.load(data.queries).tolist()]
    search = Search(lambda prepared: prepared, shard.query, lambda found: [hit.id for hit in found])

    def ours() -> float:
        return float(timed_block(search, requests, point.limit, WARMUP, False).latencies.mean()) / 1e9

    def bare() -> float:
        for prepared in requests[-WARMUP:]:
            shard.query(prepared)
        started = time.perf_counter()
        for prepared in requests:
            shard.query(prepared)
        return (time.perf_counter() - started) / len(requests)

    pairs = paired(ours, bare, repeats)
    shard.close()
    return pairs


if __name__ == "__main__":
    main()
