"""How many queries of a block are slower than the others before the machine is used to an operating point.

Visits of four operating points, without warm-up and with `search.warmup` queries of it, take turns in random order on
the bundled data. Each query's median latency without is held against its own with warm-up, by its place in the block.
"""

import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from _common import Verdict, arguments, finish
from numpy.typing import NDArray

PRESET = "experiment=quickstart"
METHODS = ("scalar", "turbo_1bit")
FACTORS = (1.0, 10.0)
PLACES = (0, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500)


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, rounds=30)
    with tempfile.TemporaryDirectory() as folder:
        slower = by_place(Path(folder), given.rounds)
    rows = [
        {"queries": f"{first}–{last - 1}", "times slower": float(slower[first:last].mean())}
        for first, last in pairwise(PLACES)
    ]
    late = float(slower[50:100].mean())
    finish("warmup", given, [Verdict("queries 50–99 without warm-up / with", late, 1.02)], rows)


def by_place(folder: Path, rounds: int) -> NDArray[np.float64]:
    """Return how many times slower each query of a block is without warm-up, as the geometric mean over the points."""
    from _bare import composed

    from qexp.bench.blocks import measure, responses, timed_block
    from qexp.data.vectors import load_data
    from qexp.engine.base import build_collection, collection_spec
    from qexp.engine.edge import EdgeEngine
    from qexp.results import OperatingPoint

    visits = []
    for method in METHODS:
        config = composed(PRESET, f"quantization={method}")
        data = load_data(config, folder)
        spec = collection_spec(config, data.facts, "edge")
        build_collection(EdgeEngine(folder / "collections"), spec, data.points())
        engine = EdgeEngine(folder / "collections")
        engine.open(spec)
        queries = np.asarray(data.query_vectors()).tolist()
        for factor in FACTORS:
            search = engine.search(OperatingPoint(config.search.limit, None, True, factor))
            list(responses(search, queries))  # so that everything is in memory
            block = partial(timed_block, search, queries, config.search.limit)
            visits += [partial(block, warmup) for warmup in (0, config.search.warmup)]
    medians = np.array([np.median(found.latencies, axis=0) for found in measure(visits, rounds, seed=0)])
    ratios = medians[0::2] / medians[1::2]
    mean: NDArray[np.float64] = np.exp(np.log(ratios / np.median(ratios[:, 200:], axis=1, keepdims=True)).mean(axis=0))
    return mean


if __name__ == "__main__":
    main()
