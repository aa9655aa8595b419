"""A sweep or a single experiment as the record holds it: all that a report is made from."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Any, TypeVar

from qexp.config import SloConfig
from qexp.report.frontier import question
from qexp.report.recommend import Recommendation
from qexp.report.settings import CollectionKey, apart, full_name, method_name, varying
from qexp.results import Check, Row
from qexp.results.footprint import Cliff

Line = TypeVar("Line", str, tuple[str, str, str])

# Tags: sentences that a run warns of, and those of tuning and adaptive policies, a line each.
WARNINGS, FINDINGS = "qexp.warnings", "qexp.findings"


@dataclass(frozen=True)
class CollectionRecord:
    """One collection run: flattened config, metrics, tags, the dataset's facts, rows (the baseline's first).

    `loads` are the rows of what was measured under load.
    """

    run_id: str
    config: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    dataset: dict[str, Any]
    environment: dict[str, Any]
    rows: tuple[Row, ...]
    checks: tuple[Check, ...] = ()
    loads: tuple[Row, ...] = ()

    @property
    def name(self) -> str:
        """The quantization, with the settings that set it apart from other jobs of its record."""
        return method_name(self.rows[-1].params) if self.rows else str(self.config["quantization.name"])

    @property
    def params(self) -> Mapping[str, str]:
        """The parameters that its trials share, those of the last one."""
        return self.rows[-1].params if self.rows else {}

    @property
    def key(self) -> CollectionKey:
        """What was built, as candidates have it."""
        return CollectionKey(self.name, str(self.config["storage.name"]))

    @property
    def machine(self) -> str:
        """The machine that measured it, and its libraries; before it the server. Empty where that is not recorded."""
        if not self.environment:
            return ""
        libraries = ", ".join(f"{name} {version}" for name, version in self.environment["libraries"].items())
        cpu, cpus, gib = (self.environment[name] for name in ("cpu", "cpus", "memory_gib"))
        engine, _, version = self.tags.get("qexp.engine", "").partition("-")
        server = f"Qdrant {version} on a server, searched from: " if engine == "server" else ""
        return f"{server}{cpu}, {cpus} cores, {gib} GiB; {libraries}."

    def has(self, row: Row) -> bool:
        """Whether this very row is one of its own."""
        return any(row is own for own in self.rows)

    def built(self, name: str) -> int:
        """Return a parameter of the graph as it was built, such as `m`; the configuration may leave it open."""
        return int(self.dataset.get(name) or self.config[f"index.{name}"])


_UNTOLD = ("engine", "hnsw_ef")  # in the name of a collection
MOST_NAMES = 6  # in one sentence: more are not read

# T14's words on a control, with its figures, which the table has too: so that many jobs say it in one line.
_CONTROL = re.compile(r"(the baseline)(?: \(ef \w+\))?( against itself) is [^:]*: too wide")


def warnings(collections: Iterable[CollectionRecord]) -> list[str]:
    """Return what the collections' runs warn of, each sentence once; before it the methods, where not all say it.

    The first tells where several versions of qexp have measured them.
    """
    every = list(collections)
    return [*_several_versions(every), *_said(every, WARNINGS)]


def findings(collections: Iterable[CollectionRecord]) -> list[str]:
    """Return what tuning and adaptive policies have found, a sentence each, told as warnings are."""
    return [f"{line}." for line in _said(collections, FINDINGS)]


def _several_versions(collections: Iterable[CollectionRecord]) -> list[str]:
    codes = {(one.tags.get("qexp.version", ""), one.tags.get("qexp.git_sha", "")[:7]): None for one in collections}
    if len(codes) < 2:
        return []
    names = [" at ".join(filter(None, code)) for code in codes]
    told = ", ".join(names) if len(names) <= MOST_NAMES else f"{names[0]}, …, {names[-1]}"
    return [
        f"several versions of qexp measured these ({told}), and may predict RAM or judge intervals in other ways: what "
        "is to be compared closely, measure again with one of them"
    ]


def checks(collections: Iterable[CollectionRecord]) -> list[tuple[str, str, str]]:
    """Return the trap, the verdict and the text of the collections' checks, told as warnings are, by trap and verdict.

    A text that names a collection is left as it is.
    """
    every = list(collections)
    named = {"none", *(str(one.config["quantization.name"]) for one in every)}
    told = _told(every, lambda one: [(check.trap, check.verdict, check.what) for check in one.checks])
    lines = [
        (trap, verdict, what if what.partition(":")[0] in named else f"{who}{what}")
        for (trap, verdict, what), who in told
    ]
    return sorted(lines, key=lambda line: line[:2])


def _said(collections: Iterable[CollectionRecord], tag: str) -> list[str]:
    def lines(one: CollectionRecord) -> list[str]:
        return [_CONTROL.sub(r"\1\2 is too wide", line) for line in one.tags.get(tag, "").splitlines()]

    return [f"{who}{line}" for line, who in _told(list(collections), lines)]


def _told(
    every: Sequence[CollectionRecord], lines: Callable[[CollectionRecord], Iterable[Line]]
) -> Iterator[tuple[Line, str]]:
    """Yield each line of the collections once, with the methods that say it; with nothing where all say it."""
    said: dict[Line, dict[int, CollectionRecord]] = {}
    for number, one in enumerate(every):
        for line in lines(one):
            said.setdefault(line, {})[number] = one
    for line, found in said.items():
        yield line, "" if len(found) == len(every) else f"{_who(list(found.values()), every)}: "


def _who(found: Sequence[CollectionRecord], every: Sequence[CollectionRecord]) -> str:
    """Return the names of some collections, or what these have in common if no other has it; else how many of many.

    What they have in common is told of many, of every method, and of all that a method has.
    """
    differing = [name for name in varying([row for one in every for row in one.rows]) if name not in _UNTOLD]
    names = dict.fromkeys(full_name(str(one.config["quantization.name"]), one.params, differing) for one in found)
    common = {}
    for name in ("quantization", *differing):
        values = dict.fromkeys(one.params.get(name) for one in found)
        if len(values) < len({one.params.get(name) for one in every}):
            common[name] = values
    alike = [one for one in every if all(one.params.get(name) in values for name, values in common.items())]
    exact = len(alike) == len(found) and all(len(values) <= MOST_NAMES for values in common.values())
    every_method = "quantization" not in common and len({one.params.get("quantization") for one in found}) > 1
    if len(names) <= MOST_NAMES and not (exact and (every_method or common.keys() == {"quantization"})):
        return ", ".join(names)
    if not exact:
        return f"{len(found)} of {len(every)} collections"
    methods = ", ".join(map(str, common.pop("quantization", ["every method"])))
    told = ", ".join(" or ".join(apart({name: str(one)}, [name]) for one in values) for name, values in common.items())
    return f"{methods} ({told})" if told else methods


@dataclass(frozen=True)
class Record:
    """A run and its finished collections; `failures` are names of jobs that have no figures, with the reason.

    `limits` are the fields of a sweep's own service level.
    """

    run_id: str
    title: str
    collections: tuple[CollectionRecord, ...]
    failures: tuple[tuple[str, str], ...] = ()
    cliff: Cliff | None = None
    limits: Mapping[str, Any] | None = None

    @property
    def rows(self) -> list[Row]:
        """The rows of all collections."""
        return [row for collection in self.collections for row in collection.rows]

    @property
    def slo(self) -> SloConfig:
        """The service level of the sweep, else that which the first collection was measured for."""
        config = self.collections[0].config
        limits = self.limits or {
            key.removeprefix("slo."): value for key, value in config.items() if key.startswith("slo.")
        }
        chosen = {field.name: limits[field.name] for field in fields(SloConfig) if field.name in limits}
        chosen = {name: None if value == inf else value for name, value in chosen.items()}  # as older records have it
        return SloConfig(**{"name": "default", **chosen})

    def collection_of(self, row: Row) -> CollectionRecord:
        """Return the collection run that a row belongs to."""
        return next(one for one in self.collections if one.has(row))

    def asked_by(self, decided: Recommendation) -> list[CollectionRecord]:
        """Return the collections that a question is about; all of them if none of its rows could be judged."""
        asked = {question(found.row) for found in decided.considered}
        own = [one for one in self.collections if any(question(row) in asked for row in one.rows)]
        return own or list(self.collections)
