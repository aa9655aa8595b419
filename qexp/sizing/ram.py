"""Predicted bytes of every part of a collection, and which of them searching needs in RAM."""

from dataclasses import replace
from math import ceil, log, log2
from typing import Any

from qexp.results import PAYLOAD_INDEXES, CollectionSpec, Component, RamEstimate, method_of
from qexp.sizing.indexes import preallocated
from qexp.sizing.links import TYPICAL_FORWARD, mean_links
from qexp.sizing.payload import NO_PAYLOAD, PayloadSize, allocated

ID_TRACKER_GUIDE = 52  # bytes a point, always in RAM; Qdrant's capacity planning guide
ID_TRACKER_HEAP = 36.375  # a point: its number 16, the way back 16, version 4, three bits (`id_tracker/compressed`)
ID_TRACKER_PAGES = 8.125  # a point: of its files, which loading maps and reads: versions 8, one bit for deleted
ID_TRACKER_FILES = 21.125  # a point: 13 of mappings, 8 of versions, one bit for deleted
PAYLOAD_RAM = 4.5  # × the bytes of the payload as JSON; the same guide

GUIDE_LINK_BYTES, GUIDE_OVERHEAD = 4, 1.2

_BINARY_BITS = {"one_bit": 1.0, "one_and_half_bits": 1.5, "two_bits": 2.0}
_BINARY_WORD = 128  # bits; codes are padded to it
_SCALAR_LANES = 16  # components; codes are padded to it
_CENTROIDS, _VECTOR_HEADER, _RANGE = 256, 24, 16  # of product quantization; bytes before each, and of each chunk
_TURBO = {"bits1": (1.0, 8), "bits1_5": (1.5, 8), "bits2": (2.0, 8), "bits4": (4.0, 8), "bits8": (8.0, 4)}

_EULER = 0.5772
_LEAST_BITS = 8.0  # a packed link has at least one byte
_LINKS_HEADER = 5  # bits before the packed links of a point
_REINDEX = 4  # bytes a point
_OFFSET = 1.3  # bytes a point and layer; 1.1 to 1.4 in the engine's files
_ENTRY_POINT = 12  # bytes


