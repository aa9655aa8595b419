"""Checks without which a figure would be wrong, by the trap's id (`docs/methodology.md` has all twenty).

Each check says what it looked at, so that a run can show why to believe it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qexp.bench.checks import Checks
from qexp.config.collection import LEAST_SCAN
from qexp.results import (
    CONTROL_TOO_WIDE,
    GOOD_BASELINE,
    WIDEST,
    Baseline,
    CollectionSpec,
    CollectionState,
    Reads,
    Trial,
    Vectors,
    method_of,
)
from qexp.sizing.ram import code_bytes

CODES_TOLERANCE = 0.02
FAULTS_PER_QUERY = 0.01
NETWORK_SHARE = 0.5  # of the client's time, above which a speedup says more about the link than about the engine
# How far what is stored may be from what was given, by datatype: a share of the largest component, and a step.
_STORED = {
    "float32": (1e-5, 0.0),
    "float16": (2e-3, 2.0**-24),
    "uint8": (0.0, 1.0),
    "turbo16": (1e-3, 0.0),
    "turbo8": (0.05, 0.0),
    "turbo4": (0.6, 0.0),
}
_INDEX_FIELDS = ("size", "distance", "datatype", "m", "ef_construct", "full_scan_threshold", "segments")
_LAYOUT_FIELDS = ("shards", "replicas", "write_consistency")


def check_spec(spec: CollectionSpec, checks: Checks) -> None:
    """Look for a collection that Qdrant would search by full scan although it has an index (T02)."""
    kib = spec.segment_kib
    checks.expect(
        kib >= spec.full_scan_threshold,
        "T02",
        f"{kib:,} KiB of vectors are above full_scan_threshold={spec.full_scan_threshold}: searches use the index",
        f"{spec.name}: {kib} KiB of vectors are below index.full_scan_threshold={spec.full_scan_threshold}, so "
        f"searches would scan all points and skip the index; use more points"
        + (f" or index.full_scan_threshold={max(LEAST_SCAN, kib // 2)}" if kib >= LEAST_SCAN else ""),
    )


def check_phrases(spec: CollectionSpec, phrased: Sequence[str], checks: Checks) -> None:
    """Look for phrases that Qdrant finds nowhere: in fields whose text index was made without `phrase_matching`."""
    lost = [field for field in phrased if spec.payload_indexes.get(field) == "text"]
    checks.expect(
        not lost,
        "T02",
        "no phrase of search.filter is looked for in a text index without phrase_matching",
        f"search.filter: match.phrase finds nothing in {', '.join(lost)}, because text indexes of qexp's are without "
        "phrase_matching; in dataset.payload_indexes give it another kind of index, or leave it out",
    )


def check_filter(spec: CollectionSpec, fields: Mapping[str, Sequence[str]], matching: int, checks: Checks) -> None:
    """Look for a filter that keeps searches from the index, or that filters nothing (T02).

    `fields` are those that it looks at, with the kinds of index that serve, `matching` the number of points that it
    lets through.
    """
    checks.prefer(
        matching < spec.points,
        "T02",
        "search.filter keeps points out",
        f"search.filter lets all {matching:,} points through; look whether the payload has the values as the filter "
        f"writes them",
    )
    bare = [field for field, kinds in fields.items() if not _indexed(spec.payload_indexes, field, kinds)]
    served = [field for field in bare if fields[field]]
    advice = f"add 'dataset.payload_indexes={{{served[0]}: {fields[served[0]][0]}}}'" if served else "qexp makes none"
    checks.prefer(
        not bare,
        "T02",
        "every field of search.filter has a payload index",
        f"search.filter: no payload index that serves it on {', '.join(bare)}: Qdrant guesses how many points match "
        f"and looks at the payload of one after the other, so that searches are slower and may find less; {advice}",
    )
    if bare:
        return  # whether few enough match to be scanned, Qdrant does not know
    kib = replace(spec, points=matching).segment_kib
    checks.prefer(
        kib >= spec.full_scan_threshold,
        "T02",
        f"the {matching:,} points that search.filter lets through have {kib:,} KiB of vectors: searches use the index",
        f"search.filter lets {matching} points through, {kib} KiB of vectors, below index.full_scan_threshold="
        f"{spec.full_scan_threshold}: searches scan those and use no index, so figures are of scans",
    )


def _indexed(indexes: Mapping[str, str], field: str, kinds: Sequence[str]) -> bool:
    """Whether a payload index is of a field, in one of these kinds, or of something within it."""
    return indexes.get(field) in kinds or any(key.startswith((f"{field}.", f"{field}[")) for key in indexes)


def check_state(spec: CollectionSpec, state: CollectionState, checks: Checks) -> None:
    """Look for a collection that is not what was asked for: index, fields, placement, codes (T02, T05, T06)."""
    again = f"remove the collection from the {spec.home} and build it again; if that does not help, the engine cannot"
    checks.expect(
        state.points == spec.points and state.indexed_vectors >= spec.points,
        "T02",
        f"{spec.title}: all {spec.points:,} points are indexed",
        f"{spec.name}: {spec.points} points asked for, {state.points} stored, {state.indexed_vectors} indexed; {again}",
    )
    asked = {field: getattr(spec, field) for field in (*_INDEX_FIELDS, *_LAYOUT_FIELDS)}
    asked["placements"] = {"vectors": spec.vectors, "hnsw": spec.hnsw, "quantized": spec.quantized or None}
    if state.segments is None:  # an old server does not tell
        del asked["segments"]
    for field, value in asked.items():
        built = getattr(state, field)
        checks.expect(
            value == built,
            "T05",
            f"{spec.title}: {field}={_told(value)} as asked",
            f"{spec.name}: {field}={_told(value)} was asked for, the engine built {_told(built)}; {again}",
        )
    checks.expect(
        _same_quantization(spec, state),
        "T05",
        f"{spec.title}: quantization={_told(state.quantization)} as asked",
        f"{spec.name}: quantization={_told(spec.quantization)} was asked for, the engine built "
        f"{_told(state.quantization)}; {again}",
    )
    checks.expect(
        not state.unasked,
        "T05",
        f"{spec.title}: the graph has nothing that was not asked for",
        f"{spec.name}: the engine built the graph with {_told(state.unasked)}, which was not asked for; {again}",
    )
    predicted = spec.points * code_bytes(spec.quantization, spec.size, spec.distance)
    codes = state.files.get("codes", 0)
    # More is no trap: a server counts headers and the empty segment for new points. An old one tells no sizes at all.
    untold = not state.files and state.indexed_vectors >= spec.points
    checks.expect(
        untold or codes >= (1 - CODES_TOLERANCE) * predicted,
        "T06",
        f"{spec.title}: {codes:,} bytes of codes, {predicted:,} predicted",
        f"{spec.name}: {codes} bytes of quantized codes, {predicted} expected; {again}",
    )


def _told(value: Any) -> str:
    """Return a value in Qdrant's words."""
    return value if isinstance(value, str) else json.dumps(value)


