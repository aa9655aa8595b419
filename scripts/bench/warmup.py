"""What the first queries of a block cost, and what is left of it in its mean, P95 and speedup after some warm-up.

Every collection is in a process of its own, as when qexp measures. Visits of the operating points without warm-up and
with 100 queries of it take turns in random order. Each query's median latency without is held against its own with, by
its place in the block, and both against the places from 100 to 199. What the places behind a shorter warm-up are slower
by, is left in the block: in its mean and P95, as the mean over the operating points, and in the speedup that is
furthest off. `--points N` has so many random points instead of the bundled ones.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _common import Verdict, arguments, finish
from numpy.typing import NDArray

METHODS = ("none", "scalar", "turbo_1bit")
FACTORS = (1.0, 10.0)
QUERIES = 500
WARM = 100  # queries after which nothing is left to warm up
LENGTHS = (0, 1, 2, 5, 10, 20, 30, 50, 75)


def main() -> None:
    """Measure and record."""
    from qexp.config import SearchConfig

    given = arguments(__doc__, rounds=40, points=0)
    source = ["dataset=synthetic", f"dataset.points={given.points}"] if given.points else ["dataset=wordnet"]
    with tempfile.TemporaryDirectory() as folder:
        slower, usual = by_place([*source, f"search.queries={QUERIES}"], Path(folder), given.rounds)
    rows = []
    for length in LENGTHS:
        mean = left(slower, usual, length, np.mean)
        rows.append(
            {
                "warm-up queries": length,
                "next query slower": f"{slower[:, length].mean() - 1:.1%}",
                "the ten from it": f"{slower[:, length : length + 10].mean() - 1:.1%}",
                f"mean of {QUERIES} off by": f"{mean.mean() - 1:.2%}",
                "P95 off by": f"{left(slower, usual, length, partial(np.percentile, q=95)).mean() - 1:.2%}",
                "speedup off by": f"{max(mean[0] / mean[1:] - 1, key=abs):+.2%}",
            }
        )
    default = SearchConfig().warmup
    off = 100 * float(left(slower, usual, default, np.mean).mean() - 1)
    finish(
        "warmup",
        given,
        [Verdict(f"mean of {QUERIES} queries off by, after {default} warm-up queries", off, 0.3, "%")],
        rows,
    )


def left(
    slower: NDArray[np.float64], usual: NDArray[np.float64], length: int, figure: Callable[..., Any]
) -> NDArray[np.float64]:
    """Return how many times too high a figure of a block is after so many warm-up queries, by operating point."""
    found = usual.copy()
    found[:, : WARM - length] *= slower[:, length:WARM]
    return np.asarray(figure(found, axis=1) / figure(usual, axis=1))


def by_place(words: list[str], folder: Path, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many times slower a query is without warm-up, by its place; and its usual latency, in nanoseconds.

    Both have a row for every operating point, the first for the baseline, and a column for every query.
    """
    from _bare import composed

    from qexp.bench.blocks import measure
    from qexp.data.vectors import load_data
    from qexp.engine.configured import collection_spec, engine_factory
    from qexp.engine.worker import Worker, warm
    from qexp.results import OperatingPoint

    with ExitStack() as workers:
        visits = []
        for method in METHODS:
            config = composed(*words, f"quantization={method}")
            data = load_data(config, folder)
            spec = collection_spec(config, data.facts, "edge")
            make = engine_factory(config.engine, folder, None)
            with Worker(make, data.queries, spec.name) as builder:
                builder.build(spec, data.vectors)
            worker = workers.enter_context(Worker(make, data.queries, spec.name))
            worker.open(spec)
            points = [OperatingPoint(config.search.limit, None, method != "none", factor) for factor in FACTORS]
            points = points[:1] if method == "none" else points
            warm({worker: points})  # so that everything is in memory
            visits += [partial(worker.block, point, length) for point, length in product(points, (0, WARM))]
        medians = np.array([np.median(found.latencies, axis=0) for found in measure(visits, rounds, seed=0)])
    ratios = medians[0::2] / medians[1::2]
    later = np.median(ratios[:, WARM : 2 * WARM], axis=1, keepdims=True)
    return ratios / later, medians[1::2]


if __name__ == "__main__":
    main()
