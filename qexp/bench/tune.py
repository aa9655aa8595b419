"""The smallest oversampling, or hnsw_ef, that reaches an accuracy: found on one half of the queries by bisection."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from qexp.bench.accuracy import Share, mean_interval
from qexp.bench.halves import split
from qexp.config import SearchConfig, TuneConfig
from qexp.results import Finding, Interval, OperatingPoint

MOST = {"oversampling": 32.0, "hnsw_ef": 1024.0}  # where search.tune.most does not say
FURTHER = (1.25, 1.6)  # also measured, in case the other half of the queries asks for a little more


@dataclass(frozen=True)
class Tuned:
    """The smallest `value` of a parameter that reaches `target` on one half of the queries, else the best tried.

    `most` is the largest value that was to be tried, `ef` the hnsw_ef of an oversampling, None the engine's default.
    `found` is the accuracy there on the half that looked for it, `confirmed` on the other; `searches` counts the values
    that were tried.
    """

    parameter: str
    measure: str
    target: float
    reached: bool
    value: float
    most: float
    ef: int | None
    found: Interval
    confirmed: Interval
    searches: int

    @property
    def finding(self) -> Finding:
        """What was found, as it is recorded; the value is absent where nothing reaches the target."""
        metrics = {f"tuned_{self.measure}_b": self.confirmed.estimate, "tuned_searches": float(self.searches)}
        if self.reached:
            metrics[f"tuned_{self.parameter}"] = self.value
        return Finding(self._sentence(), metrics)

    def _sentence(self) -> str:
        unit = "×" if self.parameter == "oversampling" else ""
        value = f"{self.value:g}{unit}" + (f" (hnsw_ef {self.ef})" if self.ef else "")
        both = (
            f"{self.measure} {self.found.share} on the queries that looked for it, {self.confirmed.share} on the others"
        )
        if not self.reached:
            best = f"best at {value} of up to {self.most:g}{unit}, {both}"
            if self.found.estimate >= self.target == 1:
                return f"no number of queries vouches for {self.measure} 1: {best}"
            if self.found.estimate >= self.target:
                return f"so few queries cannot vouch for {self.measure} {self.target:g}: {best}; give more of them"
            return f"{self.measure} {self.target:g} is not reachable by {self.parameter}: {best}"
        held = "confirmed" if self.confirmed.low >= self.target else "not confirmed by the low end of the interval"
        return f"{self.parameter} {value} is the smallest that reaches {self.target:g}: {both}; {held}"


def smallest(reaches: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest whole number from `least` to `most` that reaches, None if `most` does not.

    Assumes that what is larger than one that reaches, reaches. Doubles until it reaches, then bisects.
    """
    below = number = least
    while not reaches(number):
        if number == most:
            return None
        below, number = number, min(2 * number, most)
    while number - below > 1:
        middle = (below + number) // 2
        if reaches(middle):
            number = middle
        else:
            below = middle
    return number


def tune(search: SearchConfig, asked: TuneConfig, shares: Callable[[OperatingPoint], Share]) -> Tuned:
    """Find the smallest value whose accuracy reaches the target with the low end of its interval.

    `shares` searches at an operating point and returns the accuracy of every query. Candidates are whole numbers:
    hnsw_ef itself, or the results that oversampling fetches.
    """
    first, second = split(len(shares(_point(search, asked, search.limit))))
    tried: dict[int, tuple[Interval, Interval]] = {}

    def reaches(number: int) -> bool:
        found = shares(_point(search, asked, number))
        tried[number] = (mean_interval(found[None, first]), mean_interval(found[None, second]))
        return tried[number][0].low >= asked.target

    most = asked.most or MOST[asked.parameter]
    last = int(round(most * search.limit, 6)) if asked.parameter == "oversampling" else max(int(most), search.limit)
    number = smallest(reaches, search.limit, last)
    best = number if number is not None else max(tried, key=lambda one: tried[one][0].estimate)
    return Tuned(
        parameter=asked.parameter,
        measure=asked.measure,
        target=asked.target,
        reached=number is not None,
        value=_value(asked, search.limit, best),
        most=_value(asked, search.limit, last),
        ef=search.hnsw_ef[0] if asked.parameter == "oversampling" else None,
        found=tried[best][0],
        confirmed=tried[best][1],
        searches=len(tried),
    )


def narrowed(search: SearchConfig, tuned: Tuned) -> SearchConfig:
    """Return the grid to measure: what was found, and a little more of it."""
    if tuned.parameter == "hnsw_ef":
        values = {int(tuned.value)}
        if tuned.reached:
            values |= {ceil(tuned.value * factor) for factor in FURTHER}
        return replace(search, hnsw_ef=[*sorted(values)])
    numbers = [int(tuned.value * search.limit)]
    if tuned.reached:
        numbers += [ceil(numbers[0] * factor) for factor in FURTHER]
    return replace(search, oversampling=sorted({oversampling_of(number, search.limit) for number in numbers}))


def oversampling_of(number: int, limit: int) -> float:
    """Return a factor of few digits with which an engine fetches `number` results.

    Qdrant multiplies it by the limit in double precision and cuts the product off to a whole number, so every factor
    from number / limit to below (number + 1) / limit will do.
    """
    scale = 1
    while True:
        least = -(-number * scale // limit)
        for digits in (least, least + 1):  # the next where the product, rounded, is just short of `number`
            if digits * limit // scale == number == int(limit * (digits / scale)):
                return digits / scale
        scale *= 10


def _value(asked: TuneConfig, limit: int, number: int) -> float:
    return oversampling_of(number, limit) if asked.parameter == "oversampling" else float(number)


def _point(search: SearchConfig, asked: TuneConfig, number: int) -> OperatingPoint:
    if asked.parameter == "hnsw_ef":
        rescore = True in search.rescore
        return OperatingPoint(search.limit, number, rescore, max(search.oversampling) if rescore else 1.0)
    return OperatingPoint(search.limit, search.hnsw_ef[0], True, oversampling_of(number, search.limit))
