"""Bytes of a dataset's payload in Qdrant's storage of it, read off the engine's own files (`tests/test_payload.py`).

Each point's payload is compact JSON, compressed by LZ4 (with its length before it), in whole blocks; a tracker has a
pointer for each point. Files grow by whole pages, whatever is in them.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from qexp.results import CollectionSpec
from qexp.sizing.indexes import NO_INDEXES, IndexSize

BLOCK = 128
LENGTH = 4  # before each compressed payload
POINTER = 16
TRACKER_HEADER = 4
PAGE = 32 * 2**20
PAGE_NOTES = PAGE // BLOCK // 8 + 192  # a bit for each block, and gaps
LEAST_TRACKER = 2**20
CONFIGS = 135
GUIDE_DISK = 1.5  # × the bytes as JSON; Qdrant's capacity planning guide


@dataclass(frozen=True)
class PayloadSize:
    """Mean bytes of a point's payload: as JSON, as stored, and of its indexes."""

    json: float = 0.0
    stored: float = 0.0
    indexes: IndexSize = NO_INDEXES


NO_PAYLOAD = PayloadSize()


def payload_size(lines: Iterable[str]) -> PayloadSize:
    """Return the sizes of payloads, each a JSON object; an empty one is not stored."""
    import pyarrow

    texts = [json.dumps(json.loads(line), separators=(",", ":"), ensure_ascii=False).encode() for line in lines]
    if not texts:
        return NO_PAYLOAD
    packed = [len(pyarrow.compress(text, codec="lz4_raw", asbytes=True)) + LENGTH for text in texts if text != b"{}"]
    stored = sum(BLOCK * ceil(size / BLOCK) for size in packed)
    return PayloadSize(sum(map(len, texts)) / len(texts), stored / len(texts) + (POINTER if packed else 0))


def by_guide(bytes_as_json: float) -> PayloadSize:
    """Return the size of payloads of which nothing but their mean bytes as JSON is known."""
    return PayloadSize(bytes_as_json, GUIDE_DISK * bytes_as_json)


def allocated(spec: CollectionSpec, stored: float) -> int:
    """Return the bytes of all files that hold `stored` bytes a point: whole pages, and trackers by powers of two."""
    segments = spec.segments * spec.shards
    points = ceil(spec.points / segments)
    pages = max(1, ceil(points * (stored - POINTER) / PAGE))
    tracker = max(LEAST_TRACKER, 1 << (TRACKER_HEADER + points * POINTER - 1).bit_length())
    return segments * (pages * (PAGE + PAGE_NOTES) + tracker + CONFIGS)
