"""Show whether qexp's intervals hold: A/A comparisons, injected slowdowns, and a simulation whose truth is known.

    python scripts/bench/calibration.py                        everything; at most 200 × 30 seconds on the engine
    python scripts/bench/calibration.py --part engine --comparisons 20 --points 3000 --size 64     a quick look
    python scripts/bench/calibration.py --part simulation      no engine

Prints Markdown tables and a verdict; exit code 1 where a goal is missed.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from _score import SLOWDOWNS, Score, goal
from _simulation import simulated

from qexp import machine
from qexp.bench.blocks import measure, responses, timed_block
from qexp.bench.latency import speedup_mean, speedup_p50, speedup_p95
from qexp.bench.stopping import Stopping
from qexp.config import ExperimentConfig, SearchConfig, SyntheticDataset
from qexp.data.vectors import load_data
from qexp.engine.base import build_collection
from qexp.engine.configured import collection_spec
from qexp.engine.edge import EdgeEngine
from qexp.results import Block, OperatingPoint

STATISTICS = {"mean": speedup_mean, "median": speedup_p50, "P95": speedup_p95}


# Parts (a) and (b): the engine, with qexp's own timed loop, rounds and stopping rule.


def slowed(block: Block, factor: float) -> Block:
    """Return the block as if every search had taken `factor` times as long.

    Waiting inside the timed call would not do: it makes the search that follows slower too, by an unknown factor.
    """
    return replace(block, latencies=np.round(block.latencies * factor).astype(np.int64))


@contextmanager
def collection(points: int, size: int, queries: int) -> Iterator[tuple[EdgeEngine, list[list[float]]]]:
    """Build a synthetic unquantized collection for the time of the bench."""
    with TemporaryDirectory() as folder:
        dataset = SyntheticDataset(points=points, size=size, queries=queries)
        config = ExperimentConfig(dataset=dataset)
        data = load_data(config, Path(folder))
        spec = replace(collection_spec(config, data.facts, "edge"), full_scan_threshold=10).unquantized()
        spec = replace(spec, vectors="cached", hnsw="cached")
        build_collection(EdgeEngine(Path(folder) / "collections"), spec, data.points())
        engine = EdgeEngine(Path(folder) / "collections")
        engine.open(spec)
        yield engine, data.query_vectors().tolist()
        engine.close()


def on_engine(options: argparse.Namespace) -> bool:
    """Compare a collection with itself, and with itself slowed down."""
    point = OperatingPoint(10, None)
    search_config = SearchConfig(rounds=options.rounds, budget_seconds=options.budget)
    fixed = {(factor, name): Score() for factor in SLOWDOWNS for name in STATISTICS}
    adaptive = {key: Score() for key in fixed}
    rounds = []
    with (
        machine.turn(True, 3600, print),
        collection(options.points, options.size, options.queries) as (engine, queries),
    ):
        search = engine.search(point)
        factors = (1.0, *SLOWDOWNS)

        def visit(factor: float, with_ids: bool) -> Block:
            return slowed(timed_block(search, queries, point.limit, search_config.warmup, with_ids), factor)

        visits: list[Callable[[bool], Block]] = [partial(visit, factor) for factor in factors]
        list(responses(search, queries))  # untimed, so that everything is in memory
        for number in range(options.comparisons):
            stopping = Stopping([(0, index) for index in range(1, len(visits))], search_config)
            measured = measure(visits, options.rounds, number, enough=stopping)
            base, *trials = [found.latencies for found in measured]
            rounds.append(len(base))
            for factor, trial in zip(SLOWDOWNS, trials, strict=True):
                for name, statistic in STATISTICS.items():
                    for scores, n in ((fixed, options.rounds), (adaptive, len(base))):
                        found = statistic(base[:n], trial[:n])
                        assert found is not None
                        scores[factor, name].add(found, 1 / factor)
    print(
        f"\n{options.points} points of {options.size} dimensions, {options.queries} queries, {options.comparisons} "
        f"comparisons; adaptive: {np.mean(rounds):.1f} rounds on average, {min(rounds)} to {max(rounds)}\n"
    )
    print("| rounds | slowdown | statistic | holds the truth | called different | half-width |")
    print("| --- | --- | --- | --- | --- | --- |")
    for title, scores in ((f"exactly {options.rounds}", fixed), ("adaptive", adaptive)):
        for (factor, name), score in scores.items():
            print(f"| {title} | {factor:g}× | {name} | {score.cells()} |")
    print()
    held = True
    for title, scores in (("fixed", fixed), ("adaptive", adaptive)):
        for name in STATISTICS:
            same = scores[1.0, name]
            held &= goal(f"A/A, {title}, {name}: called different", same.different, same.comparisons, 0, 0.05)
            slow = [scores[factor, name] for factor in SLOWDOWNS[1:]]
            covered, of = sum(score.covered for score in slow), sum(score.comparisons for score in slow)
            held &= goal(f"slowdowns, {title}, {name}: truth in the interval", covered, of, 0.93, 0.97)
    return held


def main() -> int:
    """Run the parts that were asked for; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", "engine", "simulation"), default="all")
    parser.add_argument("--comparisons", type=int, default=200, help="A/A comparisons, and of each slowdown")
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5, help="the least number of rounds of a comparison")
    parser.add_argument("--budget", type=float, default=30.0, help="search.budget_seconds of a comparison")
    parser.add_argument("--simulations", type=int, default=2000, help="simulated comparisons in each cell")
    options = parser.parse_args()
    held = True
    if options.part != "simulation":
        held &= on_engine(options)
    if options.part != "engine":
        held &= simulated(options)
    print(f"\nVerdict: {'all goals reached or not told apart from reached' if held else 'a goal is MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
