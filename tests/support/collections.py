"""Qdrant collections on top of Qdrant Edge: what a server answers about them, as qdrant-client's own models."""

import json
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

from qexp.engine.edge import _edge_config
from qexp.engine.edge_filter import _filter
from qexp.results import CollectionSpec

Version = tuple[int, int]
LARGER_IS_NEARER = ("Cosine", "Dot")


class Refusal(Exception):
    """An error as Qdrant words it, and its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """One Edge shard for each shard; points are spread by id. `folder` holds all of it, to be loaded again."""

    def __init__(self, name: str, folder: Path, version: Version) -> None:
        self.name = name
        self.folder = folder
        self.version = version
        self.asked = models.CreateCollection.model_validate_json((folder / "collection.json").read_text())
        self.lock = threading.Lock()
        self.optimizer: threading.Thread | None = None
        self.operations = 0
        self.shards = [self._shard(number) for number in range(self.asked.shard_number or 1)]
        self.optimized = not self._wants_indexing or all(s.info().indexed_vectors_count for s in self.shards)

    @classmethod
    def create(cls, name: str, folder: Path, version: Version, body: dict[str, Any]) -> "Collection":
        """Check the request against qdrant-client's model, forget what this version does not know, and build."""
        asked = models.CreateCollection.model_validate(body)
        if asked.quantization_config and "turbo" in asked.quantization_config.model_fields_set and version < (1, 18):
            raise Refusal(400, "Format error in JSON body: data did not match any variant of untagged enum")
        if version < (1, 16):
            asked.metadata = None
        if version < (1, 19):
            for part in (asked.vectors, asked.hnsw_config, _inner(asked.quantization_config)):
                if part is not None:
                    part.memory = None
        folder.mkdir(parents=True)
        (folder / "collection.json").write_text(asked.model_dump_json(exclude_none=True))
        return cls(name, folder, version)

    def _shard(self, number: int) -> Any:
        path = self.folder / f"shard-{number}"
        return edge.EdgeShard.load(str(path)) if path.exists() else edge.EdgeShard.create(str(path), self._edge())

    def _edge(self) -> Any:
        vectors, hnsw, optimizers = self.asked.vectors, self.asked.hnsw_config, self.asked.optimizers_config
        codes = _inner(self.asked.quantization_config)
        old = {True: "cold", False: "cached", None: "cached"}
        held = vectors.memory or old[vectors.on_disk]
        spec = CollectionSpec(
            dataset="",
            digest="",
            points=0,
            size=vectors.size,
            distance=vectors.distance.lower(),
            datatype=vectors.datatype or "float32",
            quantization=self._quantization(),
            method="",
            vectors=held,
            quantized=(codes.memory or ("pinned" if codes.always_ram else held)) if codes else "",
            hnsw=hnsw.memory or old[hnsw.on_disk],
            m=hnsw.m,
            ef_construct=hnsw.ef_construct,
            full_scan_threshold=hnsw.full_scan_threshold,
            segments=optimizers.default_segment_number,
            engine="",
        )
        return _edge_config(spec)

    def _quantization(self) -> dict[str, Any] | None:
        if self.asked.quantization_config is None:
            return None
        return json.loads(self.asked.quantization_config.model_dump_json(exclude_none=True))

    @property
    def _wants_indexing(self) -> bool:
        return bool(self.asked.optimizers_config.indexing_threshold)

    def update(self, body: dict[str, Any]) -> None:
        """PATCH: metadata is merged, optimizer settings are replaced and the optimizers woken up."""
        change = models.UpdateCollection.model_validate(body)
        if change.metadata and self.version >= (1, 16):
            self.asked.metadata = {**(self.asked.metadata or {}), **change.metadata}
        if change.optimizers_config:
            for key in change.optimizers_config.model_fields_set:
                setattr(self.asked.optimizers_config, key, getattr(change.optimizers_config, key))
        (self.folder / "collection.json").write_text(self.asked.model_dump_json(exclude_none=True))
        if change.optimizers_config and self._wants_indexing and self.optimizer is None:
            self.optimizer = threading.Thread(target=self._optimize)
            self.optimizer.start()

    def _optimize(self) -> None:
        for shard in self.shards:
            shard.optimize()
            shard.flush()
        self.optimized, self.optimizer = True, None

    def index(self, body: dict[str, Any]) -> int:
        """Index a field of the payload."""
        asked = models.CreateFieldIndex.model_validate(body)
        for shard in self.shards:
            schema = getattr(edge.PayloadSchemaType, str(asked.field_schema.value).capitalize())
            shard.update(edge.UpdateOperation.create_field_index(asked.field_name, schema))
        return 0

    def upsert(self, ids: list[int], rows: list[list[float]], payloads: list[Any] | None = None) -> int:
        """Store points; a row of another dimension is refused in Qdrant's words."""
        expected = self.asked.vectors.size
        for row in rows:
            if len(row) != expected:
                raise Refusal(400, f"Wrong input: Vector dimension error: expected dim: {expected}, got {len(row)}")
        with self.lock:
            for number, shard in enumerate(self.shards):
                everything = zip(ids, rows, payloads or [None] * len(ids), strict=True)
                mine = [edge.Point(*point) for point in everything if point[0] % len(self.shards) == number]
                if mine:
                    shard.update(edge.UpdateOperation.upsert_points(mine))
                    shard.flush()
            self.operations += 1
            return self.operations

    def query(self, request: models.QueryRequest) -> list[models.ScoredPoint]:
        """Search every shard and merge."""
        asked = request.params.quantization
        params = edge.SearchParams(
            hnsw_ef=request.params.hnsw_ef,
            exact=request.params.exact,
            quantization=edge.QuantizationSearchParams(
                ignore=asked.ignore, rescore=asked.rescore, oversampling=asked.oversampling
            ),
        )
        held = _filter(request.filter) if request.filter else None
        nearest = edge.QueryRequest(
            limit=request.limit, query=edge.Query.Nearest(request.query), params=params, filter=held
        )
        hits = [hit for shard in self.shards for hit in shard.query(nearest)]
        hits.sort(key=lambda hit: hit.score, reverse=self.asked.vectors.distance in LARGER_IS_NEARER)
        return [models.ScoredPoint(id=hit.id, version=0, score=hit.score) for hit in hits[: request.limit]]

    def retrieve(self, ids: list[int]) -> list[models.Record]:
        """Return points with their vectors, in no particular order, as a server does."""
        found = [r for shard in self.shards for r in shard.retrieve(ids, False, True)]
        return [models.Record(id=record.id, vector=record.vector) for record in reversed(found)]

    def scroll(self, request: models.ScrollRequest) -> models.ScrollResult:
        """Return one page of points, by id."""
        held = _filter(request.filter) if request.filter else None
        found: list[int] = []
        for shard in self.shards:
            records, _ = shard.scroll(edge.ScrollRequest(None, shard.info().points_count, held))
            found += [record.id for record in records]
        later = sorted(id for id in found if id >= (request.offset or 0))
        page, rest = later[: request.limit], later[request.limit :]
        points = [models.Record(id=id) for id in page]
        return models.ScrollResult(points=points, next_page_offset=rest[0] if rest else None)

    def count(self) -> int:
        return sum(shard.info().points_count for shard in self.shards)

    def info(self) -> models.CollectionInfo:
        """Return counts, status and the full configuration with Qdrant's defaults."""
        counted = [shard.info() for shard in self.shards]
        status = "yellow" if self.optimizer else "green" if self.optimized else "grey"
        asked = json.loads(self.asked.model_dump_json(exclude_none=True))
        quantization = asked.get("quantization_config")
        return models.CollectionInfo(
            status="green" if status == "grey" and not self._wants_indexing else status,
            optimizer_status="ok",
            points_count=sum(info.points_count for info in counted),
            indexed_vectors_count=sum(info.indexed_vectors_count for info in counted),
            segments_count=sum(len(list((self.folder / f"shard-{n}").glob("segments/*"))) for n in range(len(counted))),
            payload_schema={},
            update_queue=models.UpdateQueueInfo(length=0) if self.version >= (1, 17) else None,
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

    def cluster(self) -> models.CollectionClusterInfo:
        """Return where the shards are: here, each once, however many replicas were asked for."""
        local = [
            models.LocalShardInfo(shard_id=number, points_count=shard.info().points_count, state="Active")
            for number, shard in enumerate(self.shards)
        ]
        return models.CollectionClusterInfo(
            peer_id=1, shard_count=len(local), local_shards=local, remote_shards=[], shard_transfers=[]
        )

    def optimizations(self) -> models.OptimizationsResponse:
        """Return progress, and every segment: the indexed ones, and the empty one that waits for new points."""
        segments = [
            models.OptimizationSegmentInfo(uuid=uuid.UUID(path.name), points_count=count)
            for path, count in self._segments()
        ]
        busy = 0 if self.optimizer is None else 1
        return models.OptimizationsResponse(
            summary=models.OptimizationsSummary(
                queued_optimizations=busy, queued_segments=busy, queued_points=0, idle_segments=len(segments)
            ),
            running=[],
            idle_segments=segments,
        )

    def _segments(self) -> list[tuple[Path, int]]:
        """Return folders of segments; those with an index share the shard's points."""
        found = []
        for number, shard in enumerate(self.shards):
            folders = sorted((self.folder / f"shard-{number}").glob("segments/*"))
            indexed = [f for f in folders if (f / "vector_index" / "hnsw_config.json").exists()]
            share = shard.info().points_count // max(1, len(indexed))
            found += [(folder, share if folder in indexed else 0) for folder in folders]
        return found

    def telemetry(self) -> dict[str, Any]:
        """Return the part of the telemetry of details level 10 that older servers have to show."""
        segments = [
            {
                "info": {"uuid": path.name, "num_points": count, "num_indexed_vectors": count},
                "config": {"vector_data": {"": {"quantization_config": self._quantization()}}},
            }
            for path, count in self._segments()
        ]
        return {"id": self.name, "shards": [{"id": 0, "local": {"segments": segments}, "remote": []}]}

    def memory(self) -> dict[str, Any]:
        """Return the report of `GET /collections/{name}/memory`: bytes on disk, and pinned ones on the heap."""
        sizes = {"storage": 0, "quantized": 0, "index": 0, "id_tracker": 0, "payload": 0}
        for segment, _ in self._segments():
            for file in filter(Path.is_file, segment.rglob("*")):
                path = f"{file.parent.name}/{file.name}"
                part = (
                    *("quantized" for _ in [0] if "quantized" in path),
                    *("storage" for _ in [0] if "vector_storage" in path),
                    *("index" for _ in [0] if "vector_index" in path),
                    *("id_tracker" for _ in [0] if "id_tracker" in path),
                    "payload",
                )[0]
                sizes[part] += file.stat().st_size
        codes = _inner(self.asked.quantization_config)
        pinned = codes is not None and ("pinned" in (codes.memory or "") or bool(codes.always_ram))
        usage = {
            part: {
                "disk_bytes": size,
                "ram_bytes": size if part == "quantized" and pinned else 0,
                "cached_bytes": 0 if part in ("storage", "payload") else size,
                "expected_cache_bytes": 0,
            }
            for part, size in sizes.items()
        }
        keys = ("disk_bytes", "ram_bytes", "cached_bytes", "expected_cache_bytes")
        vector = {"name": "", "storage": usage["storage"], "index": usage["index"]}
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

    def close(self) -> None:
        if self.optimizer:
            self.optimizer.join()
        for shard in self.shards:
            shard.close()

    def drop(self) -> None:
        self.close()
        shutil.rmtree(self.folder)


def _inner(quantization: Any) -> Any:
    """Return what is below `scalar`, `product`, `binary` or `turbo`."""
    return None if quantization is None else getattr(quantization, next(iter(type(quantization).model_fields)))
