"""Candidates for deployment out of a table's rows, and which of them nothing else beats."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import exp, hypot, inf, log, nextafter

from qexp.config.cost import OBJECTIVES
from qexp.report.pace import built, drifts_of, paced, searched, share_baseline
from qexp.report.settings import DATA, CollectionKey, method_name
from qexp.results import DEFAULT_EF, Interval, Row

METRIC = {"retention": "accuracy_retention", "recall": "recall"}
QUESTION = ("dataset", DATA, "embedding_size", "engine", "limit")  # rows that differ here answer different questions
HALVES = ("a", "b")
_SPEEDUP = {"latency_p95_ms": "speedup_p95", "latency_mean_ms": "speedup_mean"}
UNQUANTIZED = "none"
SAME_PACE = 0.005


@dataclass(frozen=True)
class Candidate:
    """A measured configuration: its row, accuracy, latency in ms, and US dollars per month.

    `latency` is P95 (the mean where a row has too few samples for it), brought to the same machine speed as the other
    jobs' through the baseline that they share: `pace`, one for a job, times what was measured. `accuracy_halves` and
    `p95_halves` have their intervals, as measured. `base` is the row of the baseline that it was measured beside,
    `gain` the speedup over it, round by round; `drift` is how far its latency may be off against jobs that share no
    baseline, as half a width on the logarithm.
    """

    row: Row
    base: Row
    accuracy: float
    latency: float
    cost: float
    accuracy_halves: tuple[Interval, Interval]
    p95_halves: tuple[Interval, Interval] | None
    gain: float
    pace: float
    drift: float

    @property
    def baseline(self) -> bool:
        """Whether this is the unquantized collection."""
        return self.row.baseline

    @property
    def levelled(self) -> bool:
        """Whether its job met the machine at another speed than all jobs together."""
        return abs(self.pace - 1) > SAME_PACE

    @property
    def collection(self) -> CollectionKey:
        """What was built."""
        return CollectionKey(method_name(self.row.params), self.row.params["storage"])

    @property
    def title(self) -> str:
        """A readable name, such as `turbo_4bit, rescoring 2×`."""
        return title(self.row.params)

    @property
    def point(self) -> str:
        """The operating point in the title; of a baseline only its hnsw_ef, where that is set."""
        return point(self.row.params)

    @property
    def simplicity(self) -> tuple[bool, bool, float, int]:
        """Sorts the simplest first: fewest moving parts, then least work per search."""
        found = self.row.point
        return not self.baseline, found.rescore, found.oversampling, found.hnsw_ef or 0

    @property
    def predicted_ram(self) -> float:
        """MiB of RAM that searching wants, as predicted."""
        return self.row.metrics["ram_estimated_mib"]

    @property
    def ram(self) -> float:
        """MiB of RAM that it needs: as predicted, unless it fell off under a memory cap of as much or more.

        Then it is the smallest cap under which it held; without one, more than the largest under which it fell off.
        """
        fallen = self.row.metrics.get("ram_fallen_mib")
        if fallen is None or fallen < self.predicted_ram:
            return self.predicted_ram
        return self.row.metrics.get("ram_floor_mib", nextafter(fallen, inf))

    @property
    def price(self) -> float:
        """The cost by which configurations are compared, to three digits: none is known better.

        On whole machines most cost the same but for the disk of their codes, which is no reason against any.
        """
        return float(f"{self.cost:.3g}")

    @property
    def floor(self) -> float:
        """Accuracy that either half of the queries vouches for."""
        return min(half.low for half in self.accuracy_halves)

    @property
    def p95_highs(self) -> tuple[float, float]:
        """The upper end of P95 in ms on either half of the queries; infinite where it is unknown.

        As measured or at the shared machine speed, whichever is more: a limit holds for both.
        """
        if self.p95_halves is None:
            return inf, inf
        first, second = (half.high * max(1.0, self.pace) for half in self.p95_halves)
        return first, second

    @property
    def ceiling(self) -> float:
        """P95 in ms that neither half of the queries exceeds."""
        return max(self.p95_highs)


def title(params: Mapping[str, str]) -> str:
    """Return the readable name of a row: its method and operating point."""
    return ", ".join(filter(None, (method_name(params), point(params))))


def point(params: Mapping[str, str]) -> str:
    """Return the operating point of a row; of a baseline only its hnsw_ef, where that is set."""
    parts = [] if params["hnsw_ef"] == DEFAULT_EF else [f"ef {params['hnsw_ef']}"]
    if params.get("role") != "baseline":
        rescores = params["rescore"] == "true"
        parts.insert(0, f"rescoring {float(params['oversampling']):g}×" if rescores else "no rescoring")
    return ", ".join(parts)


def questions(rows: Iterable[Row]) -> list[list[Row]]:
    """Split rows into those that may be compared with each other, in order of appearance."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[question(row)].append(row)
    return list(groups.values())


def question(row: Row) -> tuple[str, ...]:
    """Return what rows have in common that may be compared with each other."""
    return tuple(row.params.get(name, "") for name in QUESTION)


