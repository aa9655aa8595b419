"""What sets the collections of a comparison apart where names do not: one quantization built with two values of m."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from qexp.config import UNMEASURED
from qexp.results import Row

# The parameters that tell jobs apart which are never compared, so that nothing else has to.
_NEVER_COMPARED = ("dataset", "embedding_size", "engine")
_NAMED = ("quantization", "storage")  # groups that have a name: only what differs under one is told
_ROW_BY_ROW = ("search.rescore", "search.oversampling", "search.hnsw_ef", "search.limit")  # each row has its own
_CHOOSING = ("search.tune", "search.adaptive")  # how some of these were found, and what was measured beside the rows
# What is searched and for what, how it is measured, and at which prices: nobody deploys the better of two of these.
_ASKED = ("dataset.", "embedding.", "search.", "engine.cpus", "engine.builds", "engine.ram_caps", "cost.", "validity")
_SOURCE = ("dataset.", "embedding.", "search.queries")  # what points and queries come from
CONTENT = "dataset.content"  # what these were; a file may change between two jobs
_FILTER = "search.filter"  # its clauses are keys of their own; one that another job has is no null clause of this one
DATA, SETTINGS, DATATYPE = "data", "settings", "datatype"
BASELINE_EFS = "baseline_efs"  # the hnsw_ef at which a job has measured its baseline
_CHANGES_RESULTS = ("index.", "storage.", "engine.shards")  # of a baseline


# What sets collections of one quantization apart, and how it is told in a name.
_TOLD = {
    "dataset": "{}",
    DATA: "{}",
    "embedding_size": "{} dimensions",
    "storage": "storage {}",
    SETTINGS: "{}",
    "limit": "limit {}",
}


class CollectionKey(NamedTuple):
    """What tells a collection from others of a comparison: quantization, with what else sets it apart, and storage."""

    method: str
    storage: str


def varying(rows: Sequence[Row]) -> list[str]:
    """Return the parameters beside quantization, rescore and oversampling in which the rows differ."""
    measured = [row for row in rows if not row.failed]
    names = ("dataset", DATA, "embedding_size", "storage", "engine", SETTINGS, "hnsw_ef", "limit")
    return [name for name in names if len({row.params.get(name) for row in measured}) > 1]


def full_name(quantization: str, params: Mapping[str, str], differing: Sequence[str]) -> str:
    """Return a quantization with all that sets a collection apart from others that differ in these parameters."""
    told = apart(params, differing)
    return f"{quantization} ({told})" if told else quantization


def apart(params: Mapping[str, str], differing: Sequence[str]) -> str:
    """Return what sets a collection apart from others that differ in these parameters; nothing where nothing does."""
    return ", ".join(_TOLD[name].format(params[name]) for name in differing if name in _TOLD and name in params)


def told_apart(jobs: Sequence[tuple[Mapping[str, Any], Sequence[Row]]]) -> list[list[Row]]:
    """Return the rows of every job (flat configuration, rows) with what names do not tell, as parameters.

    `settings` holds what differs in how collections are built, such as `index.m=8`, `data` what differs in the data,
    the searches, how they are measured and priced; both are left out where there is nothing to tell. A baseline's lack
    what its quantization sets. `datatype` is that of storages that differ in it, `baseline_efs` the hnsw_ef of a job's
    baselines, where jobs differ in them.
    """
    kinds: dict[tuple[str, ...], list[tuple[Mapping[str, Any], Mapping[str, str]]]] = defaultdict(list)
    for config, rows in jobs:
        if rows:
            trial = next((row for row in rows if not row.baseline), rows[-1])
            kinds[_kind(trial)].append((config, trial.params))
    differing = {kind: _differing(of_kind) for kind, of_kind in kinds.items()}
    several = len({_text(config, "storage.datatype") for config, rows in jobs if rows}) > 1
    told = [[_told(row, config, differing[_kind(rows[-1])], several) for row in rows] for config, rows in jobs]
    efs = [_baseline_efs(rows) for rows in told]
    if len(set(filter(None, efs))) > 1:
        told = [[_with_efs(row, own) for row in rows] for rows, own in zip(told, efs, strict=True)]
    return told


def changing_results(baseline: Row) -> tuple[str, ...]:
    """Return those of a baseline's settings that change what it finds."""
    return tuple(one for one in baseline.params.get(SETTINGS, "").split() if one.startswith(_CHANGES_RESULTS))


def method_name(params: Mapping[str, str]) -> str:
    """Return a row's quantization, with the settings that set it apart if there are any."""
    quantization = "no quantization" if params.get("role") == "baseline" else params["quantization"]
    return f"{quantization} ({params[SETTINGS]})" if SETTINGS in params else quantization


def _kind(row: Row) -> tuple[str, ...]:
    return tuple(row.params.get(name, "") for name in _NEVER_COMPARED)


def _told(
    row: Row, config: Mapping[str, Any], differing: Mapping[str, Collection[str]], several_datatypes: bool
) -> Row:
    own = [key for key, names in differing.items() if _under(key, config, row.params) in names]
    own = [key for key in own if key in config or not key.startswith(_FILTER)]
    told = {
        DATA: [key for key in own if key.startswith(_ASKED)],
        SETTINGS: [key for key in own if not key.startswith(_ASKED)],
    }
    texts = {name: " ".join(f"{key}={_text(config, key)}" for key in keys) for name, keys in told.items() if keys}
    if several_datatypes:
        texts[DATATYPE] = _text(config, "storage.datatype")
    return replace(row, params=row.params | texts)


def _with_efs(row: Row, efs: str) -> Row:
    return replace(row, params=row.params | {BASELINE_EFS: efs}) if row.baseline else row


def _baseline_efs(job: Sequence[Row]) -> str:
    return " ".join(sorted({row.params["hnsw_ef"] for row in job if row.baseline}))


def _differing(jobs: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]) -> dict[str, list[str]]:
    """Return the keys that have several values under one name of their group, each with those names."""
    found = {}
    for key in dict.fromkeys(key for config, _ in jobs for key in config):
        if key.startswith((*UNMEASURED, *_ROW_BY_ROW, *_CHOOSING)):
            continue
        values: dict[str, set[str]] = defaultdict(set)
        for config, params in jobs:
            if key == CONTENT and key not in config:  # recorded before it was known: it may be any
                continue
            values[_under(key, config, params)].add(_text(config, key))
        if names := [name for name, several in values.items() if len(several) > 1]:
            found[key] = names
    presets = {_group(key) for key in found if key.endswith(".name")}  # one that differs says it all
    return {key: names for key, names in found.items() if _group(key) not in presets or key.endswith(".name")}


def _under(key: str, config: Mapping[str, Any], params: Mapping[str, str]) -> str:
    """Return the name under which a key is to have one value."""
    if key == CONTENT:
        return _source(config)
    return params[_group(key)] if _group(key) in _NAMED else ""


def _source(config: Mapping[str, Any]) -> str:
    """Return all that says what points and queries come from: the same is to be of the same content."""
    keys = [key for key in config if key.startswith(_SOURCE) and not key.startswith((CONTENT, *UNMEASURED))]
    return " ".join(f"{key}={_text(config, key)}" for key in keys)


def _group(key: str) -> str:
    return key.partition(".")[0]


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return "null" if value in (None, "None") else "none" if value in ({}, "{}") else str(value)
