"""The schema of searches: the grid, tuning, adaptive policies, load."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

from qexp.config.checks import at_least, one_of, plain, require
from qexp.config.cost import MEASURES
from qexp.config.dataset import PAYLOAD_INDEXES
from qexp.errors import ConfigError, near_miss

MOST_CLIENTS = 256
MOST_ARRIVALS = 10_000_000  # in one block: when each is due is laid out before


def _check_goal(place: str, measure: str, target: float) -> None:
    one_of(f"{place}.measure", measure, MEASURES)
    require(0 < target <= 1, f"{place}.target={target:g}: must be above 0 and at most 1")


@dataclass(frozen=True)
class TuneConfig:
    """Look for the smallest `parameter` up to `most` whose accuracy by `measure` reaches `target`.

    `most` null is an oversampling of 32, or an hnsw_ef of 1024.
    """

    parameter: str = "oversampling"
    measure: str = "retention"
    target: float = 0.95
    most: float | None = None

    def __post_init__(self) -> None:
        one_of("search.tune.parameter", self.parameter, ("oversampling", "hnsw_ef"))
        _check_goal("search.tune", self.measure, self.target)
        at_least("search.tune.most", self.most, 1)
        require(
            self.parameter != "hnsw_ef" or self.measure == "recall",
            "search.tune.parameter=hnsw_ef: retention is against a baseline of the same hnsw_ef, so it cannot tell; "
            "add slo=recall",
        )


@dataclass(frozen=True)
class AdaptiveConfig:
    """Compare adaptive policies with the smallest of the fixed `factors` that reaches `target` by `measure`."""

    measure: str = "retention"
    target: float = 0.95
    factors: list[float] = field(default_factory=lambda: [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 16.0])

    def __post_init__(self) -> None:
        _check_goal("search.adaptive", self.measure, self.target)
        plain("search.adaptive.factors", self.factors)
        require(len(set(self.factors)) > 1, "search.adaptive.factors: needs at least two oversampling factors")
        for factor in self.factors:
            at_least("search.adaptive.factors", factor, 1)


@dataclass(frozen=True)
class SearchConfig:
    """The grid of operating points and how each is measured; `queries` caps their number (null: all).

    At least `rounds` rounds, then more until every speedup is known to `target_halfwidth` or `budget_seconds` are
    spent; with a budget of 0 exactly `rounds`. `cache: cold` adds visits whose pages were dropped before. `clients`
    and `rate` (queries per second) add load, `load_seconds` at a time. `filter` is Qdrant's own filter, verbatim; it
    holds for every query and for the exact neighbours alike.
    """

    limit: int = 10
    rescore: list[bool] = field(default_factory=lambda: [False, True])
    oversampling: list[float] = field(default_factory=lambda: [1.0, 2.0, 3.0, 5.0, 8.0, 10.0])
    hnsw_ef: list[int | None] = field(default_factory=lambda: [None])
    filter: dict[str, Any] = field(default_factory=dict)
    queries: int | None = None
    rounds: int = 5
    warmup: int = 30
    seed: int = 0
    target_halfwidth: float = 0.05
    budget_seconds: float = 30.0
    cache: str = "warm"
    clients: list[int] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    load_seconds: float = 2.0
    tune: TuneConfig | None = None
    adaptive: AdaptiveConfig | None = None

    def __post_init__(self) -> None:
        for key in ("rescore", "oversampling", "hnsw_ef", "clients", "rate"):
            plain(f"search.{key}", getattr(self, key))
        at_least("search.limit", self.limit, 1)
        at_least("search.rounds", self.rounds, 2)
        at_least("search.warmup", self.warmup, 0)
        at_least("search.seed", self.seed, 0, inf)
        at_least("search.target_halfwidth", self.target_halfwidth, 0.001)
        at_least("search.budget_seconds", self.budget_seconds, 0)
        one_of("search.cache", self.cache, ("warm", "cold"))
        at_least("search.load_seconds", self.load_seconds, 0.1)
        for key, least in (("oversampling", 1), ("hnsw_ef", 1), ("clients", 1), ("rate", 0.1)):
            for value in getattr(self, key):
                at_least(f"search.{key}", value, least)
        for value in self.clients:
            require(
                value <= MOST_CLIENTS, f"search.clients={value}: each is a process of its own; at most {MOST_CLIENTS}"
            )
        for value in self.rate:
            require(
                int(value * self.load_seconds) >= 1,
                f"search.rate={value:g}: no query is due in search.load_seconds={self.load_seconds:g}; set "
                f"search.load_seconds={ceil(1 / value)}",
            )
            require(
                value * self.load_seconds <= MOST_ARRIVALS,
                f"search.rate={value:g}: {value * self.load_seconds:g} queries are due in search.load_seconds="
                f"{self.load_seconds:g}; at most {MOST_ARRIVALS:,}",
            )
        at_least("search.queries", self.queries, 2)  # one half chooses, the other confirms
        for key in ("rescore", "oversampling", "hnsw_ef", "clients", "rate"):
            values = getattr(self, key)
            needed = key not in ("clients", "rate")
            require(bool(values) or not needed, f"search.{key}=[]: the grid is empty; give at least one value")
            require(len(set(values)) == len(values), f"search.{key}={values}: a value is given twice")
        if self.tune and self.tune.parameter == "hnsw_ef" and self.tune.most is not None:
            require(
                self.tune.most >= self.limit,
                f"search.tune.most={self.tune.most:g}: an hnsw_ef below search.limit={self.limit} finds no more; "
                f"set it higher",
            )
        if self.filter:
            _check_filter(self.filter)

    @property
    def filtered_fields(self) -> dict[str, tuple[str, ...]]:
        """The payload fields that the filter looks at, in order, each with the kinds of index that it can use.

        Of several conditions on a field, those that serve all; where none does, those that serve the first. None where
        a condition needs an index with parameters, which `dataset.payload_indexes` does not have.
        """
        fields: dict[str, tuple[str, ...]] = {}
        for key, condition in _fields(self.filter):
            kinds = _served_by(condition)
            known = fields.get(key, kinds)
            fields[key] = (tuple(kind for kind in known if kind in kinds) or known) if kinds else ()
        return fields

    @property
    def phrased(self) -> list[str]:
        """The payload fields in which the filter looks for phrases."""
        return [key for key, condition in _fields(self.filter) if "phrase" in (condition.get("match") or {})]

    @property
    def filters_ids(self) -> bool:
        """Whether the filter looks at the ids of points; which slice they are in depends on them."""
        return _has_ids(self.filter)


def _fields(condition: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the conditions on fields, with the field; of what is nested in a field, that field alone."""
    if isinstance(condition, list):
        for one in condition:
            yield from _fields(one)
    elif isinstance(condition, dict):
        if "key" in condition:
            yield str(condition["key"]), condition
        else:
            yield from _fields(list(condition.values()))


