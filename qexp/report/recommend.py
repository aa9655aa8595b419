"""The decision: the cheapest configuration that meets the service level, chosen on one half of the queries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nextafter
from operator import attrgetter
from typing import Any

from qexp.config import SloConfig
from qexp.report.digits import beyond
from qexp.report.frontier import Candidate, candidates, fastest, frontier, slower
from qexp.report.settings import DATATYPE, CollectionKey, changing_results
from qexp.results import GOOD_BASELINE, Row

FIRST, SECOND = 0, 1
VACUOUS = 2.0  # times the slowest latency: an upper end of P95 beyond that tells of too few rounds, not of P95


@dataclass(frozen=True)
class Change:
    """What a limit would do, tightened just beyond what is `asked` or loosened to it: the choice then, None if nothing.

    `asked` is the limit as it is told, for whoever asks for just that is to get this choice.
    """

    limit: str
    asked: str
    choice: Candidate | None

    @property
    def value(self) -> float:
        """The limit as a number."""
        return float(self.asked)


@dataclass(frozen=True)
class Matched:
    """The simplest operating point of a collection that reaches the accuracy; without one, its most accurate."""

    collection: CollectionKey
    reached: Candidate | None
    best: Candidate


@dataclass(frozen=True)
class Recommendation:
    """The choice among `considered`; without a choice, `nearest` comes nearest.

    `slo` is what decided: with recall where retention was asked for and cannot tell, for the reason `by_recall`.
    `refuted` are cheaper ones that the first half of the queries chose and the second did not confirm; `unsure` is a
    cheaper one that reaches the accuracy by too few queries to tell.
    """

    slo: SloConfig
    considered: tuple[Candidate, ...]
    choice: Candidate | None
    runner_up: Candidate | None
    beaten: bool
    refuted: tuple[Candidate, ...]
    unsure: Candidate | None
    nearest: Candidate | None
    changes: tuple[Change, ...]
    matched: tuple[Matched, ...]
    by_recall: str = ""

    @property
    def latency(self) -> str:
        """What candidates' latency is: P95, or the mean where there were too few samples."""
        known = all("latency_p95_ms" in one.row.metrics for one in self.considered)
        return "P95 latency" if known else "mean latency"

    @property
    def vague_p95(self) -> bool:
        """Whether the choice's P95 is known too badly to say what a limit just below it would do."""
        return self.choice is not None and _vague_p95(self.choice, self.considered)

    def shown(self, found: Matched) -> Candidate:
        """Return the point that stands for a collection: the choice, else what reaches the accuracy, else the best."""
        if self.choice and self.choice.collection == found.collection:
            return self.choice
        return found.reached or found.best

    def compared(self, found: Matched) -> list[Candidate]:
        """Return the points of a collection that differ in rescoring alone: those at the hnsw_ef of the one shown."""
        ef = self.shown(found).row.params["hnsw_ef"]
        own = [one for one in self.considered if one.collection == found.collection]
        return [one for one in own if one.row.params["hnsw_ef"] == ef]

    def name(self, collection: CollectionKey) -> str:
        """Return the quantization, and the storage where there are several."""
        several = len({one.collection.storage for one in self.considered}) > 1
        return f"{collection.method} ({collection.storage})" if several else collection.method

    def title(self, one: Candidate) -> str:
        """Return the candidate's title, with the storage where there are several."""
        return ", ".join(filter(None, (self.name(one.collection), one.point)))


def recommend(rows: Sequence[Row], slo: SloConfig) -> Recommendation:
    """Decide on the rows of one question (frontier.questions)."""
    by_recall = _by_recall(rows) if slo.accuracy == "retention" else ""
    if by_recall:
        slo = replace(slo, accuracy="recall")
    found = _once(candidates(rows, slo.accuracy))
    best = _undominated(found, slo)
    choice = _preferred(best)
    return Recommendation(
        slo=slo,
        considered=tuple(found),
        choice=choice,
        runner_up=_preferred([one for one in best if choice and one.collection != choice.collection]),
        beaten=any(choice and one.collection != choice.collection and _qualifies(one, slo) for one in found),
        refuted=tuple(
            one
            for one in sorted(found, key=lambda one: one.price)
            if _meets(one, slo, FIRST) and not _meets(one, slo, SECOND) and (choice is None or one.price < choice.price)
        ),
        unsure=min(
            (one for one in found if _unsure(one, slo) and (choice is None or one.price < choice.price)),
            key=lambda one: (one.price, -one.floor),
            default=None,
        ),
        nearest=min(found, key=lambda one: (*_shortfall(one, slo), one.cost)) if found and not choice else None,
        changes=_changes(found, slo, choice) if choice else (),
        matched=_matched(found, slo),
        by_recall=by_recall,
    )


def _once(found: Sequence[Candidate]) -> list[Candidate]:
    """Return every operating point of a collection once: of those that several jobs have measured, the first.

    Nobody can choose between them, and to take the better one would flatter it.
    """
    points: dict[tuple[CollectionKey, str], Candidate] = {}
    for one in found:
        points.setdefault((one.collection, one.point), one)
    return list(points.values())


def _by_recall(rows: Sequence[Row]) -> str:
    """Return why accuracy retention cannot decide; empty where it can."""
    bases = [row for row in rows if row.baseline]
    if len({row.params.get("hnsw_ef") for row in rows if not row.failed}) > 1:
        return "it is against the baseline of the same hnsw_ef, and several were measured"
    if len({(row.params.get(DATATYPE), changing_results(row)) for row in bases}) > 1:
        return "it is against each job's own baseline, and these were not all built and searched alike"
    worst = min((row.metrics.get("recall", 1.0) for row in bases), default=1.0)
    if worst < GOOD_BASELINE:
        return f"it is against a baseline whose own recall is {worst:.3f}"
    return ""


