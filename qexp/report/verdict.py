"""The recommendation as it is told: the decision, its margin, what would change it, and what else must be said."""

from collections.abc import Iterator
from math import isinf

from qexp.config import SloConfig
from qexp.report.digits import missing, money
from qexp.report.frontier import Candidate, ahead, dominates, frontier, slower, times_faster
from qexp.report.recommend import Change, Recommendation, shortfalls
from qexp.report.words import (
    MEASURE,
    SAME_ACCURACY,
    against_baseline,
    is_speed,
    judged_in,
    more_cost,
    on_storage,
    priced,
    vouched,
)

FAR_MORE = 1.5  # times the RAM that is counted
WORKING_MIB = 8.0  # that searches themselves take, and a process more or less
QUERIES = (  # for more
    "search.queries, dataset.queries.path, or dataset.queries.held_out up to a tenth of the points; of synthetic data "
    "dataset.queries"
)
MORE_QUERIES = f"more queries ({QUERIES})"
_AHEAD = {"accuracy": "measurably more accurate", "p95": "measurably faster", "cost": "cheaper"}


def change(one: Change, decided: Recommendation) -> str:
    """Return what a moved limit would do to the choice."""
    assert decided.choice is not None
    slo = decided.slo
    if one.limit == "min_accuracy":
        less = one.value < slo.min_accuracy
        asked = f"asking for {MEASURE[slo.accuracy]} {'of' if less else 'above'} {one.asked}"
    else:
        name, unit = {"max_p95_ms": ("P95", "ms"), "max_ram_mib": ("RAM", "MiB")}[one.limit]
        given = getattr(slo, one.limit)
        looser = given is not None and one.value > given
        end = " (the worse end of the choice's interval)" if name == "P95" and not looser else ""
        asked = f"a {name} limit {'of' if looser else 'below'} {one.asked} {unit}{end}"
    if one.choice is None:
        return f"{asked} leaves nothing"
    return f"{asked} leads to {decided.title(one.choice)} ({more_cost(one.choice, decided.choice)})"


def verdict_lines(decided: Recommendation) -> list[str]:
    """Return the decision, its margin, and what would change it, a line each; then what else must be said of it."""
    if decided.choice is None:
        return [*_nothing(decided), *_unsure(decided), *_as_good(decided), *_judged_by(decided)]
    choice, slo = decided.choice, decided.slo
    lines = [
        f"Deploy {on_storage(choice)}: {MEASURE[slo.accuracy]} {vouched(choice, slo)}; "
        f"{against_baseline(choice)}; {priced(choice)}."
    ]
    if runner_up := decided.runner_up:
        lines.append(
            f"Margin: the runner-up, {on_storage(runner_up)}, {more_cost(runner_up, choice)}; "
            f"against it the choice {is_speed(times_faster(choice, runner_up), decided.latency)}, "
            f"{MEASURE[slo.accuracy]} {choice.accuracy:.3f} against {runner_up.accuracy:.3f}."
        )
    elif decided.beaten:
        lines.append(
            "Margin: every other collection within the limits is dominated: another one is nowhere worse, and "
            f"cheaper, measurably faster or more accurate{judged_in(slo)}."
        )
    else:
        lines.append(f"Margin: no other collection keeps to the limits{_to_try(decided)}.")
    lines += [*_not_less(decided, choice), *_in_memory(choice), *_unsure(decided), *_as_good(decided)]
    changes = [change(one, decided) for one in decided.changes] or ["nothing that was measured"]
    if decided.vague_p95:
        changes.append("what a P95 limit would do is not known, for want of queries or rounds")
    lines.append(f"What would change it: {'; '.join(changes)}.")
    return [*lines, *_judged_by(decided)]


