"""Bytes of Qdrant's payload indexes, in files and in RAM, from counts of what is indexed (`tests/test_indexes.py`).

The layouts are those of `lib/segment/src/index/field_index` in Qdrant's source, for segments that are not written to
any more. Their files are written once and read when the collection is loaded: by default an index lives on the heap,
and what of its files was read is let go.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from math import ceil, log2

from qexp.results import CollectionSpec
from qexp.sizing.fields import GEOHASH, FieldCounts, count_fields

PAGE = 4096  # before the values of `point_to_values.bin` and the buckets of a hash map
RANGE = 16  # bytes of a point in `point_to_values.bin`
PAIR = 16  # a value and its point; also a geohash and its two counts or two offsets
ID = 4
LENGTH = 4  # before the bytes of a string, and before the points of a value
BUCKET = 8
PERFECT_HASH = 2.72 / 8  # bytes a key of the crate `ph`; 2.70 to 2.75 bits in files of 4,000 to 70,000 keys
BLOCK = 1024  # pairs for each of which a `*_block_index.bin` has one, after a header
BLOCK_HEADER = 32
BORDER, MOST_BORDERS, VALUES_PER_BORDER = 28, 200, 8  # of a histogram: 90 at 1,000 values, 150 to 500 at 70,000
LEAST_FLAGS = 2**20
CHUNK = 128  # points of a word that are packed together
WORD_HEADER = 24 + 4  # in the table of postings, and the last point
POSTING = 104  # of a word in RAM: four vectors and the last point
INLINE = 15  # bytes of a string that need no allocation of their own
STRING_HEADER = 16  # of one that does

_KEY_BYTES = {"integer": 8, "uuid": 16}
_ENTRY = {"keyword": 24, "integer": 16, "uuid": 32, "float": 16, "datetime": 16, "geo": 24}  # RAM, a point
_VALUE = {"keyword": 16, "integer": 8, "uuid": 16, "float": 8, "datetime": 8, "geo": 16}  # RAM, of several in a point
_SLOT = {"keyword": 32, "integer": 24, "uuid": 32, "text": 32}  # RAM, of a hash table: a key and where its points are


@dataclass(frozen=True)
class IndexSize:
    """Mean bytes of a point's payload indexes, in files and in RAM, and how many preallocated files of flags there are.

    Scaled to more points, keys are taken to grow with the points.
    """

    stored: float = 0.0
    ram: float = 0.0
    flags: int = 0


NO_INDEXES = IndexSize()


def index_size(lines: Iterable[str], points: int, kinds: dict[str, str]) -> IndexSize:
    """Return the size of indexes of these kinds, by field, over the payloads of all `points`, each a JSON object."""
    stored, ram, flags = 0.0, 0.0, 0
    for counts in count_fields(lines, kinds).values():
        files, heap = _BYTES[counts.kind](counts, points)
        own = 4 if counts.kind == "bool" else 2
        stored += files + own * points / 8
        ram += heap + min(2 * counts.points, points / 8)
        flags += own
    return IndexSize(stored / points, ram / points, flags)


def preallocated(spec: CollectionSpec, size: IndexSize) -> int:
    """Return the bytes that files of flags, a bit for each point, have ahead of what is in them.

    `common/flags/dynamic_stored_flags.rs`: powers of two, at least 1 MiB. A null index has two in every field, whatever
    its kind (which point has a value, which is null), an index of bools two more.
    """
    segments = spec.segments * spec.shards
    bits = ceil(ceil(spec.points / segments) / 8)
    return segments * size.flags * (max(LEAST_FLAGS, 1 << (bits - 1).bit_length()) - bits)


def _map(counts: FieldCounts, points: int) -> tuple[float, float]:
    """Return (files, RAM) of keyword, uuid, and half of integer: `map_index/{on_disk,immutable}_map_index`.

    `values_to_points.bin` (`common/persisted_hashmap/serialize.rs`): a perfect hash, a bucket for each key, and the
    key with its points, padded. RAM: a hash table, its points, and the values of each point.
    """
    kind, keys = counts.kind, counts.keys.total(lambda key, count: 1)

    def entry(key: Hashable, count: int) -> int:
        if isinstance(key, str):
            return _padded(len(key.encode()) + 1, ID) + LENGTH + ID * count
        return _padded(_KEY_BYTES[kind] + LENGTH + ID * count, _KEY_BYTES[kind])

    def value(key: Hashable, count: int) -> int:
        return count * (len(key.encode()) + LENGTH if isinstance(key, str) else _KEY_BYTES[kind])

    def own(key: Hashable, count: int) -> int:
        size = len(key.encode()) if isinstance(key, str) else 0
        return (count + 1) * _allocated(STRING_HEADER + size) if size > INLINE else 0

    files = _per_point(points) + counts.keys.total(value) + _hash_map(keys) + counts.keys.total(entry)
    heap = _table(keys, _SLOT[kind]) + ID * counts.values + _entries(counts, points) + counts.keys.total(own)
    return files, heap


def _numeric(counts: FieldCounts, points: int) -> tuple[float, float]:
    """Return (files, RAM) of float, datetime, and half of integer: `numeric_index/on_disk_numeric_index`.

    Sorted pairs of value and point, one in a block again, a histogram (`histogram.rs`), and the values of each point.
    """
    pairs = PAIR * counts.values
    histogram = BORDER * min(MOST_BORDERS, counts.values / VALUES_PER_BORDER)
    files = _per_point(points) + 8 * counts.values + pairs + _block_index(counts.values) + histogram
    return files, pairs + _entries(counts, points) + 2 * histogram


def _integer(counts: FieldCounts, points: int) -> tuple[float, float]:
    """Return (files, RAM) of integer, which has an index of each value, and one of ranges."""
    lookup, ranges = _map(counts, points), _numeric(counts, points)
    return lookup[0] + ranges[0], lookup[1] + ranges[1]


def _geo(counts: FieldCounts, points: int) -> tuple[float, float]:
    """Return (files, RAM) of geo: `geo_index/on_disk_geo_index`.

    Counts of every prefix of every geohash; the points of each whole one; and the coordinates of each point.
    """
    prefixes = counts.keys.total(lambda key, count: 1)
    whole = counts.keys.total(lambda key, count: isinstance(key, tuple) and key[0] == GEOHASH)
    files = PAIR * (prefixes + whole) + _block_index(prefixes) + _block_index(whole)
    files += _per_point(points) + (16 + ID) * counts.values
    return files, PAIR * prefixes + 12 * whole + ID * counts.values + _entries(counts, points)


def _text(counts: FieldCounts, points: int) -> tuple[float, float]:
    """Return (files, RAM) of text: `full_text_index/inverted_index/on_disk_inverted_index`, crate `posting_list`.

    `vocab.dat` is a hash map of words; `postings.dat` has the points of each, 128 packed as differences of equally many
    bits and the rest plain; `point_to_tokens_count.dat` 8 bytes a point, of which RAM has 4.
    """
    words = counts.keys.total(lambda key, count: 1)

    def postings(key: Hashable, count: int) -> float:
        return WORD_HEADER + sum(_posting_parts(count, points))

    def vocabulary(key: Hashable, count: int) -> int:
        return _padded(len(str(key).encode()) + 1, ID) + LENGTH + ID

    def heap(key: Hashable, count: int) -> float:
        parts = _posting_parts(count, points)
        return POSTING + _allocated(len(str(key).encode())) + sum(_allocated(part) for part in parts if part)

    files = _deleted(points) + 8 * points + 40 + counts.keys.total(postings)
    files += _hash_map(words) + counts.keys.total(vocabulary)
    return files, ID * points + _table(words, _SLOT["text"]) + counts.keys.total(heap)


def _bool(counts: FieldCounts, points: int) -> tuple[float, float]:
    """Return (files, RAM) of bool without the flags: in RAM two bitmaps (`roaring`) of at most a bit a point."""
    return 0.0, counts.keys.total(lambda key, count: min(2 * count, points / 8))


def _posting_parts(count: int, points: int) -> tuple[int, float, int]:
    """Return the bytes of a word's chunks, of their packed points, and of the points that fill no chunk."""
    chunks, rest = divmod(count, CHUNK)
    return 8 * chunks, chunks * CHUNK / 8 * packed_bits(count / points), ID * rest


