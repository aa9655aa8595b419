"""What a live collection has that its copies are measured without."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from qexp.results import INDEXED_FROM, SEGMENT_KIB

if TYPE_CHECKING:
    from qdrant_client.models import (
        CollectionConfig,
        OptimizersConfig,
        PayloadIndexInfo,
        StrictModeConfigOutput,
        VectorParams,
    )


RATE = "read_rate_limit"


def warnings(collection: str, indexes: Sequence[str], kept: Sequence[str], refused: Mapping[str, float]) -> list[str]:
    """Return what has to be said of a collection and its copies.

    They have no parameters of its payload `indexes`, nor what it has `kept`; its strict mode has `refused` searches
    beyond these limits.
    """
    found = []
    if indexes:
        found.append(f"{collection}: measured without the parameters of its index on: {', '.join(indexes)}")
    if kept:
        found.append(f"{collection}: measured without what it has and keeps when it is patched: {', '.join(kept)}")
    if told := ", ".join(f"{key}={value:g}" for key, value in refused.items() if key != RATE):
        found.append(f"{collection}: its strict mode refuses searches beyond {told}; ask for none")
    if RATE in refused:
        found.append(f"{collection}: its strict mode allows {refused[RATE]:g} reads a minute of each shard")
    return found


def untaken(config: "CollectionConfig", params: "VectorParams") -> Iterator[str]:
    """Yield what a collection has that its copies have not, and that makes figures of it other ones."""
    own, general, shared = params.hnsw_config, config.hnsw_config, config.params
    if (links := general.payload_m if own is None or own.payload_m is None else own.payload_m) is not None:
        yield f"payload_m={links}"
    if general.inline_storage if own is None or own.inline_storage is None else own.inline_storage:
        yield "inline_storage=true"  # with codes, every search rescores then, and the graph's file has all vectors
    if shared.sharding_method == "custom":  # then the number of shards is that of each key
        yield "shards by shard key"
    elif (shared.shard_number or 1) > 1:
        yield f"{shared.shard_number} shards"
    payload, ids = (part.memory if part else None for part in (shared.payload, shared.id_tracker))
    if payload == "cached" or (payload is None and shared.on_disk_payload is False):
        yield "its payload in RAM"
    if ids in ("cold", "cached"):
        yield f"id_tracker.memory={ids.value}"


def hindrances(optimizers: "OptimizersConfig", kib: int, named: bool) -> Iterator[str]:
    """Yield what keeps a patched collection from the segments of its copies, which hold `kib` KiB of vectors a shard.

    The patch of a `named` vector leaves the optimizers alone; the other one says the number of segments,
    `indexing_threshold`, and with many points `max_segment_size`.
    """
    if named and optimizers.default_segment_number != 1:
        yield f"default_segment_number={optimizers.default_segment_number}"
    threshold = INDEXED_FROM if optimizers.indexing_threshold is None else optimizers.indexing_threshold
    if named and not 0 < threshold <= kib:
        yield f"indexing_threshold={threshold}"
    if (most := optimizers.max_segment_size) is not None and most <= kib and (named or kib <= SEGMENT_KIB):
        yield f"max_segment_size={most}"
    if optimizers.max_optimization_threads == 0:
        yield "max_optimization_threads=0"


def limits(strict: "StrictModeConfigOutput | None") -> dict[str, float]:
    """Return the limits that strict mode sets to searches, and to reads of any kind."""
    if not (strict and strict.enabled):
        return {}
    keys = ("max_query_limit", "search_max_hnsw_ef", "search_max_oversampling", RATE)
    limits = {key: getattr(strict, key) for key in keys}
    return {key: value for key, value in limits.items() if value is not None}


def is_tuned(index: "PayloadIndexInfo") -> bool:
    """Whether a payload index has parameters beside its kind."""
    return bool(index.params and index.params.model_dump(exclude_none=True, exclude={"type"}))