def _not_less(decided: Recommendation, choice: Candidate) -> Iterator[str]:
    """Yield why the choice's collection is not searched with less, where less keeps to the limits or seems to."""
    slo = decided.slo
    less = [
        one
        for one in decided.considered
        if one.collection == choice.collection
        and one.row.params["hnsw_ef"] == choice.row.params["hnsw_ef"]
        and one.simplicity < choice.simplicity
        and one.accuracy >= slo.min_accuracy
        and (slo.max_p95_ms is None or one.latency <= slo.max_p95_ms)
    ]
    if not less:
        return
    one = min(less, key=lambda one: (bool(shortfalls(one, slo)), one.simplicity))
    if shortfalls(one, slo):
        yield f"Why not less: {decided.title(one)} seems to keep to the limits, but has {_missed(one, slo)}."
        return
    kept = [other for other in decided.considered if not shortfalls(other, slo)]
    for other in (choice, *frontier(kept, slo.objectives)):  # what is not dominated is measurably slower than another
        nowhere_worse = dominates(other, one, slo.objectives)
        if nowhere_worse or (other.price <= one.price and slower(one, other)):
            better = " and ".join(_AHEAD[name] for name in ahead(other, one))
            worse = f", and as measured nowhere worse{judged_in(slo)}" if nowhere_worse else ""
            yield (
                f"Why not less: {decided.title(one)} keeps to the limits too, but {decided.title(other)} is "
                f"{better}{worse}."
            )
            return


def _to_try(decided: Recommendation) -> str:
    """Return what may let a quantized collection through, where none is, and it is not queries that it wants."""
    if decided.unsure or not decided.matched or not (decided.choice and decided.choice.baseline):
        return ""
    best = max((found.best for found in decided.matched), key=lambda one: one.accuracy)
    return f"; to try: {'; '.join(advice(best, decided.slo))}"


def _in_memory(one: Candidate) -> Iterator[str]:
    """Yield with how much in memory its latency was measured, where that is far more than the RAM that is counted."""
    counted, measured = one.predicted_ram, one.row.metrics.get("ram_measured_mib")
    if measured is None or measured < max(FAR_MORE * counted, counted + WORKING_MIB):
        return
    floor, fallen = (one.row.metrics.get(f"ram_{name}_mib") for name in ("floor", "fallen"))
    less = ""
    if floor:
        less = f"; it held down to a cap of {floor:.1f} MiB"
    elif fallen:
        less = f"; with a cap of {fallen:.1f} MiB it fell off"
    elif one.row.params["engine"] == "edge":
        less = "; engine.ram_caps measures it with less"
    yield (
        f"Memory: this latency was measured with {measured:.1f} MiB of the collection in memory, cached pages of files "
        f"on disk included{less}."
    )


def _unsure(decided: Recommendation) -> Iterator[str]:
    """Yield the cheaper candidate that more queries may let through."""
    if one := decided.unsure:
        yield (
            f"Not certain: {decided.title(one)} has {MEASURE[decided.slo.accuracy]} {one.accuracy:.3f}, but half of "
            f"the queries vouches only for {missing(one.floor, decided.slo.min_accuracy)}: more of them may let it "
            f"through ({QUERIES})."
        )


def _as_good(decided: Recommendation) -> Iterator[str]:
    """Yield the cheaper candidate that retention alone keeps out, though it finds as much as its baseline does.

    Two graphs of a modest recall miss different points, and no oversampling makes their lists agree. Lists that differ
    by more than both miss hold other points that are as near as the k-th, which recall counts as hits.
    """
    if decided.slo.accuracy != "retention":
        return
    alike = [
        one
        for one in decided.considered
        if set(shortfalls(one, decided.slo)) == {"min_accuracy"}
        and one.accuracy < decided.slo.min_accuracy
        and one.row.metrics["recall"] >= one.base.metrics["recall"] - SAME_ACCURACY
        and 1 - one.accuracy <= 2 - one.row.metrics["recall"] - one.base.metrics["recall"] + SAME_ACCURACY
        and (decided.choice is None or one.price < decided.choice.price)
    ]
    if alike:
        one = min(alike, key=lambda one: (one.price, one.simplicity))
        yield (
            f"No loss of recall: {decided.title(one)} finds {one.row.metrics['recall']:.3f} of the exact neighbours, "
            f"no quantization {one.base.metrics['recall']:.3f}; their lists differ because each graph misses others. A "
            "higher search.hnsw_ef or index.m brings them nearer; slo=recall judges by what is found."
        )


