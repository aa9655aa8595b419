"""Seconds of every phase of one experiment as the number of points grows, with the slope on log-log axes.

The slope between two sizes is log(seconds ratio) / log(points ratio): 1 is linear. Index building grows faster
(n·log n), search slower (log n), truth and upload linearly. Upload and open are medians beside the bare engine's, which
are no phases: a bare loop of upserts into a shard of the same configuration, and its own loading of the collection, in
this process, where qexp's is in a new one.
"""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from _common import Verdict, arguments, finish, paired, seconds, settled

STEPS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
PHASES = ("load", "truth", "upload", "index", "open", "query")
BARE = ("bare upload", "bare open")
LINEAR = 1.1
FIXED_SECONDS = 0.3  # a phase below this is mostly what does not depend on n, and says nothing about its slope
PAIRS = 3  # of what is timed beside the bare engine
WORDS = ["dataset=synthetic", "quantization=scalar", "index.full_scan_threshold=10"]


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, largest=30_000, size=384, queries=500)
    phases(1000, given.size, 100)  # what is imported on first use is no phase
    rows = [phases(points, given.size, given.queries) for points in STEPS if points <= given.largest]
    slopes = [
        {"points": f"slope to {last['points']}"}
        | {phase: slope(first, last, phase) for phase in (*PHASES, *BARE, "total")}
        for first, last in pairwise(rows)
    ]
    verdicts = [
        Verdict(f"{phase}: slope to {last['points']:,}", slope(first, last, phase), LINEAR, "")
        for first, last in pairwise(rows[-2:])
        for phase in PHASES
        if phase != "index" and last[phase] >= FIXED_SECONDS
    ]
    finish("scale", given, verdicts, [*rows, *slopes])


def phases(points: int, size: int, queries: int) -> dict[str, float]:
    """Return the seconds of each phase: one quantized collection, and one block on it with rescoring."""
    import qdrant_edge as edge
    from _bare import composed, uploads

    from qexp.cache import Kind
    from qexp.data.truth import find_truth
    from qexp.data.vectors import load_data
    from qexp.engine.configured import collection_spec, engine_factory, engine_version
    from qexp.engine.edge_folder import SHARD
    from qexp.engine.worker import Worker
    from qexp.results import OperatingPoint

    shape = [f"dataset.points={points}", f"dataset.size={size}", f"dataset.queries={queries}"]
    config = composed(*WORDS, *shape)
    row: dict[str, float] = {"points": points}
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary)
        row["load"] = seconds(lambda: load_data(config, cache))
        data = load_data(config, cache)
        row["truth"] = seconds(lambda: find_truth(data, config.search.limit, cache))
        spec = collection_spec(config, data.facts, engine_version(config.engine))
        worker = partial(Worker, engine_factory(config.engine, cache), data.queries, spec.name)
        row |= medians("upload", *uploads(spec, data.points(), cache))
        with worker() as builder:
            row |= {"index": builder.build(spec, data.vectors).index_seconds}
        folder = cache / Kind.COLLECTIONS / spec.name / SHARD

        def open_collection() -> float:
            with worker() as opener:
                opener.ready()
                return settled(lambda: opener.open(spec))

        def load_bare() -> float:
            shards: list[Any] = []
            loaded = settled(lambda: shards.append(edge.EdgeShard.load(str(folder))))
            shards.pop().close()
            return loaded

        row |= medians("open", open_collection, load_bare)
        with worker() as searcher:
            searcher.open(spec)
            visit = partial(searcher.block, OperatingPoint(config.search.limit, None, True, 3.0), 0, True)
            visit()
            row["query"] = seconds(visit)
    row["total"] = sum(row[phase] for phase in PHASES)
    return row


def medians(phase: str, ours: Callable[[], float], bare: Callable[[], float]) -> dict[str, float]:
    """Return the median seconds of a phase and of the same by the bare engine, timed side by side."""
    pairs = paired(ours, bare, PAIRS)
    return {phase: median(first for first, _ in pairs), f"bare {phase}": median(second for _, second in pairs)}


def slope(first: dict[str, float], last: dict[str, float], phase: str) -> float:
    """Return the exponent with which a phase grows between two sizes."""
    return math.log(last[phase] / first[phase]) / math.log(last["points"] / first["points"])


if __name__ == "__main__":
    main()
