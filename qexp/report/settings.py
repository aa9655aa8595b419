"""What sets the collections of a comparison apart where names do not: one quantization built with two values of m."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qexp.results import Row

# The parameter that names each group of the configuration, so that only what differs under one name is to be told.
_NAMED = {
    "dataset": "dataset",
    "embedding": "embedding_size",
    "quantization": "quantization",
    "storage": "storage",
    "engine": "engine",
}
_ROW_BY_ROW = ("search.rescore", "search.oversampling", "search.hnsw_ef", "search.limit")  # each row has its own
_JUDGED_AFTERWARDS = "slo"
_OF_DATA = ("dataset", "embedding")
DATA, SETTINGS, DATATYPE = "data", "settings", "datatype"
_CHANGES_RESULTS = ("index.", "storage.", "search.filter", "engine.shards")  # of a baseline


# What sets collections of one quantization apart, and how it is told in a name.
_TOLD = {
    "dataset": "{}",
    DATA: "{}",
    "embedding_size": "{} dimensions",
    "storage": "storage {}",
    SETTINGS: "{}",
    "limit": "limit {}",
}


def varying(rows: Sequence[Row]) -> list[str]:
    """Return the parameters beside quantization, rescore and oversampling in which the rows differ."""
    measured = [row for row in rows if row.params.get("role") != "failed"]
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

    `settings` holds what differs in how collections are built and searched, such as `index.m=8`, `data` what differs
    in the data; both are left out where there is nothing to tell. A baseline's lack what its quantization sets.
    `datatype` is that of storages that differ in it.
    """
    differing = _differing([(config, rows[-1].params) for config, rows in jobs if rows])
    several = len({_text(config, "storage.datatype") for config, rows in jobs if rows}) > 1
    return [[_told(row, config, differing, several) for row in rows] for config, rows in jobs]


def changing_results(baseline: Row) -> tuple[str, ...]:
    """Return those of a baseline's settings that change what it finds."""
    return tuple(one for one in baseline.params.get(SETTINGS, "").split() if one.startswith(_CHANGES_RESULTS))


def method_name(params: Mapping[str, str]) -> str:
    """Return a row's quantization, with the settings that set it apart if there are any."""
    quantization = "no quantization" if params.get("role") == "baseline" else params["quantization"]
    return f"{quantization} ({params[SETTINGS]})" if SETTINGS in params else quantization


def _told(row: Row, config: Mapping[str, Any], differing: Sequence[str], several_datatypes: bool) -> Row:
    own = [key for key in differing if not (row.params.get("role") == "baseline" and _group(key) == "quantization")]
    told = {
        DATA: [key for key in own if _group(key) in _OF_DATA],
        SETTINGS: [key for key in own if _group(key) not in _OF_DATA],
    }
    texts = {name: " ".join(f"{key}={_text(config, key)}" for key in keys) for name, keys in told.items() if keys}
    if several_datatypes:
        texts[DATATYPE] = _text(config, "storage.datatype")
    return replace(row, params=row.params | texts)


def _differing(jobs: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]) -> list[str]:
    """Return the keys that have several values under one name of their group."""
    found = []
    for key in dict.fromkeys(key for config, _ in jobs for key in config):
        if _group(key) == _JUDGED_AFTERWARDS or key.startswith(_ROW_BY_ROW):
            continue
        values: dict[str, set[str]] = defaultdict(set)
        for config, params in jobs:
            values[params.get(_NAMED.get(_group(key), ""), "")].add(_text(config, key))
        if any(len(several) > 1 for several in values.values()):
            found.append(key)
    names = {_group(key) for key in found if key.endswith(".name")}  # a preset that differs says it all
    return [key for key in found if _group(key) not in names or key.endswith(".name")]


def _group(key: str) -> str:
    return key.partition(".")[0]


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return "null" if value in (None, "None") else str(value)
