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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import stats

from qexp import machine
from qexp.bench.accuracy import mean_interval
from qexp.bench.blocks import measure, timed_block
from qexp.bench.latency import speedup_mean, speedup_p50, speedup_p95
from qexp.bench.stopping import EXTRA_ROUNDS, Stopping
from qexp.config import ExperimentConfig, SearchConfig, SyntheticDataset
from qexp.data.vectors import load_data
from qexp.engine.base import build_collection, collection_spec
from qexp.engine.edge import EdgeEngine
from qexp.results import Block, Interval, OperatingPoint

STATISTICS = {"mean": speedup_mean, "median": speedup_p50, "P95": speedup_p95}
SLOWDOWNS = (1.0, 1.02, 1.05, 1.2)
MOST_ROUNDS = 40  # of an adaptive comparison in the simulation, where no time passes


@dataclass
class Score:
    """How often intervals held the truth, and how often they excluded 1."""

    comparisons: int = 0
    covered: int = 0
    different: int = 0
    halfwidth: float = 0.0

    def add(self, found: Interval, truth: float) -> None:
        """Score one comparison."""
        self.comparisons += 1
        self.covered += found.low <= truth <= found.high
        self.different += found.distinguishable
        self.halfwidth += found.halfwidth

    def cells(self) -> str:
        """Return coverage, share called different, mean half-width."""
        n = self.comparisons
        return f"{self.covered / n:.1%} | {self.different / n:.1%} | ± {self.halfwidth / n:.1%}"


def goal(name: str, hits: int, of: int, low: float, high: float) -> bool:
    """Print whether a share is within its goal, with its own 95 % interval (Wilson); False if it is surely not."""
    spread = stats.binomtest(hits, of).proportion_ci(method="wilson")
    inside = low <= hits / of <= high
    surely_not = spread.high < low or spread.low > high
    verdict = "reached" if inside else "MISSED" if surely_not else f"not told apart from it by {of} comparisons"
    print(f"- {name}: {hits / of:.1%} ({spread.low:.1%}–{spread.high:.1%}), goal {low:.0%}–{high:.0%}: {verdict}")
    return not surely_not


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
        yield engine, np.asarray(data.query_vectors()).tolist()
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
            return slowed(timed_block(search, queries, point.limit, 20, with_ids), factor)

        visits: list[Callable[[bool], Block]] = [partial(visit, factor) for factor in factors]
        for number in range(options.comparisons):
            stopping = Stopping([(0, index) for index in range(1, len(visits))], search_config)
            measured = measure(visits, options.rounds, number, enough=stopping, untimed=[0])
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


# Part (c): a simulation. Latency = query's own × drift of the round × mood of the block × tail of the sample.


@dataclass(frozen=True)
class World:
    """A machine: relative deviations of drift and of blocks, the share of disturbed blocks, the weight of the tail."""

    title: str
    drift: float = 0.0
    block: float = 0.04
    burst: float = 0.0
    tail: float = 0.0

    def blocks(
        self, rng: np.random.Generator, rounds: int, queries: int, truth: float, interleaved: bool = True
    ) -> tuple[Any, Any]:
        """Return latencies [round, query] of a baseline and of a trial that is `truth` times slower.

        Interleaved, each round visits both in random order; else all of the baseline comes first.
        """
        own = np.exp(0.3 * rng.standard_normal(queries))
        mood = np.exp(np.cumsum(self.drift * rng.standard_normal(2 * rounds)))
        first = rng.integers(2, size=rounds)
        pairs, one_by_one = mood.reshape(rounds, 2), mood.reshape(2, rounds)
        both = []
        for turn, factor in enumerate((1.0, truth)):
            order = pairs[np.arange(rounds), first if turn == 0 else 1 - first] if interleaved else one_by_one[turn]
            block = np.exp(self.block * rng.standard_normal(rounds))
            block *= np.where(rng.random(rounds) < self.burst, rng.uniform(1.2, 2.0, rounds), 1.0)
            sample = np.exp(0.1 * rng.standard_normal((rounds, queries)))
            sample *= 1 + self.tail * rng.pareto(2.5, (rounds, queries))
            both.append(factor * own * order[:, None] * block[:, None] * sample)
        return both[0], both[1]


WORLDS = (
    World("quiet", block=0.01),
    World("shared cores (block noise 4 %)"),
    World("drift", drift=0.05),
    World("bursts in 5 % of blocks", burst=0.05),
    World("heavy tails", tail=0.2),
    World("all of it", drift=0.05, burst=0.05, tail=0.2),
)


def bootstrap_queries(base: Any, trial: Any, rng: np.random.Generator) -> Interval:
    """Resample queries, all rounds of a query together: the usual way, which takes rounds for granted."""
    weights = rng.multinomial(base.shape[1], np.full(base.shape[1], 1 / base.shape[1]), size=300)
    return _percentiles(base.mean() / trial.mean(), (weights @ base.mean(axis=0)) / (weights @ trial.mean(axis=0)))


def bootstrap_rounds(base: Any, trial: Any, rng: np.random.Generator) -> Interval:
    """Resample rounds."""
    drawn = rng.integers(len(base), size=(300, len(base)))
    ratios = base.mean(axis=1)[drawn].mean(axis=1) / trial.mean(axis=1)[drawn].mean(axis=1)
    return _percentiles(base.mean() / trial.mean(), ratios)


def _percentiles(estimate: float, drawn: Any) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(estimate), float(low), float(high))


