"""Checks without which a figure would be wrong; each message starts with the trap's id (`docs/methodology.md`)."""

import numpy as np

from qexp.errors import BenchmarkError
from qexp.results import CollectionSpec, CollectionState, Vectors
from qexp.sizing.ram import DATATYPE_BYTES, code_bytes

CODES_TOLERANCE = 0.02
_STORED = {"float32": 1e-5, "float16": 2e-3, "uint8": 1.0}


def check_spec(spec: CollectionSpec) -> None:
    """Refuse a collection that Qdrant would search by full scan although it has an index (T02)."""
    kib = spec.points * spec.size * DATATYPE_BYTES[spec.datatype] // 1024
    if kib < spec.full_scan_threshold:
        raise BenchmarkError(
            f"T02 {spec.name}: {kib} KiB of vectors are below index.full_scan_threshold={spec.full_scan_threshold}, so "
            f"searches would scan all points and skip the index; use more points or "
            f"index.full_scan_threshold={max(1, kib // 2)}"
        )


def check_state(spec: CollectionSpec, state: CollectionState) -> None:
    """Refuse a collection that is not what was asked for: index, fields, placement, codes (T02, T05, T06)."""
    if state.points != spec.points or state.indexed_vectors < spec.points:
        raise BenchmarkError(
            f"T02 {spec.name}: {spec.points} points asked for, {state.points} stored, {state.indexed_vectors} indexed"
        )
    for field in ("size", "distance", "datatype", "m", "ef_construct", "full_scan_threshold", "segments"):
        asked, built = getattr(spec, field), getattr(state, field)
        if asked != built:
            raise BenchmarkError(f"T05 {spec.name}: {field}={asked} was asked for, the engine built {built}")
    asked_placements = {"vectors": spec.vectors, "hnsw": spec.hnsw, "quantized": spec.quantized or None}
    if state.placements != asked_placements:
        raise BenchmarkError(
            f"T05 {spec.name}: placements {asked_placements} were asked for, the engine built {state.placements}"
        )
    if not _same_quantization(spec, state):
        raise BenchmarkError(
            f"T05 {spec.name}: quantization {spec.quantization} was asked for, the engine built {state.quantization}"
        )
    predicted = spec.points * code_bytes(spec.quantization, spec.size)
    codes = state.files.get("codes", 0)
    if abs(codes - predicted) > CODES_TOLERANCE * predicted:
        raise BenchmarkError(f"T06 {spec.name}: {codes} bytes of quantized codes, {predicted} expected")


def check_same_index(baseline: CollectionState, quantized: CollectionState) -> None:
    """Refuse to compare collections that differ in more than quantization (T07)."""
    for field in ("points", "size", "distance", "datatype", "m", "ef_construct", "full_scan_threshold", "segments"):
        ours, theirs = getattr(quantized, field), getattr(baseline, field)
        if ours != theirs:
            raise BenchmarkError(f"T07: the baseline has {field}={theirs}, the quantized collection {ours}")


def check_stored(spec: CollectionSpec, rows: list[int], stored: Vectors, given: Vectors) -> None:
    """Refuse a collection whose points are not the dataset's rows (T12); both [rows, size]."""
    far = np.abs(stored - given).max(axis=1) > _STORED[spec.datatype] * max(1.0, float(np.abs(given).max()))
    if far.any():
        row = rows[int(np.argmax(far))]
        raise BenchmarkError(f"T12 {spec.name}: point {row} is stored with another vector than the dataset's row {row}")


def _same_quantization(spec: CollectionSpec, state: CollectionState) -> bool:
    """Whether every key that was asked for was built; the engine may add defaults of its own."""
    if spec.quantization is None or state.quantization is None:
        return spec.quantization is state.quantization
    method, asked = next(iter(spec.quantization.items()))
    built = state.quantization.get(method)
    return built is not None and all(_equal(built.get(key), value) for key, value in asked.items())


def _equal(built: object, asked: object) -> bool:
    if isinstance(built, float) and isinstance(asked, int | float):
        return bool(np.isclose(built, asked, rtol=1e-6))
    return built == asked