def check_same_index(baseline: CollectionState, quantized: CollectionState, checks: Checks) -> None:
    """Look for collections that differ in more than quantization (T07)."""
    for field in ("points", *_INDEX_FIELDS, *_LAYOUT_FIELDS):
        ours, theirs = getattr(quantized, field), getattr(baseline, field)
        checks.expect(
            ours == theirs,
            "T07",
            f"{field} is the baseline's",
            f"the baseline has {field}={theirs}, the quantized collection {ours}; build both with the same index",
        )


def check_stored(spec: CollectionSpec, rows: list[int], stored: Vectors, given: Vectors, checks: Checks) -> None:
    """Look for points that are not the dataset's rows (T12); both [rows, size]."""
    share, step = _STORED[spec.datatype]
    if spec.datatype == "uint8":  # what bytes cannot hold is told of the dataset, and no other build would hold it
        given = np.clip(given, 0, 255)
    far = np.abs(stored - given).max(axis=1) > share * np.abs(given).max(axis=1) + step
    checks.expect(
        not far.any(),
        "T12",
        f"{spec.title}: {len(rows)} points fetched back are the dataset's rows",
        f"{spec.name}: point {rows[int(np.argmax(far))]} is stored with another vector than the dataset's row of that "
        f"number; remove the collection from the {spec.home} and build it again",
    )


def check_unchanged(title: str, before: CollectionState, after: CollectionState, checks: Checks) -> None:
    """Look for optimizers that worked while searches were timed (T02)."""
    checks.expect(
        before == after,
        "T02",
        f"{title}: the collection is the same after the last round as before the first",
        f"{title}: the engine worked on the collection while it was measured; wait until it is idle and run again",
    )


