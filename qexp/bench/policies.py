"""Policies of oversampling: who decides, query by query, how many candidates to rescore."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qexp.bench.accuracy import Share
from qexp.results import OperatingPoint, Search

SearchAt = Callable[[OperatingPoint], Search]

FEW, MANY = 0.8, 1.5  # times the factor, by the course for queries of few and of many non-zero components
THRESHOLDS = tuple(np.arange(0.05, 1.0, 0.05))  # shares of the queries that get a second call, tried in calibration


class Policy(Protocol):
    """A way to search: it makes one search out of an engine's searches at operating points."""

    @property
    def title(self) -> str:
        """A short name."""

    @property
    def limit(self) -> int:
        """Results per query."""

    def search(self, at: SearchAt) -> Search:
        """Return the policy's search; its `call` contains the decision and every call that it makes."""


@dataclass(frozen=True)
class Fixed:
    """The same operating point for every query."""

    point: OperatingPoint

    @property
    def title(self) -> str:
        """The operating point's."""
        return f"fixed {self.point.title}"

    @property
    def limit(self) -> int:
        """Results per query."""
        return self.point.limit

    def search(self, at: SearchAt) -> Search:
        """Return the engine's own search."""
        return at(self.point)


@dataclass(frozen=True)
class NonZero:
    """The course's heuristic: 1.5 × the factor above 1000 non-zero components of the query, 0.8 × below 100."""

    point: OperatingPoint

    @property
    def title(self) -> str:
        """Names the factor for a query that is neither."""
        return f"by non-zero components around {self.point.oversampling:g}×"

    @property
    def limit(self) -> int:
        """Results per query."""
        return self.point.limit

    def factor(self, query: Sequence[float]) -> float:
        """Return the oversampling of a query, at least 1."""
        length = sum(1 for component in query if component != 0)
        return self._scaled(MANY if length > 1000 else FEW if length < 100 else 1.0)

    def search(self, at: SearchAt) -> Search:
        """Prepare every factor's request, and choose among them within the call."""
        base = self.point
        factors = sorted({self._scaled(scale) for scale in (FEW, 1.0, MANY)})
        searches = {factor: at(replace(base, oversampling=factor)) for factor in factors}

        def prepare(query: list[float]) -> Any:
            return query, {factor: search.prepare(query) for factor, search in searches.items()}

        def call(request: Any) -> Any:
            query, prepared = request
            factor = self.factor(query)
            return searches[factor].call(prepared[factor])

        return Search(prepare, call, at(base).ids)

    def _scaled(self, scale: float) -> float:
        return max(1.0, self.point.oversampling * scale)


@dataclass(frozen=True)
class Margin:
    """A cheap first call; a second one where the scores around rank k are closer than `gap`.

    `first` asks for one result more than `second`, to see the gap between the last result and the next.
    """

    first: OperatingPoint
    second: OperatingPoint
    gap: float

    @property
    def title(self) -> str:
        """Names both factors."""
        return f"by margin, {self.first.oversampling:g}× then {self.second.oversampling:g}×"

    @property
    def limit(self) -> int:
        """Results per query."""
        return self.second.limit

    def search(self, at: SearchAt) -> Search:
        """Call once, look at the gap, and call again where it is small."""
        cheap, dear, k, gap = at(self.first), at(self.second), self.limit, self.gap
        scores, ids = cheap.scores, cheap.ids
        assert scores is not None

        def prepare(query: list[float]) -> Any:
            return cheap.prepare(query), dear.prepare(query)

        def call(request: Any) -> Any:
            found = cheap.call(request[0])
            return dear.call(request[1]) if margin(scores(found), k) < gap else found

        return Search(prepare, call, lambda found: ids(found)[:k])


def one_more(point: OperatingPoint) -> OperatingPoint:
    """Return the point with one result more, which shows the gap behind the last."""
    return replace(point, limit=point.limit + 1)


def margin(scores: Sequence[float], k: int) -> float:
    """Return the gap between rank k and the next; infinite if there is no next. Larger scores or smaller: no matter."""
    return abs(scores[k - 1] - scores[k]) if len(scores) > k else float("inf")


@dataclass(frozen=True)
class Seen:
    """What calibration knows of an operating point: accuracy and margin of each query, median latency in ms."""

    point: OperatingPoint
    shares: Share
    margins: NDArray[np.float64]
    latency: float


def calibrate_fixed(seen: Sequence[Seen], target: float) -> Seen | None:
    """Return the smallest oversampling whose mean accuracy reaches the target; None if none does."""
    reached = (one for one in seen if one.shares.mean() >= target)
    return min(reached, key=lambda one: one.point.oversampling, default=None)


def calibrate_margin(seen: Sequence[Seen], fixed: Seen) -> tuple[Margin | None, Margin | None]:
    """Return the fastest margin policy that is as accurate as `fixed`, and the most accurate that is as fast.

    Expected latency is that of the first call and, for the share that is escalated, of the second on top.
    """
    options: list[tuple[float, float, Margin]] = []
    for first in seen:
        for second in seen:
            if second.point.oversampling <= first.point.oversampling:
                continue
            for share in THRESHOLDS:
                with np.errstate(invalid="ignore"):  # no number between margins that are infinite: none is below it
                    gap = float(np.quantile(first.margins, share))
                again = first.margins < gap
                accuracy = float(np.where(again, second.shares, first.shares).mean())
                latency = first.latency + float(again.mean()) * second.latency
                options.append((latency, accuracy, Margin(one_more(first.point), second.point, gap)))
    accurate = [one for one in options if one[1] >= fixed.shares.mean()]
    fast = [one for one in options if one[0] <= fixed.latency]
    fastest = min(accurate, key=lambda one: (one[0], -one[1]), default=None)
    best = max(fast, key=lambda one: (one[1], -one[0]), default=None)
    return (fastest[2] if fastest else None), (best[2] if best else None)