def _served_by(condition: dict[str, Any]) -> tuple[str, ...]:
    """Return the kinds of payload index that a condition on a field can use, by the types of what it compares with."""
    kinds: dict[type, tuple[str, ...]] = {str: ("keyword", "uuid"), bool: ("bool",), int: ("integer",)}
    match, ends = condition.get("match") or {}, condition.get("range") or {}
    if match.keys() & {"phrase", "prefix", "substring"}:  # they need the parameters `phrase_matching` and `prefix`
        return ()
    if any(name.startswith("text") for name in match):
        return ("text",)
    for value in match.values():
        first = value[0] if isinstance(value, list) and value else value
        return kinds.get(type(first), PAYLOAD_INDEXES)
    for end in ends.values():
        return ("datetime",) if isinstance(end, str) else ("integer", "float")
    return ("geo",) if any(name.startswith("geo") for name in condition) else PAYLOAD_INDEXES


def _has_ids(condition: Any) -> bool:
    """Whether a condition, or one in it, is on the ids of points."""
    if isinstance(condition, dict):
        return bool(condition.keys() & {"has_id", "slice"}) or _has_ids(list(condition.values()))
    return isinstance(condition, list) and any(map(_has_ids, condition))


_ORDER = {"extra_forbidden": 2, "missing": 0}  # of faults that are as deep: a name that nothing has comes first
_TYPES = {"bool_type": "a boolean", "int_type": "an integer", "string_type": "a text"}


def _check_filter(given: dict[str, Any]) -> None:
    """Hold a filter against Qdrant's own schema, unknown keys forbidden."""
    from pydantic import ValidationError
    from qdrant_client import models

    try:
        json.dumps(given, allow_nan=False)
    except (ValueError, TypeError) as strange:
        raise ConfigError("search.filter: a value in it is none that JSON has (nan, infinity, bytes)") from strange
    try:
        models.Filter.model_validate(given)
    except ValidationError as invalid:
        errors = invalid.errors()
        known = {_place(one["loc"]) for one in errors if one["type"] != "extra_forbidden"}
        # Every kind of condition is tried, and complains; the one that was meant got deepest, and knows the name.
        told = [one for one in errors if one["type"] != "extra_forbidden" or _place(one["loc"]) not in known]
        error = max(told, key=lambda one: (len(one["loc"]), _ORDER.get(one["type"], 1)))
        place, wanted = _place(error["loc"]), error["msg"]
        hint = near_miss(place, models.Filter.model_fields) if error["loc"] == (place,) and place not in known else ""
        types = [one["type"] for one in errors if _place(one["loc"]) == place]
        if accepted := dict.fromkeys(_TYPES[kind] for kind in types if kind in _TYPES):
            wanted = f"must be {' or '.join(accepted)}"
            if isinstance(error["input"], float) and ".match." in place:
                hint = f"; for a number with a fraction use range: {{gte: {error['input']}, lte: {error['input']}}}"
        raise ConfigError(f"search.filter.{place}: not a Qdrant filter: {wanted}{hint}") from invalid


def _place(loc: tuple[int | str, ...]) -> str:
    """Return where pydantic complains, without what it tried there."""
    return ".".join(
        str(part)
        for part in loc
        if isinstance(part, int) or (part.islower() and "[" not in part and part not in ("bool", "int", "str"))
    )
