"""What a server reports about a collection: counts, status, shards, segments, bytes."""

import json
import uuid
from pathlib import Path
from typing import Any

from qdrant_client import models

from tests.support.collections import Collection, inner

# Parts of the report, and what the paths of their files have in them, the first that fits.
PARTS = {"quantized": "quantized", "storage": "vector_storage", "index": "vector_index", "id_tracker": "id_tracker"}


def info(of: Collection) -> models.CollectionInfo:
    """Return counts, status and the full configuration with Qdrant's defaults."""
    counted = [shard.info() for shard in of.shards]
    status = "yellow" if of.optimizer else "green" if of.optimized else "grey"
    asked = json.loads(of.asked.model_dump_json(exclude_none=True))
    quantization = asked.get("quantization_config")
    return models.CollectionInfo(
        status="green" if status == "grey" and not of.wants_indexing else status,
        optimizer_status="ok",
        points_count=sum(info.points_count for info in counted),
        indexed_vectors_count=sum(info.indexed_vectors_count for info in counted),
        segments_count=sum(len(list((of.folder / f"shard-{n}").glob("segments/*"))) for n in range(len(counted))),
        payload_schema=of.payload_schema,
        update_queue=models.UpdateQueueInfo(length=0) if of.version >= (1, 17) else None,
        config=models.CollectionConfig(
            params=models.CollectionParams(
                vectors=asked["vectors"],
                shard_number=asked.get("shard_number", 1),
                replication_factor=asked.get("replication_factor", 1),
                write_consistency_factor=asked.get("write_consistency_factor", 1),
                on_disk_payload=True,
            ),
            hnsw_config={"max_indexing_threads": 0, **asked["hnsw_config"]},
            optimizer_config={
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "flush_interval_sec": 5,
                **asked["optimizers_config"],
            },
            wal_config=models.WalConfig(wal_capacity_mb=32, wal_segments_ahead=0),
            quantization_config=quantization,
            metadata=asked.get("metadata"),
        ),
    )


def cluster(of: Collection) -> models.CollectionClusterInfo:
    """Return where the shards are: here, each once, however many replicas were asked for."""
    local = [
        models.LocalShardInfo(shard_id=number, points_count=shard.info().points_count, state="Active")
        for number, shard in enumerate(of.shards)
    ]
    return models.CollectionClusterInfo(
        peer_id=1, shard_count=len(local), local_shards=local, remote_shards=[], shard_transfers=[]
    )


def optimizations(of: Collection) -> models.OptimizationsResponse:
    """Return progress, and every segment: the indexed ones, and the empty one that waits for new points."""
    segments = [
        models.OptimizationSegmentInfo(uuid=uuid.UUID(path.name), points_count=count) for path, count in _segments(of)
    ]
    busy = 0 if of.optimizer is None else 1
    return models.OptimizationsResponse(
        summary=models.OptimizationsSummary(
            queued_optimizations=busy, queued_segments=busy, queued_points=0, idle_segments=len(segments)
        ),
        running=[],
        idle_segments=segments,
    )


def _segments(of: Collection) -> list[tuple[Path, int]]:
    """Return folders of segments; those with an index share the shard's points."""
    found = []
    for number, shard in enumerate(of.shards):
        folders = sorted((of.folder / f"shard-{number}").glob("segments/*"))
        indexed = [f for f in folders if (f / "vector_index" / "hnsw_config.json").exists()]
        share = shard.info().points_count // max(1, len(indexed))
        found += [(folder, share if folder in indexed else 0) for folder in folders]
    return found


def telemetry(of: Collection) -> dict[str, Any]:
    """Return the part of the telemetry of details level 10 that older servers have to show."""
    segments = [
        {
            "info": {"uuid": path.name, "num_points": count, "num_indexed_vectors": count},
            "config": {"vector_data": {of.vector: {"quantization_config": of.quantization()}}},
        }
        for path, count in _segments(of)
    ]
    return {"id": of.name, "shards": [{"id": 0, "local": {"segments": segments}, "remote": []}]}


def memory(of: Collection) -> dict[str, Any]:
    """Return the report of `GET /collections/{name}/memory`: bytes on disk, and pinned ones on the heap."""
    sizes = dict.fromkeys([*PARTS, "payload"], 0)
    for segment, _ in _segments(of):
        for file in filter(Path.is_file, segment.rglob("*")):
            path = str(file.relative_to(segment))
            part = next((part for part, mark in PARTS.items() if mark in path), "payload")
            sizes[part] += file.stat().st_size
    codes = inner(of.in_force)
    pinned = codes is not None and ("pinned" in (codes.memory or "") or bool(codes.always_ram))
    unmapped = ("storage", "payload", *(["quantized"] if pinned else []))  # Qdrant drops the pages of what it has read
    usage = {
        part: {
            "disk_bytes": size,
            "ram_bytes": size if part == "quantized" and pinned else 0,
            "cached_bytes": 0 if part in unmapped else size,
            "expected_cache_bytes": 0,
        }
        for part, size in sizes.items()
    }
    keys = ("disk_bytes", "ram_bytes", "cached_bytes", "expected_cache_bytes")
    vector = {"name": of.vector, "storage": usage["storage"], "index": usage["index"]}
    if codes is not None and usage["quantized"]["disk_bytes"]:
        vector["quantized"] = usage["quantized"]
    return {
        "total": {key: sum(part[key] for part in usage.values()) for key in keys},
        "vectors": [vector],
        "sparse_vectors": [],
        "payload": usage["payload"],
        "payload_index": [],
        "other": {"id_tracker": usage["id_tracker"]},
    }