def check_reads(title: str, reads: Reads, queries: int, checks: Checks) -> None:
    """Look for timed searches that waited for the disk (T13)."""
    checks.expect(
        reads.major_faults <= FAULTS_PER_QUERY * queries,
        "T13",
        f"{title}: {reads.major_faults} major page faults in {queries:,} timed queries",
        f"{title}: {reads.major_faults} major page faults in {queries} timed queries: they waited for the disk; give "
        f"the machine more memory, or measure it on purpose with search.cache=cold",
    )


def check_accuracy(
    spec: CollectionSpec, baselines: Sequence[Baseline], trials: Sequence[Trial], checks: Checks
) -> None:
    """Look for a baseline that is no yardstick (T08), and for truth that nothing agrees with (T12)."""
    exact = "" if spec.datatype == "float32" else "set storage.datatype=float32, or "  # no graph mends what is not kept
    for base in baselines:
        recall = base.accuracy.recall.estimate
        checks.expect(
            recall > 0,
            "T12",
            f"baseline, {base.point.title}: recall {recall:.3f} is not zero",
            f"baseline, {base.point.title}: recall is 0, so ids and exact neighbours do not belong together; remove "
            f"{spec.unquantized().name} from the {spec.home} and the folder 'truth' from the cache, and run again",
        )
        checks.prefer(
            recall >= GOOD_BASELINE,
            "T08",
            f"baseline, {base.point.title}: recall {recall:.3f} against exact search",
            f"baseline, {base.point.title}: recall is {recall:.3f} against exact search, so retention says little; "
            f"{exact}raise search.hnsw_ef, index.m or index.ef_construct",
        )
    lost = [trial.point.title for trial in trials if not trial.accuracy.recall.estimate > 0]
    checks.prefer(
        not lost,
        "T12",
        f"no trial of {len(trials)} has recall 0",
        f"{spec.title}, {'; '.join(lost)}: recall is 0, so either the codes hold nothing, or they are another "
        f"collection's; use more bits, or remove {spec.name} from the {spec.home} and build it again",
    )


def check_noise(baselines: Sequence[Baseline], target: float, checks: Checks) -> None:
    """Look for a machine so unsteady that the baseline differs from itself, or nobody can tell (T14).

    `target` is the half-width to which speedups are to be known.
    """
    for base in baselines:
        control, ef = base.control, f" (ef {base.point.ef})" if len(baselines) > 1 else ""
        found = f"the baseline{ef} against itself is {control.between(3)}×"
        trouble = "which excludes 1; intervals are widened by it; run again on a quiet machine"
        if not control.distinguishable:
            close = f"± {control.halfwidth:.0%}" if control.halfwidth < WIDEST else f"± {WIDEST:.0%} or more"
            trouble = f"{close}: too wide to say whether the machine was steady; use more rounds, or a quiet machine"
        checks.prefer(
            not control.distinguishable and control.halfwidth <= CONTROL_TOO_WIDE * target,
            "T14",
            f"rounds are interleaved at random; {found}",
            f"{'noisy: ' if control.distinguishable else ''}{found}, {trouble}",
        )


def check_network(client_ms: float, server_ms: float, checks: Checks) -> None:
    """Look for latency that is mostly the way to the server and back (T20)."""
    share = 1 - server_ms / client_ms
    checks.prefer(
        share <= NETWORK_SHARE,
        "T20",
        f"all searches: {share:.0%} of the client's time is not the server's",
        f"all searches: {share:.0%} of the client's {client_ms:.2f} ms are the network and the client, not the search, "
        "so speedups look smaller than they are; compare server_latency_mean_ms, or run qexp nearer to the server",
    )


def _same_quantization(spec: CollectionSpec, state: CollectionState) -> bool:
    """Whether every key that was asked for was built; the engine may add defaults of its own."""
    (method, asked), (known, built) = method_of(spec.quantization), method_of(state.quantization)
    return method == known and all(_equal(built.get(key), value) for key, value in asked.items())


def _equal(built: object, asked: object) -> bool:
    if isinstance(built, float) and isinstance(asked, int | float):
        return bool(np.isclose(built, asked, rtol=1e-6))
    return built == asked