def code_bytes(quantization: dict[str, Any] | None, size: int, distance: str) -> int:
    """Return the bytes of one quantized code for vectors of `size` components, corrections included; 0 without one.

    Read off the engine's own files (`tests/test_ram.py` compares them for every method): scalar one byte a component
    padded to 16, and a 4-byte offset; binary 1, 1.5 or 2 bits a component padded to 128; product one byte for each
    chunk of ratio/4 components; TurboQuant 1 to 8 bits a component, of half bits none, and 8 bytes of norms (4 at 8
    bits), for the Euclidean distance 4 more.
    """
    method, given = method_of(quantization)
    if not method:
        return 0
    if method == "scalar":
        return _SCALAR_LANES * ceil(size / _SCALAR_LANES) + 4
    if method == "binary":
        bits = _BINARY_BITS[given.get("encoding") or "one_bit"]
        return _BINARY_WORD // 8 * ceil(size * bits / _BINARY_WORD)
    if method == "product":
        return ceil(size / (int(given["compression"].removeprefix("x")) // 4))
    bits, extra = _TURBO[given.get("bits") or "bits4"]
    return ceil(int(size * bits) / 8) + extra + (4 if distance == "euclid" else 0)


def centroid_bytes(quantization: dict[str, Any] | None, size: int) -> int:
    """Return the bytes that the centroids of product quantization have on the heap in each segment; 0 without it.

    256 vectors of float32, wherever the codes lie (`quantization/src/encoded_vectors_pq.rs`), in vectors of Rust that
    have grown by doubling while they were read from JSON.
    """
    if method_of(quantization)[0] != "product":
        return 0
    grown = 1 << (size - 1).bit_length()
    return _CENTROIDS * (_VECTOR_HEADER + 4 * grown) + _RANGE * code_bytes(quantization, size, "")


def linked_by_signs(quantization: dict[str, Any] | None) -> bool:
    """Return whether codes keep so little that a graph built with them has the links of signs (`sizing/links.py`).

    Those of one to two bits a component of binary quantization and TurboQuant. Graphs built with product
    quantization's follow neither signs nor floats.
    """
    method, given = method_of(quantization)
    return method == "binary" or (method == "turbo" and _TURBO[given.get("bits") or "bits4"][0] <= 2)


def graph_bytes_guide(points: int, m: int) -> int:
    """Return the bytes of the HNSW graph by Qdrant's capacity planning guide: points × 2m links × 4 bytes × 1.2."""
    return round(points * 2 * m * GUIDE_LINK_BYTES * GUIDE_OVERHEAD)


def graph_bytes(points: int, m: int, forward: float, entry_points: int = 1) -> int:
    """Return the bytes of the HNSW graph's files, where a point chooses `forward` links itself (`sizing/links.py`).

    The layout of `links_compressed.bin` (`graph_links/serializer.rs` of Qdrant): for each point 4 bytes of reindex;
    for each point and layer an offset, and its links, sorted, as differences of equally many bits, those of the
    largest. Layer 0 has all points with at most 2m links, each layer above 1/m of the one below with at most m: fewer
    points, whose numbers are spread as far. `graph.bin` has 12 bytes for each entry point.
    """
    layers = _packed_links(points, mean_links(forward, 2 * m)) + _OFFSET
    layers += (_packed_links(points, min(mean_links(forward, m), points // m - 1)) + _OFFSET) / (m - 1)
    return round(points * (_REINDEX + layers)) + _ENTRY_POINT * entry_points


def _graphs(spec: CollectionSpec, forward: float) -> int:
    """Return the bytes of all graphs: each segment of each shard has its own, whose links need fewer bits."""
    segments = spec.segments * spec.shards
    one = replace(spec, points=ceil(spec.points / segments))
    return segments * graph_bytes(one.points, spec.m, forward, entry_points(one))


def _packed_links(points: int, links: float) -> float:
    """Return the bytes of one point's packed links, when they are spread evenly over `points`.

    The largest of d differences that sum to n is n × (ln d + 0.577) / (d + 1) on average; whole bits cost half a bit.
    """
    links = min(links, points - 1)
    if links < 1:
        return 0.0
    bits = max(_LEAST_BITS, log2(points * (log(links) + _EULER) / (links + 1)) + 0.5)
    return (_LINKS_HEADER + links * bits) / 8 + 7 / 16


def entry_points(spec: CollectionSpec) -> int:
    """Return how many entry points Qdrant keeps: ten for every `full_scan_threshold` of vectors, at most all."""
    per_threshold = spec.full_scan_threshold * 1024 // spec.vector_bytes
    return min(spec.points, max(1, 10 * (spec.points // per_threshold if per_threshold else 0)))


def predict_ram(
    spec: CollectionSpec,
    forward: float = TYPICAL_FORWARD,
    payload: PayloadSize = NO_PAYLOAD,
    payload_in_ram: bool = False,
) -> RamEstimate:
    """Return every component with its bytes and need.

    `forward` is `forward_links` of the dataset, for such a collection.

    A pinned component, the id tracker and payload indexes are resident. A cached one is hot. What every search walks
    is hot whatever its placement: the graph, and the codes, or the original vectors where there are no codes; stored
    cold it works too, but each page that is not in the page cache is a read from disk. The rest, original vectors that
    only rescoring reads, needs disk.
    """
    points = spec.points
    vectors = points * spec.vector_bytes
    codes = points * code_bytes(spec.quantization, spec.size, spec.distance)
    held = codes + spec.segments * spec.shards * centroid_bytes(spec.quantization, spec.size)
    graph = _graphs(spec, forward)
    ids = round(points * (ID_TRACKER_HEAP + ID_TRACKER_PAGES))
    parts = [
        Component("vectors", vectors, _need(spec.vectors, walked=spec.quantization is None), vectors, vectors),
        Component("codes", held, _need(spec.quantized, walked=True), codes, codes),
        Component("graph", graph, _need(spec.hnsw, walked=True), graph, graph_bytes_guide(points, spec.m)),
        Component("id tracker", ids, "resident", round(points * ID_TRACKER_FILES), points * ID_TRACKER_GUIDE),
    ]
    disk, guide = round(points * payload.stored), round(points * payload.json * PAYLOAD_RAM)
    spare = allocated(spec, payload.stored) - disk
    ram, need = (guide, "hot") if payload_in_ram else (disk, "disk")
    parts.append(Component("payload", ram, need, disk, guide, spare))
    disk, spare = round(points * payload.indexes.stored), preallocated(spec, payload.indexes)
    parts.append(Component(PAYLOAD_INDEXES, round(points * payload.indexes.ram), "resident", disk, 0, spare))
    return RamEstimate(tuple(part for part in parts if part.bytes))


def _need(placement: str, walked: bool) -> str:
    if placement == "pinned":
        return "resident"
    return "hot" if placement == "cached" or walked else "disk"
