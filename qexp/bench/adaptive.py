"""Adaptive oversampling against fixed: calibrated on one half of the queries, judged on the other."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qexp.bench.accuracy import Share
from qexp.bench.blocks import measure
from qexp.bench.halves import split
from qexp.bench.latency import speedup_mean
from qexp.bench.policies import Fixed, Margin, NonZero, Policy, Seen, calibrate_fixed, calibrate_margin, one_more
from qexp.bench.student import t_halfwidth
from qexp.config import AdaptiveConfig, SearchConfig
from qexp.results import Block, Finding, Ids, Interval, OperatingPoint

EQUAL_ACCURACY, EQUAL_LATENCY, COURSE = "adaptive at equal accuracy", "adaptive at equal latency", "course heuristic"
KEPT = 0.95  # a speedup whose low end is above this has kept the latency
LOST = 0.01  # a gain whose low end is above minus this has kept the accuracy


class Searcher(Protocol):
    """Where policies are run: a collection in a worker."""

    def policy(self, policy: Policy, warmup: int, with_ids: bool) -> Block:
        """Visit a policy: untimed warm-up queries, then every query timed."""

    def found(self, point: OperatingPoint) -> Ids:
        """Return the results of every query, untimed."""

    def margins(self, point: OperatingPoint, k: int) -> NDArray[np.float64]:
        """Return for every query the gap between rank k and the next."""


@dataclass(frozen=True)
class PolicyResult:
    """A policy against fixed oversampling, on queries that did not calibrate it.

    `speedup` is how many times faster it is, second calls included; `gain` the difference in accuracy; `again`
    the share of queries that got a second call, and what the first call alone has on those and on the others.
    """

    name: str
    title: str
    against: str
    measure: str
    speedup: Interval
    gain: Interval
    again: tuple[float, float, float] | None = None

    @property
    def verdict(self) -> str:
        """Whether it beat fixed oversampling in what its name says is compared; a claim needs the other to be kept."""
        faster, slower = self.speedup.low > 1, self.speedup.high < 1
        better, worse = self.gain.low > 0, self.gain.high < 0
        if (faster and worse) or (slower and better):
            return "trades accuracy for latency" if faster else "trades latency for accuracy"
        if slower or worse:
            return "loses"
        if self.name == EQUAL_LATENCY:
            if not better:
                return "no measurable difference in accuracy"
            return "beats it" if self.speedup.low >= KEPT else "more accurate, but its latency is not known well enough"
        if not faster:
            return "no measurable difference in latency"
        return "beats it" if self.gain.low >= -LOST else "faster, but its accuracy is not known well enough"

    @property
    def finding(self) -> Finding:
        """The comparison as it is recorded."""
        text = (
            f"{self.name}: {self.title} against {self.against}: {self.verdict}; {self.speedup.estimate:.2f}× as fast "
            f"({self.speedup.ends}), {self.measure} {self.gain.estimate:+z.4f} ({self.gain.low:+z.4f} to "
            f"{self.gain.high:+z.4f})"
        )
        if self.again is not None:
            share, hard, easy = self.again
            text += (
                f"; second calls for {share:.0%} of the queries: there the first call alone has {hard:.3f}, "
                f"on the others {easy:.3f}"
            )
        key = self.name.replace(" ", "_")
        return Finding(text, self.speedup.metrics(f"{key}_speedup") | self.gain.metrics(f"{key}_gain"))


def compare(
    searcher: Searcher, search: SearchConfig, asked: AdaptiveConfig, queries: int, shares: Callable[[Ids], Share]
) -> list[Finding]:
    """Calibrate fixed oversampling and the policies on one half, judge them in timed rounds on the other.

    `shares` turns results [query, k] into the accuracy of every query.
    """
    first, second = split(queries)
    points = [OperatingPoint(search.limit, search.hnsw_ef[0], True, factor) for factor in sorted(asked.factors)]
    seen = [_see(searcher, search, point, shares, first) for point in points]
    fixed = calibrate_fixed(seen, asked.target)
    if fixed is None:
        best = max(seen, key=lambda one: float(one.shares.mean()))
        reached = f"{best.shares.mean():.3f} at {best.point.oversampling:g}×"
        return [Finding(f"adaptive: no factor reaches {asked.measure} {asked.target:g}; best {reached}", {})]
    fastest, accurate = calibrate_margin(seen, fixed)
    named = {EQUAL_ACCURACY: fastest, EQUAL_LATENCY: accurate}
    policies: dict[str, Policy] = {COURSE: NonZero(fixed.point)}
    policies |= {name: policy for name, policy in named.items() if policy is not None}
    everyone: list[Policy] = [Fixed(fixed.point), *policies.values()]
    measured = measure([partial(searcher.policy, one, search.warmup) for one in everyone], search.rounds, search.seed)
    findings = []
    for (name, policy), found in zip(policies.items(), measured[1:], strict=True):
        speedup = speedup_mean(measured[0].latencies[:, second], found.latencies[:, second])
        gain = difference((shares(found.ids) - shares(measured[0].ids))[second])
        result = PolicyResult(name, policy.title, everyone[0].title, asked.measure, speedup, gain)
        if isinstance(policy, Margin):
            result = _explained(result, policy, searcher, shares, second)
        findings.append(result.finding)
    absent = [name for name, policy in named.items() if policy is None]
    return findings + [Finding(f"{name}: no margin policy reached it where it was calibrated", {}) for name in absent]


def _see(
    searcher: Searcher, search: SearchConfig, point: OperatingPoint, shares: Callable[[Ids], Share], rows: Ids
) -> Seen:
    """Visit a point once for the results, which warms it up, and once for the times."""
    ids = searcher.policy(Fixed(point), search.warmup, True).ids
    assert ids is not None
    latencies = searcher.policy(Fixed(point), search.warmup, False).latencies
    margins = searcher.margins(one_more(point), point.limit)
    return Seen(point, shares(ids)[rows], margins[rows], float(np.median(latencies[rows])) / 1e6)


def _explained(
    result: PolicyResult, policy: Margin, searcher: Searcher, shares: Callable[[Ids], Share], rows: Ids
) -> PolicyResult:
    """Add for which queries it called again, and how the first call alone does on them and on the others."""
    again = (searcher.margins(policy.first, policy.limit) < policy.gap)[rows]
    alone = shares(searcher.found(policy.first)[:, : policy.limit])[rows]
    if again.all() or not again.any():
        return result
    return replace(result, again=(float(again.mean()), float(alone[again].mean()), float(alone[~again].mean())))


def difference(paired: NDArray[np.float64]) -> Interval:
    """Return the mean of paired differences of shares, which lie between -1 and 1, with its t interval.

    Two queries are added to its width, one that differs by -1 and one by 1: most differ by nothing, and a few that
    were not drawn would else be certain not to be there.
    """
    mean = float(paired.mean())
    half = t_halfwidth(np.append(paired, [-1.0, 1.0]))
    return Interval(mean, mean - half, mean + half)
