"""Predicted bytes of every part of a collection, and which of them searching needs in RAM."""

from math import ceil
from typing import Any

from qexp.results import CollectionSpec, Component, RamEstimate

DATATYPE_BYTES = {"float32": 4, "float16": 2, "uint8": 1}
ID_TRACKER_BYTES = 52  # a point, always in RAM; Qdrant's capacity planning guide
LINK_OVERHEAD = 1.2  # upper layers; the same guide
LINK_BYTES = 4
_BINARY_BITS = {"one_bit": 1.0, "one_and_half_bits": 1.5, "two_bits": 2.0}
_BINARY_WORD = 128  # bits; codes are padded to it
_SCALAR_LANES = 16  # components; codes are padded to it
_TURBO = {"bits1": (1.0, 8), "bits1_5": (1.5, 8), "bits2": (2.0, 8), "bits4": (4.0, 8), "bits8": (8.0, 4)}


def code_bytes(quantization: dict[str, Any] | None, size: int) -> int:
    """Return the bytes of one quantized code for vectors of `size` components, corrections included; 0 without one.

    Read off the engine's own files (`tests/test_edge.py` compares them for every method): scalar one byte a component
    padded to 16, and a 4-byte offset; binary 1, 1.5 or 2 bits a component padded to 128; product one byte for each
    chunk of ratio/4 components; TurboQuant 1 to 8 bits a component, and 8 bytes of norms (4 at 8 bits).
    """
    if quantization is None:
        return 0
    method, given = next(iter(quantization.items()))
    if method == "scalar":
        return _SCALAR_LANES * ceil(size / _SCALAR_LANES) + 4
    if method == "binary":
        bits = _BINARY_BITS[given.get("encoding") or "one_bit"]
        return _BINARY_WORD // 8 * ceil(size * bits / _BINARY_WORD)
    if method == "product":
        return ceil(size / (int(given["compression"].removeprefix("x")) // 4))
    bits, extra = _TURBO[given.get("bits") or "bits4"]
    return ceil(size * bits / 8) + extra


def graph_bytes(points: int, m: int) -> int:
    """Return the bytes of the HNSW graph by Qdrant's capacity planning guide: points × 2m links × 4 bytes × 1.2."""
    return round(points * 2 * m * LINK_BYTES * LINK_OVERHEAD)


def predict_ram(spec: CollectionSpec) -> RamEstimate:
    """Return every component with its bytes and need.

    A pinned component and the id tracker are resident. A cached one is hot. What every search walks is hot whatever
    its placement: the graph, and the codes, or the original vectors where there are no codes; stored cold it works
    too, but each page that is not in the page cache is a read from disk. The rest, original vectors that only
    rescoring reads, needs disk.
    """
    placements = {"vectors": spec.vectors, "codes": spec.quantized, "graph": spec.hnsw}
    sizes = {
        "vectors": spec.points * spec.size * DATATYPE_BYTES[spec.datatype],
        "codes": spec.points * code_bytes(spec.quantization, spec.size),
        "graph": graph_bytes(spec.points, spec.m),
    }
    walked = {"graph", "codes" if spec.quantization else "vectors"}
    parts = []
    for name, size in sizes.items():
        if placements[name] == "pinned":
            need = "resident"
        elif placements[name] == "cached" or name in walked:
            need = "hot"
        else:
            need = "disk"
        if size:
            parts.append(Component(name, size, need))
    parts.append(Component("id tracker", spec.points * ID_TRACKER_BYTES, "resident"))
    return RamEstimate(tuple(parts))
