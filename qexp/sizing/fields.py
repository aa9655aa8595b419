"""What Qdrant's payload indexes find in payloads: the values of a field, by the kind of its index, and their counts."""

import json
import re
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from qexp.sizing.distinct import Distinct

_STEP = re.compile(r'"([^"]*)"|\[(\d*)\]|([^.\[\]"]+)')  # of a JSON path: "a key", [], [3], a_key
_WORD = re.compile(r"[^\W_]+")  # Qdrant's default tokenizer splits at what is not alphanumeric
_INTEGERS = range(-(2**63), 2**63)
GEOHASH = 12  # characters of 5 bits, the first of them of longitude
_GEO_BITS = 30


class FieldCounts:
    """How many points have values in one field, how many values they are, and how many of them differ.

    `several` values are those of points with more than one. `keys` are distinct values; of a text index its words, of
    a geo index every prefix of every geohash, as (length, cell east, cell north).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.points = self.values = self.several = 0
        self.keys = Distinct()
        self._read = _READERS[kind]

    def add(self, found: Sequence[Any]) -> None:
        """Count what the field holds in one more point."""
        values = list(dict.fromkeys(value for one in found for value in self._read(one)))
        if not values:
            return
        self.points += 1
        self.values += len(values)
        self.several += len(values) if len(values) > 1 else 0
        if self.kind == "geo":
            self._add_prefixes(values)
        elif self.kind not in ("float", "datetime"):  # whose values are sorted, whatever they are
            for value in values:
                self.keys.add(value)

    def _add_prefixes(self, cells: Iterable[Any]) -> None:
        for east, north in cells:
            for length in range(GEOHASH, -1, -1):
                key = geohash_prefix(east, north, length)
                if key in self.keys:  # and so are the shorter ones, in as far as they are counted
                    break
                self.keys.add(key)


def count_fields(lines: Iterable[str], kinds: dict[str, str]) -> dict[str, FieldCounts]:
    """Return the counts of every field in `kinds` (field to kind of index) over payloads, each a JSON object."""
    if not kinds:
        return {}
    counts = {field: FieldCounts(kind) for field, kind in kinds.items()}
    paths = {field: _path(field) for field in kinds}
    for line in lines:
        payload = json.loads(line)
        for field, path in paths.items():
            counts[field].add(_flat(_values(payload, path)))
    return counts


def geohash_prefix(east: int, north: int, length: int) -> tuple[int, int, int]:
    """Return what tells the first `length` characters of a geohash from others: length, and the cell's two numbers."""
    bits = 5 * length
    return length, east >> (_GEO_BITS - (bits + 1) // 2), north >> (_GEO_BITS - bits // 2)


def _path(field: str) -> list[str | int | None]:
    """Return the steps of a JSON path: a key, an index, or None for every element."""
    return [quoted or key or (int(index) if index else None) for quoted, index, key in _STEP.findall(field)]


def _values(value: Any, path: Sequence[str | int | None]) -> list[Any]:
    """Return what is at the path; nothing where it leads nowhere."""
    found = [value]
    for step in path:
        if isinstance(step, str):
            found = [one[step] for one in found if isinstance(one, dict) and step in one]
        else:
            lists = [one for one in found if isinstance(one, list)]
            found = [item for one in lists for item in (one if step is None else one[step : step + 1])]
    return found


def _flat(found: Iterable[Any]) -> list[Any]:
    return [item for one in found for item in (one if isinstance(one, list) else [one])]


def _of_type(kind: type, value: Any) -> list[Hashable]:
    return [value] if isinstance(value, kind) else []


def _number(value: Any) -> list[float]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return [value] if number and abs(value) <= sys.float_info.max else []


def _integer(value: Any) -> list[int]:
    return [int(number) for number in _number(value) if number == int(number) and int(number) in _INTEGERS]


def _text(value: Any) -> list[Hashable]:
    return [word.lower() for word in _WORD.findall(value)] if isinstance(value, str) else []


def _parsed(parse: Callable[[str], Hashable], value: Any) -> list[Hashable]:
    try:
        return [parse(value)] if isinstance(value, str) else []
    except ValueError:
        return []


def _geo(value: Any) -> list[Hashable]:
    """Return the cell of a point in the finest geohash."""
    if not isinstance(value, dict):
        return []
    lon, lat = _number(value.get("lon")), _number(value.get("lat"))
    if not (lon and lat and -180 <= lon[0] <= 180 and -90 <= lat[0] <= 90):
        return []
    cells, most = 2**_GEO_BITS, 2**_GEO_BITS - 1
    return [(min(most, int((lon[0] + 180) / 360 * cells)), min(most, int((lat[0] + 90) / 180 * cells)))]


_READERS: dict[str, Callable[[Any], Sequence[Hashable]]] = {
    "keyword": partial(_of_type, str),
    "integer": _integer,
    "float": _number,
    "geo": _geo,
    "text": _text,
    "bool": partial(_of_type, bool),
    "datetime": partial(_parsed, datetime.fromisoformat),
    "uuid": partial(_parsed, UUID),
}