def unpaired(base: Any, trial: Any, rng: np.random.Generator) -> Interval:
    """Welch's t interval on the log means of blocks, as if rounds were not pairs."""
    logs = [np.log(base.mean(axis=1)), np.log(trial.mean(axis=1))]
    found = stats.ttest_ind(*logs, equal_var=False)
    interval = found.confidence_interval(0.95)
    return Interval(
        float(np.exp(logs[0].mean() - logs[1].mean())), float(np.exp(interval.low)), float(np.exp(interval.high))
    )


def adaptive(extra: int, base: Any, trial: Any, statistic: Any) -> Interval:
    """Stop at the first interval narrower than ± 5 %, and `extra` rounds later; at least 5 rounds."""
    search = SearchConfig(rounds=5, budget_seconds=1)
    reached = next(
        (
            n
            for n in range(5, MOST_ROUNDS + 1)
            if speedup_mean(base[:n], trial[:n]).halfwidth <= search.target_halfwidth
        ),
        MOST_ROUNDS,
    )
    found: Interval = statistic(*(x[: min(MOST_ROUNDS, reached + extra)] for x in (base, trial)))
    return found


def simulated(options: argparse.Namespace) -> bool:
    """Score ways to make an interval where the truth is known."""
    ways: dict[str, Callable[[Any, Any, np.random.Generator], Interval | None]] = {
        "bootstrap over queries, 5 rounds": lambda b, t, rng: bootstrap_queries(b[:5], t[:5], rng),
        "bootstrap over rounds, 5 rounds": lambda b, t, rng: bootstrap_rounds(b[:5], t[:5], rng),
        "unpaired t, 5 rounds": lambda b, t, rng: unpaired(b[:5], t[:5], rng),
        "**t on log ratios, 5 rounds**": lambda b, t, _: speedup_mean(b[:5], t[:5]),
        "**t on log ratios, 5 rounds: median**": lambda b, t, _: speedup_p50(b[:5], t[:5]),
        "**t on log ratios, 5 rounds: P95**": lambda b, t, _: speedup_p95(b[:5], t[:5]),
        "adaptive, stopped at ± 5 %": lambda b, t, _: adaptive(0, b, t, speedup_mean),
        f"**adaptive, {EXTRA_ROUNDS} rounds more**": lambda b, t, _: adaptive(EXTRA_ROUNDS, b, t, speedup_mean),
        f"**adaptive, {EXTRA_ROUNDS} rounds more: P95**": lambda b, t, _: adaptive(EXTRA_ROUNDS, b, t, speedup_p95),
    }
    rng = np.random.default_rng(0)
    print(f"\n{options.simulations} simulated comparisons in each cell; the share of intervals that hold the truth\n")
    print(f"| way | {' | '.join(world.title for world in WORLDS)} |")
    print("| --- |" + " --- |" * len(WORLDS))
    apart = "t on log ratios, all of A before all of B"
    scores = {way: {world.title: Score() for world in WORLDS} for way in (apart, *ways)}
    power = {factor: Score() for factor in SLOWDOWNS}
    for world in WORLDS:
        for number in range(options.simulations):
            factor = SLOWDOWNS[number % len(SLOWDOWNS)]
            scores[apart][world.title].add(speedup_mean(*world.blocks(rng, 5, 200, factor, False)), 1 / factor)
            base, trial = world.blocks(rng, MOST_ROUNDS, 200, factor)
            for way, interval in ways.items():
                found = interval(base, trial, rng)
                assert found is not None
                scores[way][world.title].add(found, 1 / factor)
                if way == f"**adaptive, {EXTRA_ROUNDS} rounds more**" and world.title.startswith("shared"):
                    power[factor].add(found, 1 / factor)
    for way, row in scores.items():
        print(f"| {way} | {' | '.join(f'{score.covered / score.comparisons:.1%}' for score in row.values())} |")
    print(
        "\nCalled different, adaptive, shared cores:",
        ", ".join(f"{factor:g}×: {score.different / score.comparisons:.0%}" for factor, score in power.items()),
        "\n",
    )
    held = True
    for way in (way for way in ways if way.startswith("**")):
        covered = sum(score.covered for score in scores[way].values())
        of = options.simulations * len(WORLDS)
        held &= goal(f"simulation, {way.strip('*')}: truth in the interval", covered, of, 0.93, 0.97)
    return accuracy_simulated(options, rng) and held


def accuracy_simulated(options: argparse.Namespace, rng: np.random.Generator) -> bool:
    """Score the interval of a mean share, with and without the two added queries."""

    def plain(shares: Any) -> tuple[float, float]:
        drawn = shares[rng.integers(len(shares), size=(1000, len(shares)))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        return low, high

    print("\n| mean share, queries | plain bootstrap | qexp |")
    print("| --- | --- | --- |")
    covered, of = 0, 0
    for truth in (0.8, 0.95, 0.99, 0.999):
        for queries in (100, 500):
            hits = np.zeros(2, dtype=int)
            for _ in range(options.simulations):
                spread = rng.beta(5 * truth, 5 * (1 - truth), queries) if truth < 0.999 else truth
                shares = rng.binomial(10, spread, queries) / 10
                low, high = plain(shares)
                ours = mean_interval(shares[None, :], seed=int(rng.integers(2**31)))
                hits += [low <= truth <= high, ours.low <= truth <= ours.high]
            print(
                f"| {truth:g}, {queries} | {hits[0] / options.simulations:.1%} | {hits[1] / options.simulations:.1%} |"
            )
            covered, of = covered + int(hits[1]), of + options.simulations
    print()
    return goal("simulation, accuracy: truth in the interval", covered, of, 0.93, 0.99)


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