def candidates(rows: Sequence[Row], measure: str) -> list[Candidate]:
    """Return every row that can be judged by `measure` (retention or recall), each baseline collection once.

    Rows follow that of their baseline. A collection without quantization is not judged beside itself.
    """
    judged = [row for row in rows if _halves(row, METRIC[measure])]
    name = "latency_p95_ms" if all("latency_p95_ms" in row.metrics for row in judged) else "latency_mean_ms"
    drifts = drifts_of(rows, name)
    found: list[Candidate] = []
    base = None
    for row, pace in paced(rows):
        if row.baseline:
            base = row
        halves = _halves(row, METRIC[measure])
        if base is None or halves is None or is_baseline_again(row):
            continue
        accuracy = 1.0 if row is base and measure == "retention" else row.metrics[METRIC[measure]]
        cost = row.metrics["ram_cost_usd_month"] + row.metrics.get("disk_cost_usd_month", 0.0)
        p95, drift = _halves(row, "latency_p95_ms"), drifts[built(base)]
        gain = 1.0 if row is base else row.metrics.get(_SPEEDUP[name], base.metrics[name] / row.metrics[name])
        candidate = Candidate(row, base, accuracy, row.metrics[name] * pace, cost, halves, p95, gain, pace, drift)
        known = candidate.baseline and any(
            other.collection == candidate.collection and other.title == candidate.title for other in found
        )
        if not known:
            found.append(candidate)
    return found


def is_baseline_again(row: Row) -> bool:
    """Whether this is a trial of a collection without quantization."""
    return row.params["quantization"] == UNQUANTIZED and row.metrics.get("compression_ratio", 1.0) == 1.0


def _halves(row: Row, name: str) -> tuple[Interval, Interval] | None:
    first, second = (Interval.of(row.metrics, f"{name}_{half}") for half in HALVES)
    return (first, second) if first and second else None


def times_faster(one: Candidate, other: Candidate) -> Interval:
    """Return how many times faster `one` is, from their speedups over the baseline that they share, and the intervals.

    Speedups are paired by rounds, so that a burst of the machine in one round does not pass for a difference; only
    where no baseline is shared, latencies are compared. The widths add as those of independent estimates do, on the
    logarithm: too wide, if anything, as both are paired with the same baseline. Against the baseline that it was
    measured beside, a trial's own interval says it all. Where their jobs share no baseline, the drift of the machine
    between them is added.
    """
    alike = searched(one.base) == searched(other.base)
    estimate = one.gain / other.gain if alike else other.latency / one.latency
    alone = [mine for mine, its in ((one, other), (other, one)) if mine.base is its.row]
    drift = 0.0 if share_baseline(one.base, other.base) else hypot(one.drift, other.drift)
    spread = exp(hypot(*map(_log_half_width, alone or (one, other)), drift))
    return Interval(estimate, estimate / spread, estimate * spread)


def _log_half_width(one: Candidate) -> float:
    """Return half the width of a speedup's interval on the logarithm; of a baseline, of its P95 between rounds."""
    if one.baseline and one.p95_halves:
        return max(log(half.high / half.low) for half in one.p95_halves) / 2
    metrics = one.row.metrics
    ratio = Interval.of(metrics, "speedup_p95") or Interval.of(metrics, "speedup_mean")
    assert ratio
    return log(ratio.high / ratio.low) / 2


def slower(one: Candidate, other: Candidate) -> bool:
    """Whether `one` is measurably slower than `other`."""
    return times_faster(one, other).high < 1


def fastest(found: Sequence[Candidate]) -> Candidate:
    """Return the one of least latency among those than which none is measurably faster.

    Latencies of two jobs are brought to one speed by their medians; where the tails of one job were longer, speedups
    may tell another order, and they are what every difference is told by.
    """
    ahead = [one for one in found if not any(slower(one, other) for other in found)]
    return min(ahead or found, key=lambda one: one.latency)


def dominates(one: Candidate, other: Candidate, objectives: Sequence[str] = OBJECTIVES) -> bool:
    """Whether `one` is nowhere worse than `other`, as estimated and as vouched for, and measurably better.

    Measurably: cheaper, or faster or more accurate by intervals that do not meet. What dominates a candidate that
    keeps to limits on the objectives keeps to them too; one on RAM it may miss, and one on cost that lies between two
    of one price.
    """
    return all(_NOWHERE_WORSE[name](one, other) for name in objectives) and bool(ahead(one, other, objectives))


def ahead(one: Candidate, other: Candidate, objectives: Sequence[str] = OBJECTIVES) -> list[str]:
    """Return those objectives by which `one` is measurably better than `other`."""
    return [name for name in objectives if _BETTER[name](one, other)]


_Compare = Callable[[Candidate, Candidate], bool]
_NOWHERE_WORSE: dict[str, _Compare] = {
    "accuracy": lambda one, other: (
        one.accuracy >= other.accuracy
        and all(mine.low >= its.low for mine, its in zip(one.accuracy_halves, other.accuracy_halves, strict=True))
    ),
    "p95": lambda one, other: (
        one.latency <= other.latency
        and all(mine <= its for mine, its in zip(one.p95_highs, other.p95_highs, strict=True))
    ),
    "cost": lambda one, other: one.price <= other.price,
}
_BETTER: dict[str, _Compare] = {
    "accuracy": lambda one, other: one.floor > max(half.high for half in other.accuracy_halves),
    "p95": lambda one, other: slower(other, one),
    "cost": lambda one, other: one.price < other.price,
}


def frontier(found: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> list[Candidate]:
    """Return the candidates that no other dominates."""
    return [one for one in found if not any(dominates(other, one, objectives) for other in found)]


def dominators(found: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> list[tuple[Candidate, Candidate]]:
    """Return each dominated candidate with the most accurate one that dominates it, if possible on the frontier.

    What dominates its dominator need not dominate it: of two intervals that do not meet, each may meet a third.
    """
    best = frontier(found, objectives)
    beaten = [one for one in found if not any(one is other for other in best)]
    ranked = [sorted(some, key=lambda one: (-one.accuracy, one.latency)) for some in (best, beaten)]
    return [(one, next(other for other in chain(*ranked) if dominates(other, one, objectives))) for one in beaten]