def _judged_by(decided: Recommendation) -> Iterator[str]:
    """Yield why recall decided where retention was asked for."""
    if decided.by_recall:
        yield f"Judged by recall, because accuracy retention cannot decide here: {decided.by_recall}."


def _nothing(decided: Recommendation) -> list[str]:
    nearest = decided.nearest
    if nearest is None:
        return ["Nothing can be recommended: no row has figures for both halves of the queries."]
    lines = [
        "Nothing that was measured keeps to the limits.",
        f"Nearest: {on_storage(nearest)}: {_missed(nearest, decided.slo)}.",
    ]
    tips = [tip for tip in advice(nearest, decided.slo) if tip != MORE_QUERIES or not decided.unsure]  # which says so
    return [*lines, f"To try: {'; '.join(tips)}."] if tips else lines


def _missed(one: Candidate, slo: SloConfig) -> str:
    """Return by how much a candidate misses each limit that it misses."""
    ram, usd = slo.max_ram_mib or 0, slo.max_usd_month or 0
    names = {
        "min_accuracy": f"{MEASURE[slo.accuracy]} {missing(one.floor, slo.min_accuracy)} vouched for, "
        f"{slo.min_accuracy:g} asked",
        "max_p95_ms": f"{_p95_text(one, slo.max_p95_ms or 0)}, {slo.max_p95_ms or 0:g} ms asked",
        "max_ram_mib": f"{missing(one.ram, ram, 1)} MiB of RAM, {ram:g} MiB asked",
        "max_usd_month": f"{_price_text(one.cost, usd)} a month, {money(usd)} asked",
    }
    return "; ".join(names[name] for name in shortfalls(one, slo))


def _p95_text(one: Candidate, limit: float) -> str:
    if isinf(one.ceiling):
        return "no P95: each half needs at least 100 queries"
    return f"P95 up to {missing(one.ceiling, limit)} ms"


def _price_text(cost: float, limit: float) -> str:
    return money(cost) if money(cost) != money(limit) else f"${missing(cost, limit, 2)}"


def advice(nearest: Candidate, slo: SloConfig) -> list[str]:
    """Return what to try for every limit that the nearest candidate misses."""
    missed, place = shortfalls(nearest, slo), nearest.collection.storage
    faster = ["less oversampling"] if nearest.row.point.oversampling > 1 else []
    faster += ["a lower search.hnsw_ef"] if place == "hot" else ["a lower search.hnsw_ef", "storage=hot"]
    smaller = ["storage=on_disk"] if place not in ("on_disk", "all_disk") else []
    tips = {
        "min_accuracy": "more search.oversampling, a higher search.hnsw_ef, or a method with more bits",
        "max_p95_ms": ", or ".join(faster),
        "max_ram_mib": ", or ".join(["a method with fewer bits", *smaller, "a smaller embedding"]),
    }
    tips["max_usd_month"] = tips["max_ram_mib"]
    if isinf(nearest.ceiling):
        tips["max_p95_ms"] = MORE_QUERIES
    if slo.min_accuracy == 1:
        tips["min_accuracy"] = "slo.min_accuracy below 1, for no number of queries vouches for all others"
    elif all(half.estimate >= slo.min_accuracy for half in nearest.accuracy_halves):
        tips["min_accuracy"] = MORE_QUERIES
    elif nearest.baseline:
        tips["min_accuracy"] = (
            "storage.datatype=float32 where it is another, or a higher search.hnsw_ef, index.m or index.ef_construct"
        )
    elif len(missed) > 1:  # what helps against one makes the other worse
        return ["other methods (experiment=all_methods) and embedding sizes, or looser limits: these conflict"]
    return list(dict.fromkeys(tips[name] for name in missed))
