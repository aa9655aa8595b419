"""When there are rounds enough: speedups known as closely as asked for, or the time spent."""

from collections.abc import Callable, Sequence
from time import monotonic

from qexp.bench.latency import speedup_mean
from qexp.config import SearchConfig
from qexp.results import Nanoseconds, Stop

# To stop on a narrow interval favours rounds that happen to agree, and such an interval covers too seldom: in
# simulation down to 92.6 % instead of 95 %. Three rounds more give back most of what that takes
# (`docs/methodology.md`); where they do not agree, more follow until the interval is narrow again.
EXTRA_ROUNDS = 3


class Stopping:
    """Asked after every round, for pairs (baseline, trial) of visits; `stop` says how it ended.

    It starts counting seconds when it is made.
    """

    def __init__(
        self, pairs: Sequence[tuple[int, int]], search: SearchConfig, clock: Callable[[], float] = monotonic
    ) -> None:
        self._pairs = pairs
        self._search = search
        self._clock = clock
        self._started = clock()
        self._reached_at: int | None = None
        self.stop: Stop | None = None

    def __call__(self, latencies: Sequence[Nanoseconds]) -> bool:
        """Whether to stop; latencies [round, query] of every visit so far."""
        widths = [speedup_mean(latencies[base], latencies[trial]).halfwidth for base, trial in self._pairs]
        rounds, seconds = len(latencies[0]), self._clock() - self._started
        self.stop = Stop(rounds, max(widths), self._search.target_halfwidth, seconds, self._search.budget_seconds)
        if self.stop.reached and self._reached_at is None:
            self._reached_at = rounds
        confirmed = self._reached_at is not None and rounds >= self._reached_at + EXTRA_ROUNDS
        return (confirmed and self.stop.reached) or seconds >= self._search.budget_seconds
