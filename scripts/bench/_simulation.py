"""Part (c) of the calibration: latencies and shares that are drawn, so that the truth is known."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _score import SLOWDOWNS, Score, goal
from scipy import stats

from qexp.bench.accuracy import mean_interval
from qexp.bench.latency import speedup_mean, speedup_p50, speedup_p95
from qexp.bench.stopping import EXTRA_ROUNDS
from qexp.config import SearchConfig
from qexp.results import Interval

MOST_ROUNDS = 40  # of an adaptive comparison in the simulation, where no time passes


# Latency = query's own × drift of the round × mood of the block × tail of the sample.


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
    """Stop at an interval narrower than ± 5 %, `extra` rounds after the first such or later; at least 5 rounds."""
    target = SearchConfig().target_halfwidth
    narrow = [n for n in range(5, MOST_ROUNDS + 1) if speedup_mean(base[:n], trial[:n]).halfwidth <= target]
    rounds = next((n for n in narrow if n >= narrow[0] + extra), MOST_ROUNDS)
    found: Interval = statistic(base[:rounds], trial[:rounds])
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
