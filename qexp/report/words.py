"""Phrases made from figures by rules, so that no sentence claims more than its figures carry."""

from collections.abc import Iterable
from math import isinf

from qexp.config import SloConfig
from qexp.config.cost import OBJECTIVES
from qexp.report.digits import missing, money, percent
from qexp.report.frontier import Candidate
from qexp.report.recommend import Recommendation
from qexp.results import Interval, Row

MEASURE = {"retention": "accuracy retention", "recall": "recall"}
SAME = "no measurable difference"
SAME_ACCURACY = 0.005  # a difference of recall or retention that matters to nobody


def notes(warnings: Iterable[str]) -> list[str]:
    """Return a line for each sentence that a run warns of."""
    return [f"Note: {warning}." for warning in warnings]


def speed(ratio: Interval, latency: str = "mean latency") -> str:
    """Return `1.42× faster in mean latency (1.35–1.50)`, `1.10× slower …`, or that no difference is measurable."""
    if isinf(ratio.high):
        return f"{SAME} in {latency} (these jobs share no baseline, so drift of the machine cannot be ruled out)"
    if not ratio.distinguishable:
        return f"{SAME} in {latency} ({ratio.ends}×)"
    if ratio.estimate > 1:
        return f"{ratio.estimate:.2f}× faster in {latency} ({ratio.ends})"
    return f"{1 / ratio.estimate:.2f}× slower in {latency} ({Interval(1, 1 / ratio.high, 1 / ratio.low).ends})"


def is_speed(ratio: Interval, latency: str) -> str:
    """Return the same as a predicate: `is 1.42× faster …`, `shows no measurable difference …`."""
    return f"{'is' if ratio.distinguishable else 'shows'} {speed(ratio, latency)}"


def speedup(row: Row) -> Interval:
    """Return a trial's speedup over its baseline, by mean latency; of a baseline it is the A/A control."""
    found = Interval.of(row.metrics, "speedup_mean")
    assert found is not None
    return found


def against_baseline(one: Candidate) -> str:
    """Return how fast a candidate is against no quantization, by mean latency."""
    return "the baseline itself" if one.baseline else f"{speed(speedup(one.row))} against no quantization"


def on_storage(one: Candidate) -> str:
    """Return a candidate's title with its storage."""
    return f"{one.title} (storage {one.collection.storage})"


def priced(one: Candidate) -> str:
    """Return RAM and the bill; which is of how many points, where others are priced than were measured."""
    ram, bill = f"{one.predicted_ram:.1f} MiB of RAM", f"{money(one.cost)} a month"
    if capped := under_caps(one):
        ram = f"{ram} predicted, but {capped}"
    target = one.row.metrics.get("cost_target_points")
    return f"{ram} for the points measured, {bill} for {target:,.0f} points" if target else f"{ram}, {bill}"


def under_caps(one: Candidate) -> str:
    """Return what memory caps showed where that is more than was predicted; empty where it is not."""
    if one.ram <= one.predicted_ram:
        return ""
    held = f", held with {one.ram:.1f}" if "ram_floor_mib" in one.row.metrics else ""
    return f"it fell off with a memory cap of {one.row.metrics['ram_fallen_mib']:.1f} MiB{held}"


def more_cost(one: Candidate, other: Candidate) -> str:
    """Return what `one` costs against `other`."""
    if one.price == other.price:
        return "costs the same"
    if other.cost == 0:
        return f"costs {money(one.cost)} instead of nothing"
    if one.cost >= 2 * other.cost:
        return f"costs {one.cost / other.cost:.1f}× as much"
    share = one.cost / other.cost - 1
    return f"costs {percent(abs(share))} {'more' if share > 0 else 'less'}"


def matched(decided: Recommendation) -> str:
    """Return what every method needs for the same accuracy, cheapest first."""
    slo = decided.slo
    reached = sorted((one.reached.cost, one.collection, one.reached) for one in decided.matched if one.reached)
    needs = [f"{decided.name(collection)} needs {one.point}" for _, collection, one in reached]
    misses = [
        f"{decided.name(one.collection)} does not reach it ({at_best(one.best, slo)} with {one.best.point})"
        for one in decided.matched
        if not one.reached
    ]
    asked = f"To be sure of {MEASURE[slo.accuracy]} ≥ {slo.min_accuracy:g} on both halves of the queries"
    return f"{asked}: {'; '.join([*needs, *misses])}."


def at_best(one: Candidate, slo: SloConfig) -> str:
    """Return the accuracy of what does not reach the limit; where it seems to, also why it does not."""
    if one.accuracy < slo.min_accuracy:
        return missing(one.accuracy, slo.min_accuracy)
    return f"{one.accuracy:.3f}, vouched for {missing(one.floor, slo.min_accuracy)}"


def vouched(one: Candidate, slo: SloConfig) -> str:
    """Return the accuracy, and what the half that chose and the half that confirms say about it."""
    if one.baseline and slo.accuracy == "retention":
        return "1 by definition"
    first, second = one.accuracy_halves
    return f"{one.accuracy:.3f} ({first.estimate:.3f} on the queries that chose, {second.share} on the other half)"


def judged_in(slo: SloConfig) -> str:
    """Return in what configurations were compared, where that is not all there is."""
    names = [name.replace("p95", "P95") for name in OBJECTIVES if name in slo.objectives]
    return "" if len(names) == len(OBJECTIVES) else f" (compared in {' and '.join(names)} alone)"


def undominated(slo: SloConfig) -> str:
    """Return what else than the limits decided, where not all objectives did."""
    told = judged_in(slo)
    return told and f" and is not dominated{told}"