def packed_bits(share: float) -> float:
    """Return the mean bits of a packed difference, where a word is in this share of the points, at random.

    Those of the largest of 127 geometric differences.
    """
    absent, bits, missed = 1 - share, 0, 0.0
    while True:
        below = (1 - absent ** (2.0**bits - 1)) ** (CHUNK - 1)
        if below > 1 - 1e-9:
            return missed
        bits, missed = bits + 1, missed + 1 - below


def _per_point(points: int) -> int:
    """Return the bytes of `point_to_values.bin` without its values, and of the mask of points that have none."""
    return PAGE + RANGE * points + _deleted(points)


def _deleted(points: int) -> int:
    return _padded(ceil(points / 8), 8)


def _hash_map(keys: float) -> float:
    """Return the bytes of a persisted hash map before its entries."""
    return _padded(ceil(BLOCK_HEADER + keys * PERFECT_HASH), PAGE) + BUCKET * keys


def _block_index(pairs: float) -> int:
    return BLOCK_HEADER + PAIR * ceil(pairs / BLOCK)


def _entries(counts: FieldCounts, points: int) -> int:
    """Return the bytes in RAM of the values of each point: `immutable_point_to_values.rs`."""
    return _ENTRY[counts.kind] * points + _VALUE[counts.kind] * counts.several


def _table(keys: float, slot: int) -> int:
    """Return the bytes of a hash table in RAM: a power of two of slots of which at most 7 in 8 are taken."""
    return (slot + 1) << max(2, ceil(log2(max(1.0, keys * 8 / 7))))


def _allocated(size: float) -> int:
    """Return the bytes that an allocation takes on the heap."""
    return max(32, _padded(ceil(size) + 8, 16))


def _padded(size: int, to: int) -> int:
    return to * ceil(size / to)


_BYTES: dict[str, Callable[[FieldCounts, int], tuple[float, float]]] = {
    "keyword": _map,
    "integer": _integer,
    "float": _numeric,
    "geo": _geo,
    "text": _text,
    "bool": _bool,
    "datetime": _numeric,
    "uuid": _map,
}
