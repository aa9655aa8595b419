"""Every kind of condition, judged by Qdrant Edge itself on five points."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.errors import ConfigError, EngineError
from qexp.results import CollectionSpec, OperatingPoint
from tests.test_edge import spec

PAYLOADS: list[dict[str, Any]] = [
    {"city": "Berlin", "year": 2001, "at": "2001-05-01T00:00:00Z", "place": {"lon": 13.4, "lat": 52.5}},
    {"city": "Paris", "year": 2005, "at": "2005-05-01T00:00:00Z", "place": {"lon": 2.35, "lat": 48.85}},
    {"city": "Rome", "year": 2010, "tags": ["a", "b"], "parts": [{"kind": "x", "n": 1}, {"kind": "y", "n": 2}]},
    {"city": "Rome", "year": 2012, "tags": ["b"], "parts": [{"kind": "x", "n": 2}]},
    {"year": None, "text": "a quick fox"},
]
AROUND_PARIS = {"top_left": {"lon": 2.0, "lat": 49.0}, "bottom_right": {"lon": 3.0, "lat": 48.0}}
RING, AROUND = (  # around Berlin, and around that and Paris
    {"points": [{"lon": x, "lat": y} for x, y in ((w, s), (e, s), (e, n), (w, n), (w, s))]}
    for w, s, e, n in ((12, 52, 14, 53), (1, 47, 15, 54))
)


def key(name: str, **condition: Any) -> dict[str, Any]:
    return {"key": name, **condition}


class Built(NamedTuple):
    """Where the collection is, and its spec."""

    home: Path
    asked: CollectionSpec


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("filtered")
    (folder / "payload.jsonl").write_text("".join(json.dumps(one) + "\n" for one in PAYLOADS))
    asked = spec(size=4, points=5, payload_indexes={"city": "keyword", "year": "integer"})
    points = np.eye(5, 4, dtype=np.float32) + 0.1
    build_collection(EdgeEngine(folder / "home"), asked, points, folder / "payload.jsonl")
    return Built(folder / "home", asked)


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({"must": [key("city", match={"value": "Rome"})]}, [2, 3]),
        ({"must": key("city", match={"value": "Rome"})}, [2, 3]),
        ({"must_not": [key("city", match={"value": "Rome"})]}, [0, 1, 4]),
        ({"should": [key("year", match={"value": 2001}), key("year", match={"value": 2005})]}, [0, 1]),
        ({"must": [key("city", match={"any": ["Rome", "Paris"]})]}, [1, 2, 3]),
        ({"must": [key("city", match={"except": ["Rome"]})]}, [0, 1]),
        ({"must": [key("text", match={"text": "quick"})]}, [4]),
        ({"must": [key("year", range={"gte": 2005, "lt": 2012})]}, [1, 2]),
        ({"must": [key("at", range={"gt": "2002-01-01T00:00:00Z"})]}, [1]),
        ({"must": [key("place", geo_bounding_box=AROUND_PARIS)]}, [1]),
        ({"must": [key("place", geo_radius={"center": {"lon": 13.4, "lat": 52.5}, "radius": 1000.0})]}, [0]),
        ({"must": [key("place", geo_polygon={"exterior": RING})]}, [0]),
        ({"must": [key("place", geo_polygon={"exterior": AROUND, "interiors": [RING]})]}, [1]),
        ({"must": [key("tags", values_count={"gte": 2})]}, [2]),
        ({"must": [{"is_empty": {"key": "tags"}}]}, [0, 1, 4]),
        ({"must": [{"is_null": {"key": "year"}}]}, [4]),
        ({"must": [{"has_id": [1, 3]}]}, [1, 3]),
        ({"should": [{"slice": {"total": 2, "index": index}} for index in (0, 1)]}, [0, 1, 2, 3, 4]),
        ({"must": [{"slice": {"total": 1, "index": 0}}, {"has_id": [3]}]}, [3]),
        ({"must": [{"nested": {"key": "parts", "filter": {"must": [
            key("kind", match={"value": "x"}), key("n", match={"value": 2})]}}}]}, [3]),
        ({"must": [{"should": [key("year", match={"value": 2010}), {"has_id": [0]}]}]}, [0, 2]),
        ({"min_should": {"conditions": [key("city", match={"value": "Rome"}), {"has_id": [2]}, {"has_id": [0]}],
                         "min_count": 2}}, [2]),
    ],
    ids=lambda given: json.dumps(given)[:60],
)  # fmt: skip
def test_a_filter_of_qdrants_keeps_the_same_points(engine: Built, given: Any, rows: list[int]) -> None:
    filtered = EdgeEngine(engine.home, given)
    assert filtered.open(engine.asked)
    try:
        assert filtered.matching() == rows
        search = filtered.search(OperatingPoint(5))
        assert sorted(search.ids(search.call(search.prepare([1.0, 0.0, 0.0, 0.0])))) == rows
    finally:
        filtered.close()


def test_a_condition_that_is_not_translated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HasVectorCondition is not translated for Qdrant Edge; use engine=server"):
        EdgeEngine(tmp_path, {"must": [{"has_vector": "image"}]})


@pytest.mark.parametrize("clause", ["must", "should", "must_not"])
def test_a_boolean_which_edge_would_never_match_is_refused(clause: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Qdrant Edge matches no booleans; use engine=server"):
        EdgeEngine(tmp_path, {clause: [key("open", match={"value": True})]})


def test_exact_search_finds_what_a_full_sort_finds(engine: Built) -> None:
    unfiltered = EdgeEngine(engine.home)
    assert unfiltered.open(engine.asked)
    search = unfiltered.search(OperatingPoint(5, exact=True))
    assert search.ids(search.call(search.prepare([0.0, 0.0, 1.0, 0.9])))[:2] == [2, 3]
    unfiltered.close()


def test_a_name_that_is_no_path_is_told_to_be_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^search\.filter: invalid JSON path sp ace; put a name"):
        EdgeEngine(tmp_path, {"must": [key("sp ace", match={"value": 3})]})
    EdgeEngine(tmp_path, {"must": [key('"sp ace"', match={"value": 3})]})


def test_a_place_that_is_none_is_told_as_edge_tells_it(tmp_path: Path) -> None:
    circle = {"center": {"lon": 0, "lat": 95}, "radius": 1}
    with pytest.raises(ConfigError, match=r"^search\.filter: Wrong format of GeoPoint .* within \[-180;180\]$"):
        EdgeEngine(tmp_path, {"must": [key("city", geo_radius=circle)]})


@pytest.mark.parametrize(
    "condition",
    [
        {"has_id": [-1]},
        {"has_id": [2**64]},
        {"slice": {"total": -2, "index": 0}},
        key("n", match={"value": 2**63}),
        key("n", match={"any": [2**63]}),
        key("n", values_count={"gte": -1}),
    ],
    ids=str,
)
def test_an_integer_that_edge_does_not_take_is_one_line(tmp_path: Path, condition: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"^search\.filter: an integer in it is negative where it counts, or beyond 64"
    ):
        EdgeEngine(tmp_path, {"must": [condition]})


def test_an_index_on_a_name_that_is_no_path_is_one_line(tmp_path: Path) -> None:
    engine = EdgeEngine(tmp_path)
    engine.create(asked := spec(payload_indexes={"sp ace": "integer"}))
    with pytest.raises(EngineError, match="Qdrant Edge: invalid JSON path sp ace"):
        engine.upload(np.zeros((asked.points, asked.size), dtype=np.float32))
    engine.close()
