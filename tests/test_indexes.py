"""Predicted bytes of payload indexes, by exact numbers and against the engine's own files and heap."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from qexp.config import CostConfig
from qexp.data.payload import payload_lines
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.results import PAYLOAD_INDEXES, CollectionSpec
from qexp.sizing.cost import priced_ram
from qexp.sizing.indexes import NO_INDEXES, IndexSize, index_size, packed_bits, preallocated
from qexp.sizing.payload import PayloadSize, by_guide
from qexp.sizing.ram import predict_ram
from tests.test_edge import spec, vectors

NO_BLOCKS = 10**7  # KiB: no links among the points that share a value
FLAGS = 2**20


def some(value: Callable[[int, np.random.Generator], Any]) -> Callable[[int, np.random.Generator], Any]:
    """The value in half of the points."""
    return lambda row, rng: value(row, rng) if rng.random() < 0.5 else None


def lists(of: Callable[[int], Any]) -> Callable[[int, np.random.Generator], Any]:
    """No to five values, of 300 that differ."""
    return lambda row, rng: [of(int(number)) for number in rng.integers(300, size=rng.integers(0, 6))]


def words(rng: np.random.Generator, count: int) -> str:
    """Some words everywhere, most hardly anywhere, as in language."""
    return " ".join(f"word{int(number)}" for number in np.minimum(rng.zipf(1.3, count), 100_000))


VALUES: dict[str, Callable[[int, np.random.Generator], Any]] = {
    "keyword distinct": lambda row, rng: f"value {row}",
    "keyword ten": lambda row, rng: f"value {row % 10}",
    "keyword half": some(lambda row, rng: f"value {row % 1000}"),
    "keyword lists": lists(lambda number: f"tag {number}"),
    "keyword long": lambda row, rng: f"a value that is rather long, because of all the words that it has, and {row}",
    "integer distinct": lambda row, rng: row * 7,
    "integer ten": lambda row, rng: row % 10,
    "integer half": some(lambda row, rng: int(rng.integers(10_000))),
    "integer lists": lists(int),
    "float distinct": lambda row, rng: float(rng.normal()),
    "float half": some(lambda row, rng: float(rng.integers(10))),
    "float lists": lists(lambda number: number / 7),
    "geo distinct": lambda row, rng: {"lon": rng.uniform(-180, 180), "lat": rng.uniform(-85, 85)},
    "geo places": lambda row, rng: {"lon": 13.4 + 0.1 * int(rng.integers(20)), "lat": 52.5},
    "geo half": some(lambda row, rng: {"lon": 13.4 + 0.05 * rng.normal(), "lat": 52.5 + 0.05 * rng.normal()}),
    "text": lambda row, rng: words(rng, int(rng.integers(1, 60))),
    "text half": some(lambda row, rng: words(rng, 10)),
    "bool distinct": lambda row, rng: bool(row % 2),
    "bool half": some(lambda row, rng: bool(row % 3)),
    "datetime distinct": lambda row, rng: (datetime(2020, 1, 1) + timedelta(minutes=row)).isoformat() + "Z",
    "datetime half": some(lambda row, rng: (datetime(2020, 1, 1) + timedelta(days=row % 30)).isoformat()),
    "uuid distinct": lambda row, rng: str(UUID(int=row * 12345678901234567)),
    "uuid ten": lambda row, rng: str(UUID(int=row % 10)),
}
SIZES = [(name, n) for name in VALUES for n in (1000, 4000)] + [
    pytest.param(name, n, marks=pytest.mark.slow) for name in VALUES for n in (20_000, 70_000)
]


def write(path: Path, name: str, n: int) -> None:
    rng = np.random.default_rng(1)
    values = [VALUES[name](row, rng) for row in range(n)]
    path.write_text("".join(json.dumps({} if value is None else {"field": value}) + "\n" for value in values))


def indexed(kind: str, n: int) -> CollectionSpec:
    asked = spec("none", size=4, points=n, m=0, full_scan_threshold=NO_BLOCKS)  # a graph would take the longest
    return replace(asked, payload_indexes={"field": kind} if kind else {})


@pytest.mark.parametrize(("name", "n"), SIZES)
def test_the_prediction_is_within_2_percent_of_the_files(name: str, n: int, tmp_path: Path) -> None:
    lines = tmp_path / "payload.jsonl"
    write(lines, name, n)
    asked = indexed(name.split()[0], n)
    built = build_collection(EdgeEngine(tmp_path / "c"), asked, vectors(4, n), lines).state.files[PAYLOAD_INDEXES]
    size = index_size(payload_lines(lines, n), n, asked.payload_indexes)
    whole = n * size.stored + preallocated(asked, size)
    assert whole == pytest.approx(built, rel=0.002)  # most of it preallocated where there are few points
    flags = size.flags * FLAGS
    assert whole - flags == pytest.approx(built - flags, rel=0.02, abs=100)


HEAPS = [
    "keyword ten",
    "keyword lists",
    "integer distinct",
    "float lists",
    "datetime half",
    "geo half",
    "text",
    "text half",
    "uuid ten",
]
HEAP_POINTS = 200_000
ALLOCATOR = 2**20  # what it keeps beside, some 0.1 MB on one machine and 0.7 MB on another


def heap_of(asked: CollectionSpec, folder: Path, payload: Path | None) -> float:
    """The heap of a process that has loaded the collection, in bytes: the median of three."""
    queries = folder / "queries.npy"
    np.save(queries, vectors(4, 10))
    build_collection(EdgeEngine(folder), asked, vectors(4, asked.points), payload)
    heaps = []
    for _ in range(3):
        with Worker(partial(EdgeEngine, folder), queries, "test") as worker:
            worker.open(asked)
            memory = worker.memory()
            assert memory is not None
            heaps.append(memory.heap)
    return median(heaps)


@pytest.fixture(scope="module")
def bare_heap(tmp_path_factory: pytest.TempPathFactory) -> float:
    return heap_of(indexed("", HEAP_POINTS), tmp_path_factory.mktemp("bare"), None)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAPS)
def test_the_prediction_is_within_15_percent_of_the_heap(name: str, bare_heap: float, tmp_path: Path) -> None:
    n, lines = HEAP_POINTS, tmp_path / "payload.jsonl"
    write(lines, name, n)
    asked = indexed(name.split()[0], n)
    heap = heap_of(asked, tmp_path, lines) - bare_heap
    size = index_size(payload_lines(lines, n), n, asked.payload_indexes)
    assert n * size.ram == pytest.approx(heap, rel=0.15, abs=ALLOCATOR)


def test_sizes_by_exact_numbers() -> None:
    assert index_size([], 100, {}) == NO_INDEXES
    lines = ['{"a": true}', '{"a": false}', '{"a": [true, false]}', '{"b": true}'] * 2
    assert index_size(lines, 8, {"a": "bool"}) == IndexSize(4 / 8, 3 / 8, 4)
    page, ranges, deleted = 4096, 8 * 16, 8
    lines = ['{"a": "xy"}', '{"a": ["xy", "z", "z"]}', '{"a": ["z"]}', "{}"] * 2
    values, entries = 4 * (4 + 2) + 4 * (4 + 1), 2 * (8 + 4 + 4 + 4 * 4)  # two keys, each of four points
    stored = page + ranges + deleted + values + page + entries
    assert index_size(lines, 8, {"a": "keyword"}) == IndexSize((stored + 2) / 8, (33 * 4 + 32 + 24 * 8 + 64 + 1) / 8, 2)


def test_flags_are_preallocated_by_powers_of_two() -> None:
    size = IndexSize(10.0, 10.0, 2)
    assert preallocated(spec(points=8000), size) == 2 * (FLAGS - 1000)
    assert preallocated(spec(points=2**23 + 8), size) == 2 * (2 * FLAGS - FLAGS - 1)
    assert preallocated(spec(points=8000, segments=2), size) == 2 * 2 * (FLAGS - 500)
    assert preallocated(spec(points=8000, segments=2, shards=2), size) == 4 * 2 * (FLAGS - 250)
    assert preallocated(spec(points=8000), NO_INDEXES) == 0


def test_bits_of_packed_points() -> None:
    assert packed_bits(1.0) == pytest.approx(1.0)  # every difference is 1
    assert packed_bits(0.999) == pytest.approx(2 - 0.999**127, abs=1e-5)  # one bit if all 127 are 1, else mostly two
    assert packed_bits(0.5) == pytest.approx(3.5, abs=0.5)
    assert packed_bits(0.001) == pytest.approx(np.log2(5430) + 0.5, abs=0.3)


def test_indexes_are_priced_whatever_payload_is() -> None:
    asked, size = spec("scalar", points=1000), IndexSize(50.0, 40.0, 2)
    part = predict_ram(asked, payload=PayloadSize(100, 90, size)).components[-1]
    assert (part.name, part.need, part.bytes, part.disk) == (PAYLOAD_INDEXES, "resident", 40_000, 50_000)
    assert part.guide == 0  # which knows nothing of them
    assert part.spare == 2 * (FLAGS - 125)
    bare = predict_ram(asked, payload=by_guide(200))
    priced = priced_ram(asked, lambda spec: 15.0, PayloadSize(100, 90, size), CostConfig("own", payload_bytes=200))
    assert (priced.ram - bare.ram, priced.disk - bare.disk) == (40_000, 50_000)


NULLS = 1  # bytes in RAM of eight points without a value


def of_eight(kind: str, *found: Any) -> IndexSize:
    """The index of eight points, the values of four of which are these, each twice."""
    lines = [json.dumps({"a": one}) for one in found for _ in range(2)] + ["{}"] * (8 - 2 * len(found))
    return index_size(lines, 8, {"a": kind})


def ram(kind: str, *found: Any) -> float:
    """Bytes in RAM of an index of eight points."""
    return 8 * of_eight(kind, *found).ram - NULLS


def files(kind: str, *found: Any) -> float:
    """Bytes in files of an index of eight points, without the two of its flags."""
    return 8 * of_eight(kind, *found).stored - 2


PLACE, FAR = {"lon": 13.4, "lat": 52.5}, {"lon": -70.0, "lat": -30.0}  # which share no letter of their geohashes


def test_bytes_in_ram_by_exact_numbers() -> None:
    histogram = 2 * 28 * 6 / 8
    assert ram("float", 1.5, [2.5, 3.5]) == 16 * 6 + (16 * 8 + 8 * 4) + histogram
    assert ram("datetime", "2020-01-01", ["2021-01-01", "2022-01-01"]) == ram("float", 1.5, [2.5, 3.5])
    lookup = 25 * 4 + 4 * 6 + (16 * 8 + 8 * 4)  # three keys in four slots, six values
    assert ram("integer", 1, [2, 3]) == lookup + ram("float", 1.5, [2.5, 3.5])
    one, two = (str(UUID(int=number)) for number in (1, 2))
    assert ram("uuid", one, two) == 33 * 4 + 4 * 4 + 32 * 8
    assert ram("uuid", [one, two]) == 33 * 4 + 4 * 4 + (32 * 8 + 16 * 4)
    assert ram("geo", PLACE, PLACE) == 16 * 13 + 12 + 4 * 4 + 24 * 8
    assert ram("geo", [PLACE, FAR]) == 16 * 25 + 12 * 2 + 4 * 4 + (24 * 8 + 16 * 4)
    few = ['{"a": true}'] * 3 + ['{"a": false}'] + ["{}"] * 796  # two bytes a point in the bitmaps of values and nulls
    assert index_size(few, 800, {"a": "bool"}).ram * 800 == 2 * 3 + 2 * 1 + 2 * 4
    word = 104 + 32 + 32  # two words, each in four points
    assert ram("text", "the cat", "cat, the") == 4 * 8 + 33 * 4 + 2 * word


def test_bytes_in_files_by_exact_numbers() -> None:
    points, hash_map = 4096 + 16 * 8 + 8, 4096  # without the values of the points, and without buckets and entries
    ranges = points + 8 * 6 + 16 * 6 + (32 + 16) + 28 * 6 / 8
    assert files("float", 1.5, [2.5, 3.5]) == ranges
    lookup = points + 8 * 6 + hash_map + 3 * (8 + 24)  # of each key 8, 4 and two points of 4, padded to 8
    assert files("integer", 1, [2, 3]) == lookup + ranges
    assert files("uuid", str(UUID(int=1)), str(UUID(int=2))) == points + 16 * 4 + hash_map + 2 * (8 + 32)
    assert files("geo", PLACE, PLACE) == 16 * (13 + 1) + 2 * (32 + 16) + points + (16 + 4) * 4
    postings, vocabulary = 2 * (28 + 4 * 4), hash_map + 2 * (8 + 4 + 8)  # of two words, each in four points
    assert files("text", "the cat", "cat, the") == 8 + 8 * 8 + 40 + postings + vocabulary
    lines = ['{"a": "word"}', "{}"] * 128  # a chunk of packed points
    postings, vocabulary = 28 + 8 + 128 / 8 * packed_bits(0.5), hash_map + 8 + (8 + 4 + 4)
    assert index_size(lines, 256, {"a": "text"}).stored * 256 == 64 + 32 + 8 * 256 + 40 + postings + vocabulary


def more_bytes(kind: str, value: Callable[[int], Any], points: int, more: int) -> float:
    """What that many more points add to the files of an index, without its flags."""
    sizes = [
        n * index_size((json.dumps({"a": value(row)}) for row in range(n)), n, {"a": kind}).stored - n / 4
        for n in (points, points + more)
    ]
    return sizes[1] - sizes[0]


@pytest.mark.parametrize(
    ("kind", "points", "more", "size"),
    [
        ("float", 1016, 8, 8 * (16 + 8 + 16 + 28 / 8)),
        ("float", 1024, 1, 16 + 8 + 16 + 28 / 8 + 16 + 8),  # one more block, and 8 bytes of the mask
        ("float", 1592, 16, 16 * (16 + 8 + 16) + 8 + 28),  # one more border, the last of 200
        ("keyword", 5000, 1, 16 + (4 + 4) + 8 + (8 + 4 + 4)),  # four characters and an end are padded to 8
        ("keyword", 11_951, 1, 16 + (5 + 4) + 8 + (8 + 4 + 4)),
        ("keyword", 11_952, 1, 16 + (5 + 4) + 8 + (8 + 4 + 4) + 4096),  # 32 + 11,953 × 0.34 is more than a page
        ("text", 127, 1, 8 + (8 + 16) - 4 * 127),  # 128 differences of 1, each a bit
        ("text", 128, 1, 8 + 4 + 8),
    ],
)
def test_files_grow_by_exact_numbers(kind: str, points: int, more: int, size: float) -> None:
    value = {"float": float, "keyword": str, "text": lambda row: "word"}[kind]
    assert more_bytes(kind, value, points, more) == pytest.approx(size, abs=1e-6)


@pytest.mark.parametrize(("length", "own"), [(15, 0), (16, 3 * 48), (24, 3 * 48), (25, 3 * 64), (40, 3 * 64)])
def test_long_keywords_have_an_allocation_for_each_point_and_one(length: int, own: int) -> None:
    assert ram("keyword", "x" * length) == 33 * 4 + 4 * 2 + 24 * 8 + own


@pytest.mark.parametrize(("keys", "slots"), [(1, 4), (3, 4), (4, 8), (7, 8), (8, 16)])
def test_a_hash_table_is_at_most_seven_eighths_full(keys: int, slots: int) -> None:
    lines = [json.dumps({"a": f"{number % keys}"}) for number in range(8)]
    assert 8 * index_size(lines, 8, {"a": "keyword"}).ram - NULLS == 33 * slots + 4 * 8 + 24 * 8
