"""What is found in payloads to be indexed, field by field."""

import json
from typing import Any

import pytest

from qexp.sizing.fields import count_fields


@pytest.mark.parametrize(
    ("kind", "found", "points", "values", "keys"),
    [
        ("keyword", ["a", ["a", "b", "b"], 3, None, [], [None, 1]], 2, 3, 2),
        ("integer", [1, 1.0, [2, 3], 1.5, True, "4", 2**70, 10**400, float("inf")], 3, 4, 3),
        ("integer", [2**63 - 1, 2**63, -(2**63), -(2**63) - 1], 2, 2, 2),
        ("float", [1, 1.5, [2.5, 2.5], True, "4", 10**400, float("inf"), float("nan")], 3, 3, 0),
        ("bool", [True, [False, True], 1, "true"], 2, 3, 2),
        ("datetime", ["2020-01-01", "2020-01-01T10:00:00Z", "no date", 2020], 2, 2, 0),
        ("uuid", ["00000000-0000-0000-0000-000000000001", "00000000000000000000000000000001", "?"], 2, 2, 1),
        ("text", ["The cat, the dog_s", ["cats", "a cat"], 3, ""], 2, 7, 6),
        (
            "geo",
            [{"lon": 13.4, "lat": 52.5}, {"lon": 13.4, "lat": 52.5}, {"lon": 1}, {"lat": 1}, "13.4, 52.5"],
            2,
            2,
            13,
        ),
        ("geo", [{"lon": lon, "lat": lat} for lon in (-180, 180, -181, 181) for lat in (-90, 90)], 4, 4, 49),
        ("geo", [{"lon": 0, "lat": lat} for lat in (-91, 91)], 0, 0, 0),
    ],
)
def test_what_is_indexed(kind: str, found: list[Any], points: int, values: int, keys: int) -> None:
    counts = count_fields([json.dumps({"field": one}) for one in found], {"field": kind})["field"]
    assert (counts.points, counts.values) == (points, values)
    assert counts.keys.total(lambda key, count: 1) == keys


def test_values_of_points_with_several_are_counted_apart() -> None:
    lines = [json.dumps({"field": one}) for one in ("a", ["a", "b", "b"], ["c", "c"], ["a", "b", "c"])]
    assert count_fields(lines, {"field": "keyword"})["field"].several == 2 + 3


@pytest.mark.parametrize(
    ("lon", "lat", "prefixes"),
    [
        (13.4, 52.5, [(0, 0, 0), (1, 4, 3), (2, 17, 25), (3, 137, 101)]),  # "u33": 11010 00011 00011, longitude first
        (-180, -90, [(length, 0, 0) for length in range(13)]),
        (180, 90, [(1, 7, 3), (2, 31, 31), (3, 255, 127), (12, 2**30 - 1, 2**30 - 1)]),
    ],
)
def test_prefixes_of_a_geohash(lon: float, lat: float, prefixes: list[tuple[int, int, int]]) -> None:
    keys = count_fields([json.dumps({"field": {"lon": lon, "lat": lat}})], {"field": "geo"})["field"].keys
    assert all(prefix in keys for prefix in prefixes)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("a", 1),
        ("a.x", 0),
        ("a[]", 0),
        ("b[0]", 0),
        ("b.c", 1),
        ("d", 2),
        ("d[]", 2),
        ("d[0]", 1),
        ("d[1]", 1),
        ("d[7]", 0),
        ("e[].f", 2),
        ("e.f", 0),
        ('"g.h"', 1),
    ],
)
def test_fields_are_json_paths(path: str, values: int) -> None:
    payload = {"a": "x", "b": {"c": "x"}, "d": ["x", "y"], "e": [{"f": "x"}, {"f": "y"}, {}], "g.h": "x"}
    assert count_fields([json.dumps(payload)], {path: "keyword"})[path].values == values
