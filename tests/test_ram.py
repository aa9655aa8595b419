"""Predicted bytes by exact numbers, and against the engine's own files."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from qexp.config.collection import DATATYPES
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.results import DATATYPE_BITS, CollectionSpec, Component
from qexp.sizing.links import forward_links
from qexp.sizing.payload import allocated, by_guide
from qexp.sizing.ram import (
    ID_TRACKER_HEAP,
    ID_TRACKER_PAGES,
    centroid_bytes,
    code_bytes,
    entry_points,
    graph_bytes,
    graph_bytes_guide,
    linked_by_signs,
    predict_ram,
)
from tests.test_edge import METHODS, spec, vectors

CODES = {
    "none": 0,
    "scalar": 1540,
    "binary": 192,
    "binary_1_5bit": 288,
    "binary_2bit": 384,
    "binary_asymmetric_4bit": 192,
    "binary_asymmetric": 192,
    "product_x4": 1536,
    "product_x8": 768,
    "product_x16": 384,
    "product_x32": 192,
    "product_x64": 96,
    "turbo_1": 200,
    "turbo_1_5": 296,
    "turbo_2": 392,
    "turbo_4": 776,
}


@pytest.mark.parametrize("method", METHODS)
def test_bytes_of_a_code_of_1536_components(method: str) -> None:
    assert code_bytes(METHODS[method], 1536, "cosine") == CODES[method]
    turbo = 4 if method.startswith("turbo") else 0
    assert code_bytes(METHODS[method], 1536, "euclid") == CODES[method] + turbo


@pytest.mark.parametrize(("size", "scalar", "binary"), [(64, 68, 16), (100, 116, 16), (129, 148, 32)])
def test_codes_are_padded(size: int, scalar: int, binary: int) -> None:
    assert code_bytes(METHODS["scalar"], size, "dot") == scalar
    assert code_bytes(METHODS["binary"], size, "dot") == code_bytes({"binary": {}}, size, "dot") == binary


LONG_TO_BUILD = [(m, size) for m in METHODS for size in (1536, 3072) if m.startswith("product")]


def enough(method: str) -> int:
    """Points that tell their bytes: few where 256 centroids have to be found, which takes the longest."""
    return 300 if method.startswith("product") else 1000


def files_of(home: Path, asked: CollectionSpec) -> dict[str, int]:
    """Build a collection, with hardly any graph, and return its files."""
    points = vectors(asked.size, asked.points)
    if asked.datatype == "uint8":
        points = np.abs(points * 255).round().astype(np.float32)
    return build_collection(EdgeEngine(home), asked, points).state.files


def agree(asked: CollectionSpec, files: dict[str, int]) -> None:
    predicted = {part.name: part.disk for part in predict_ram(asked).components}
    for part in ("vectors", "codes", "id tracker"):
        assert predicted.get(part, 0) == pytest.approx(files.get(part, 0), rel=0.02), part


@pytest.mark.parametrize(
    ("method", "size"),
    [(m, 768) for m in METHODS]
    + [(m, 3072) for m in METHODS if not m.startswith("product")]
    + [("turbo_1_5", 27), ("product_x64", 100)]  # 40.5 bits, of which half a one is left out; chunks of 16, one of 4
    + [pytest.param(*one, marks=pytest.mark.slow) for one in LONG_TO_BUILD],
)
def test_vectors_and_codes_are_within_2_percent_of_the_files(method: str, size: int, tmp_path: Path) -> None:
    asked = spec(method, size=size, points=enough(method), m=4, ef_construct=4)
    agree(asked, files_of(tmp_path, asked))


@pytest.mark.parametrize("datatype", DATATYPES[1:])
@pytest.mark.parametrize("method", METHODS)
def test_other_datatypes_are_within_2_percent_of_the_files(method: str, datatype: str, tmp_path: Path) -> None:
    asked = spec(method, size=64, points=enough(method), m=4, ef_construct=4, datatype=datatype)
    agree(asked, files_of(tmp_path, asked))


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
@pytest.mark.parametrize("datatype", ["turbo16", "turbo8", "turbo4"])
def test_norms_beside_components_are_counted(datatype: str, distance: str, tmp_path: Path) -> None:
    asked = spec("none", size=25, points=1000, m=4, ef_construct=4, datatype=datatype, distance=distance)
    assert files_of(tmp_path, asked)["vectors"] > 1000 * 25 * DATATYPE_BITS[datatype] / 8
    agree(asked, files_of(tmp_path, asked))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "size"), [(10_000, 128), (100_000, 64)])
@pytest.mark.parametrize("method", ["none", "scalar", "binary_1_5bit", "turbo_1_5", "product_x64"])
def test_many_points_are_within_2_percent_of_the_files(method: str, n: int, size: int, tmp_path: Path) -> None:
    asked = spec(method, size=size, points=n, m=4, ef_construct=4)
    agree(asked, files_of(tmp_path, asked))


def points_of(kind: str, n: int, size: int) -> np.ndarray:
    """Vectors of clusters, or without any structure: the fewest and the most links that data leads to."""
    if kind == "clusters":
        return vectors(size, n)
    drawn = np.random.default_rng(5).standard_normal((n, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "n", "size", "m", "ef_construct"),
    [
        ("clusters", 1000, 64, 8, 100),
        ("clusters", 1000, 3072, 16, 100),
        ("clusters", 10_000, 64, 16, 100),
        ("clusters", 5000, 256, 64, 100),
        ("noise", 1000, 64, 64, 100),
        ("noise", 3000, 384, 8, 100),
        ("noise", 2000, 64, 32, 200),
        pytest.param("clusters", 40_000, 64, 16, 100, marks=pytest.mark.slow),
        pytest.param("noise", 3000, 3072, 16, 100, marks=pytest.mark.slow),
    ],
)
def test_the_graph_is_within_15_percent_of_its_files(
    kind: str, n: int, size: int, m: int, ef_construct: int, tmp_path: Path
) -> None:
    points = points_of(kind, n, size)
    asked = spec("none", size=size, points=n, m=m, ef_construct=ef_construct, full_scan_threshold=100)
    built = build_collection(EdgeEngine(tmp_path), asked, points).state.files["graph"]
    graph = next(
        part
        for part in predict_ram(asked, forward_links(points, m, ef_construct, "cosine")).components
        if part.name == "graph"
    )
    assert graph.disk == pytest.approx(built, rel=0.15)
    assert graph.guide > 1.3 * built


@pytest.mark.parametrize("kind", ["clusters", "noise"])
def test_every_segment_and_shard_has_a_graph_of_its_own(kind: str, tmp_path: Path) -> None:
    whole = spec("none", size=64, points=8000, full_scan_threshold=10)
    points, alone = points_of(kind, 8000, 64), replace(whole, points=2000)
    shares = points.reshape(4, 2000, 64)
    built = sum(
        build_collection(EdgeEngine(tmp_path / str(number)), alone, share).state.files["graph"]
        for number, share in enumerate(shares)
    )
    forward = forward_links(points, whole.m, whole.ef_construct, "cosine")

    def predicted(segments: int, shards: int) -> int:
        asked = replace(whole, segments=segments, shards=shards)
        return next(part.bytes for part in predict_ram(asked, forward).components if part.name == "graph")

    assert predicted(4, 1) == predicted(2, 2) == 4 * graph_bytes(2000, 16, forward, entry_points(alone))
    assert predicted(4, 1) == pytest.approx(built, rel=0.15)
    assert predicted(1, 1) > 1.1 * predicted(4, 1)


@pytest.mark.parametrize("method", ["binary", "binary_1_5bit", "binary_2bit", "turbo_1", "turbo_1_5", "turbo_2"])
def test_a_graph_built_by_codes_of_few_bits_is_within_15_percent_and_larger(method: str, tmp_path: Path) -> None:
    points = points_of("clusters", 5000, 384)
    asked = spec(method, size=384, points=5000, m=16, ef_construct=100, full_scan_threshold=100)
    built = build_collection(EdgeEngine(tmp_path), asked, points).state.files["graph"]
    signs, floats = (forward_links(points, 16, 100, "cosine", by_signs) for by_signs in (True, False))
    assert graph_bytes(5000, 16, signs, entry_points(asked)) == pytest.approx(built, rel=0.15)
    assert signs > floats


def test_codes_of_at_most_two_bits_are_linked_by_signs() -> None:
    of_few_bits = {method for method in METHODS if linked_by_signs(METHODS[method])}
    assert of_few_bits == {method for method in METHODS if method.startswith("binary")} | {
        "turbo_1",
        "turbo_1_5",
        "turbo_2",
    }
    assert not linked_by_signs({"turbo": {}})  # four bits, where nothing is said


def test_the_graph_by_exact_numbers() -> None:
    assert graph_bytes_guide(1_000_000, 16) == 153_600_000
    # no links: reindex, an offset a point and layer, one entry point
    assert graph_bytes(1000, 16, 0.0) == round(1000 * (4 + 1.3 + 1.3 / 15)) + 12
    assert graph_bytes(1000, 16, 10.0, entry_points=100) - graph_bytes(1000, 16, 10.0) == 99 * 12


def test_entry_points_are_ten_for_every_full_scan_threshold() -> None:
    asked = spec("none", size=256, points=6000, full_scan_threshold=2000)  # 2000 KiB are 2000 vectors
    assert entry_points(asked) == 30
    assert entry_points(replace(asked, points=5999)) == 20
    assert entry_points(replace(asked, full_scan_threshold=1)) == 6000  # not more than there are points
    assert entry_points(replace(asked, full_scan_threshold=10_000)) == 1
    assert entry_points(replace(asked, size=257, full_scan_threshold=1)) == 1  # in which not one vector fits


def test_placement_says_what_must_be_in_ram() -> None:
    def needs(**storage: str) -> dict[str, str]:
        return {part.name: part.need for part in predict_ram(replace(spec("scalar"), **storage)).components}

    on_disk = {"vectors": "disk", "codes": "resident", "graph": "hot", "id tracker": "resident"}
    assert needs() == on_disk
    assert needs(hnsw="cold") == on_disk  # every search walks it
    assert needs(vectors="cached") == {**on_disk, "vectors": "hot"}
    assert needs(quantized="cold", hnsw="pinned") == {**on_disk, "codes": "hot", "graph": "resident"}
    bare = predict_ram(spec("scalar").unquantized())
    assert {part.name: part.need for part in bare.components} == {
        "vectors": "hot",
        "graph": "hot",
        "id tracker": "resident",
    }
    assert bare.ram == sum(part.bytes for part in bare.components)


def test_payload_takes_disk_and_ram_only_if_wanted() -> None:
    asked = replace(spec("scalar"), points=1000)
    payload = by_guide(200)
    spare = allocated(asked, payload.stored) - 300_000
    own = predict_ram(asked, payload=payload).components[-1]
    assert own == Component("payload", 300_000, "disk", 300_000, 900_000, spare)
    more = predict_ram(asked, payload=payload, payload_in_ram=True).ram - predict_ram(asked).ram
    assert more == 900_000


def test_packed_links_by_exact_numbers() -> None:
    # two points: one link of at least a byte, five bits of header, 7/16 of rounding; none in the layer above
    assert graph_bytes(2, 16, 10.0) == round(2 * (4 + (5 + 8) / 8 + 7 / 16 + 1.3 + 1.3 / 15)) + 12
    # twenty points that all have each other: nineteen links, of a byte although differences of 1 need a bit
    assert graph_bytes(20, 32, 100.0) == round(20 * (4 + (5 + 19 * 8) / 8 + 7 / 16 + 1.3 + 1.3 / 31)) + 12
    links, above = 32 * np.tanh(1.9 * 10 / 32), 16 * np.tanh(1.9 * 10 / 16)  # of at most 2m, and of at most m
    bits = np.log2(1e6 * (np.log(links) + 0.5772) / (links + 1)) + 0.5
    bits_above = np.log2(1e6 * (np.log(above) + 0.5772) / (above + 1)) + 0.5  # its points have numbers up to 1e6 too
    layers = [(5 + n * each) / 8 + 7 / 16 + 1.3 for n, each in ((links, bits), (above, bits_above))]
    assert graph_bytes(1_000_000, 16, 10.0) == round(1e6 * (4 + layers[0] + layers[1] / 15)) + 12


def test_components_by_exact_numbers() -> None:
    asked = spec("scalar", size=100, points=1000)
    parts = {part.name: (part.bytes, part.disk, part.guide) for part in predict_ram(asked).components}
    assert parts["vectors"] == (400_000,) * 3
    assert parts["codes"] == (1000 * (112 + 4),) * 3
    assert parts["id tracker"] == (44_500, 21_125, 52_000)


def test_centroids_by_exact_numbers() -> None:
    assert centroid_bytes({"product": {"compression": "x16"}}, 100) == 256 * (24 + 4 * 128) + 16 * 25
    assert centroid_bytes({"product": {"compression": "x64"}}, 1024) == 256 * (24 + 4 * 1024) + 16 * 64
    assert centroid_bytes({"scalar": {}}, 100) == centroid_bytes(None, 100) == 0
    asked = spec("product_x16", size=100, points=1000, segments=2, shards=3)
    (codes,) = [part for part in predict_ram(asked).components if part.name == "codes"]
    assert (codes.bytes, codes.disk, codes.guide) == (25_000 + 6 * (256 * (24 + 512) + 16 * 25), 25_000, 25_000)


@pytest.mark.slow
def test_the_id_tracker_is_within_2_percent_of_heap_and_pages(tmp_path: Path) -> None:
    queries, found = tmp_path / "queries.npy", []
    np.save(queries, vectors(4, 10))
    for points in (100_000, 300_000):  # of which the difference tells: a process has a heap of its own
        asked = spec("none", size=4, points=points, m=0, full_scan_threshold=10**7)
        engine = partial(EdgeEngine, tmp_path / str(points))
        build_collection(engine(), asked, vectors(4, points))
        with Worker(engine, queries, "test") as worker:
            worker.open(asked)
            memory = worker.memory()
            assert memory is not None
            found.append(np.array([memory.heap, memory.mapped["id tracker"]]))
    assert found[1] - found[0] == pytest.approx(200_000 * np.array([ID_TRACKER_HEAP, ID_TRACKER_PAGES]), rel=0.02)


@pytest.mark.parametrize(
    ("bits", "distance", "size"),
    [
        ("bits8", "dot", 104),
        ("bits8", "euclid", 108),
        (None, "dot", 58),
        ("bits1_5", "dot", 27),
        ("bits1", "euclid", 25),
    ],
)
def test_turbo_codes_by_exact_numbers(bits: str | None, distance: str, size: int) -> None:
    assert code_bytes({"turbo": {"bits": bits}}, 100, distance) == size