def _undominated(found: Sequence[Candidate], slo: SloConfig) -> list[Candidate]:
    """Return what both halves qualify and nothing dominates."""
    return frontier([one for one in found if _qualifies(one, slo)], slo.objectives)


def _preferred(found: Sequence[Candidate]) -> Candidate | None:
    """Return the simplest of the cheapest whose speed cannot be told from the fastest's."""
    if not found:
        return None
    price = min(one.price for one in found)
    cheapest = [one for one in found if one.price == price]
    first = fastest(cheapest)
    ties = [one for one in cheapest if not slower(one, first)]
    return min(ties, key=lambda one: (one.simplicity, one.latency, -one.accuracy))


def _qualifies(one: Candidate, slo: SloConfig) -> bool:
    return _meets(one, slo, FIRST) and _meets(one, slo, SECOND)


def _unsure(one: Candidate, slo: SloConfig) -> bool:
    """Whether it reaches the accuracy on both halves as estimated, and only the intervals are too wide to say so.

    No number of queries vouches for an accuracy of 1.
    """
    reaches = slo.min_accuracy < 1 and all(half.estimate >= slo.min_accuracy for half in one.accuracy_halves)
    return reaches and set(shortfalls(one, slo)) == {"min_accuracy"}


def _meets(one: Candidate, slo: SloConfig, half: int) -> bool:
    """Whether one half of the queries vouches for it: the worse ends of its intervals are within the limits."""
    return (
        one.accuracy_halves[half].low >= slo.min_accuracy
        and (slo.max_p95_ms is None or one.p95_highs[half] <= slo.max_p95_ms)
        and (slo.max_ram_mib is None or one.ram <= slo.max_ram_mib)
        and (slo.max_usd_month is None or one.cost <= slo.max_usd_month)
    )


def shortfalls(one: Candidate, slo: SloConfig) -> dict[str, float]:
    """Return by how much (as a share of the limit) a candidate misses each limit; only those it misses."""
    measured = {"max_p95_ms": one.ceiling, "max_ram_mib": one.ram, "max_usd_month": one.cost}
    missed = {"min_accuracy": 1 - one.floor / slo.min_accuracy if slo.min_accuracy else 0.0}
    for name, value in measured.items():
        limit = getattr(slo, name)
        if limit is not None:
            missed[name] = value / limit - 1
    return {name: share for name, share in missed.items() if share > 0}


def _shortfall(one: Candidate, slo: SloConfig) -> tuple[bool, float, float]:
    """Return whether any shortfall is unknown, which is worse than all that are known, the largest, and their sum."""
    missed = shortfalls(one, slo).values()
    known = [share for share in missed if share < inf]
    return len(known) < len(missed), max(known, default=0.0), sum(known)


def _changes(found: Sequence[Candidate], slo: SloConfig, choice: Candidate) -> tuple[Change, ...]:
    """Return what would change the choice: tighter limits, the least room first, then looser ones that save money."""
    room = {"min_accuracy": (choice.floor, 1.0), "max_p95_ms": (choice.ceiling, 0.0)}
    if slo.max_ram_mib is not None:
        room["max_ram_mib"] = (choice.ram, 0.0)
    order = sorted(room, key=lambda name: abs(getattr(slo, name) / room[name][0] - 1) if getattr(slo, name) else inf)
    changes = []
    for name in order:
        value, towards = room[name]
        if value == towards or (name == "max_p95_ms" and _vague_p95(choice, found)):
            continue
        asked = beyond(value, down=towards < value)
        changes.append(Change(name, asked, _moved(found, slo, name, nextafter(float(asked), towards))))
    return (*changes, *_savings(found, slo, choice))


def _vague_p95(choice: Candidate, found: Sequence[Candidate]) -> bool:
    return choice.ceiling > VACUOUS * max(one.latency for one in found)


def _savings(found: Sequence[Candidate], slo: SloConfig, choice: Candidate) -> list[Change]:
    """Return for each limit that alone keeps out something cheaper how little looser it would have to be."""
    changes = []
    needs = {"min_accuracy": attrgetter("floor"), "max_p95_ms": attrgetter("ceiling"), "max_ram_mib": attrgetter("ram")}
    for name, need in needs.items():
        cheaper = [need(one) for one in found if one.price < choice.price and set(shortfalls(one, slo)) == {name}]
        least = max(cheaper, default=inf) if name == "min_accuracy" else min(cheaper, default=inf)
        if least in (0, inf):  # nothing, nothing whose P95 is known, or only what no accuracy is vouched for
            continue
        asked = beyond(least, down=name == "min_accuracy")
        instead = _moved(found, slo, name, float(asked))
        if instead and instead.price < choice.price:  # unless cost is no objective
            changes.append(Change(name, asked, instead))
    return changes


def _moved(found: Sequence[Candidate], slo: SloConfig, limit: str, value: float) -> Candidate | None:
    """Return the choice with another value of a limit."""
    moved: dict[str, Any] = {limit: value}
    return _preferred(_undominated(found, replace(slo, **moved)))


def _matched(found: Sequence[Candidate], slo: SloConfig) -> tuple[Matched, ...]:
    """Return for each quantized collection what it needs for the accuracy alone."""
    collections: dict[CollectionKey, list[Candidate]] = {}
    for one in found:
        if not one.baseline:
            collections.setdefault(one.collection, []).append(one)
    return tuple(
        Matched(
            name,
            min((one for one in points if one.floor >= slo.min_accuracy), key=lambda one: one.simplicity, default=None),
            max(points, key=lambda one: one.accuracy),
        )
        for name, points in collections.items()
    )
