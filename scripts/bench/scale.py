"""Seconds of every phase of one experiment as the number of points grows, with the slope on log-log axes.

The slope between two sizes is log(seconds ratio) / log(points ratio): 1 is linear. Index building grows faster
(n·log n), search slower (log n), truth and upload linearly. Beside upload and open stand the bare engine's, which are
no phases: a bare loop of upserts into a shard of the same configuration, and its own loading of the collection built.
"""

import math
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

from _common import Verdict, arguments, finish, seconds

STEPS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
PHASES = ("load", "truth", "upload", "index", "open", "query")
BARE = {"upload": "bare upload", "open": "bare open"}
LINEAR = 1.1
FIXED_SECONDS = 0.5  # a phase below this is mostly what does not depend on n, and says nothing about its slope
WORDS = ["dataset=synthetic", "quantization=scalar", "index.full_scan_threshold=10"]


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, largest=30_000, size=384, queries=500)
    phases(1000, given.size, 100)  # what is imported on first use is no phase
    rows = [phases(points, given.size, given.queries) for points in STEPS if points <= given.largest]
    slopes = [
        {"points": f"slope to {last['points']}"}
        | {phase: slope(first, last, phase) for phase in (*PHASES, *BARE.values(), "total")}
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
    from _bare import composed, new_shard, upsert

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
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        row["load"] = seconds(lambda: load_data(config, cache))
        data = load_data(config, cache)
        row["truth"] = seconds(lambda: find_truth(data, config.search.limit, cache))
        spec = collection_spec(config, data.facts, engine_version(config.engine))
        with Worker(engine_factory(config.engine, cache), data.queries, spec.name) as worker:
            built = worker.build(spec, data.vectors)
            row |= {"upload": built.upload_seconds, "index": built.index_seconds}
            row["open"] = seconds(lambda: worker.open(spec))
            visit = partial(worker.block, OperatingPoint(config.search.limit, None, True, 3.0), 0, True)
            visit()
            row["query"] = seconds(visit)
        built_folder = cache / Kind.COLLECTIONS / spec.name / SHARD
        row[BARE["open"]] = seconds(lambda: edge.EdgeShard.load(str(built_folder)))
        shard = new_shard(spec, cache / "bare")
        row[BARE["upload"]] = seconds(lambda: upsert(shard, data.points()))
        shard.close()
    row["total"] = sum(row[phase] for phase in PHASES)
    return row


def slope(first: dict[str, float], last: dict[str, float], phase: str) -> float:
    """Return the exponent with which a phase grows between two sizes."""
    return math.log(last[phase] / first[phase]) / math.log(last["points"] / first["points"])


if __name__ == "__main__":
    main()
