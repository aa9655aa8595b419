"""Qdrant collections on top of Qdrant Edge, with qdrant-client's own models on the outside."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

from qexp.engine.edge import _edge_config
from qexp.engine.edge_filter import _filter
from qexp.results import CollectionSpec

Version = tuple[int, ...]
LARGER_IS_NEARER = ("Cosine", "Dot")


class Refusal(Exception):
    """An error as Qdrant words it, and its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """One Edge shard for each shard; points are spread by id. `folder` holds all of it, to be loaded again.

    It has one dense vector; if that has a name, the shards below know nothing of it.
    """

    def __init__(self, name: str, folder: Path, version: Version) -> None:
        self.name = name
        self.folder = folder
        self.version = version
        self.asked = models.CreateCollection.model_validate_json((folder / "collection.json").read_text())
        self.lock = threading.Lock()
        self.optimizer: threading.Thread | None = None
        self.operations = 0
        self.payload_schema: dict[str, models.PayloadIndexInfo] = {}
        self.shards = [self._shard(number) for number in range(self.asked.shard_number or 1)]
        self.optimized = not self.wants_indexing or all(s.info().indexed_vectors_count for s in self.shards)

    @classmethod
    def create(cls, name: str, folder: Path, version: Version, body: dict[str, Any]) -> "Collection":
        """Check the request against qdrant-client's model, forget what this version does not know, and build."""
        asked = models.CreateCollection.model_validate(body)
        if asked.quantization_config and "turbo" in asked.quantization_config.model_fields_set and version < (1, 18):
            raise Refusal(400, "Format error in JSON body: data did not match any variant of untagged enum")
        if version < (1, 15, 4):
            asked.metadata = None
        if version < (1, 19):
            _forget_memory(asked.vectors, asked.hnsw_config, asked.quantization_config)
        folder.mkdir(parents=True)
        (folder / "collection.json").write_text(asked.model_dump_json(exclude_none=True))
        return cls(name, folder, version)

    def _shard(self, number: int) -> Any:
        path = self.folder / f"shard-{number}"
        return edge.EdgeShard.load(str(path)) if path.exists() else edge.EdgeShard.create(str(path), self._edge())

    def _edge(self) -> Any:
        vectors, optimizers = self.params, self.asked.optimizers_config
        hnsw = _merged(self.asked.hnsw_config, vectors.hnsw_config)
        codes = inner(self.in_force)
        old = {True: "cold", False: "cached", None: "cached"}
        held = vectors.memory or old[vectors.on_disk]
        beside = "cold" if held == "cold" else "pinned"
        spec = CollectionSpec(
            dataset="",
            digest="",
            points=0,
            size=vectors.size,
            distance=vectors.distance.lower(),
            datatype=vectors.datatype or "float32",
            quantization=self.quantization(),
            method="",
            vectors=held,
            quantized=(codes.memory or ("pinned" if codes.always_ram else beside)) if codes else "",
            hnsw=hnsw.memory or old[hnsw.on_disk],
            m=hnsw.m,
            ef_construct=hnsw.ef_construct,
            full_scan_threshold=hnsw.full_scan_threshold,
            segments=optimizers.default_segment_number,
            engine="",
        )
        return _edge_config(spec)

    @property
    def vector(self) -> str:
        """The name of the vector, empty if it has none."""
        return next(iter(self.asked.vectors)) if isinstance(self.asked.vectors, dict) else ""

    @property
    def params(self) -> models.VectorParams:
        return self.asked.vectors[self.vector] if self.vector else self.asked.vectors

    @property
    def in_force(self) -> Any:
        """The quantization that is built: what the vector sets for itself wins over the collection's."""
        return self.params.quantization_config or self.asked.quantization_config

    def quantization(self) -> dict[str, Any] | None:
        return None if self.in_force is None else json.loads(self.in_force.model_dump_json(exclude_none=True))

    @property
    def wants_indexing(self) -> bool:
        return bool(self.asked.optimizers_config.indexing_threshold)

    @property
    def may_optimize(self) -> bool:
        return self.asked.optimizers_config.max_optimization_threads != 0

    def update(self, body: dict[str, Any]) -> None:
        """PATCH: metadata is merged, settings are replaced, and the optimizers woken up to build what they say now."""
        change = models.UpdateCollection.model_validate(body)
        if change.vectors or change.hnsw_config or change.quantization_config:
            self._reconfigure(change)
        if change.metadata and self.version >= (1, 15, 4):
            self.asked.metadata = {**(self.asked.metadata or {}), **change.metadata}
        if change.optimizers_config:
            for key in change.optimizers_config.model_fields_set:
                value = getattr(change.optimizers_config, key)
                setattr(self.asked.optimizers_config, key, None if value == "auto" else value)
        (self.folder / "collection.json").write_text(self.asked.model_dump_json(exclude_none=True))
        to_do = (change.optimizers_config or not self.optimized) and self.wants_indexing
        if to_do and self.may_optimize and self.optimizer is None:
            self.optimizer = threading.Thread(target=self._optimize)
            self.optimizer.start()

    def _reconfigure(self, change: models.UpdateCollection) -> None:
        """Change what vectors and collection say, and store every point anew."""
        unknown = [name for name in change.vectors or {} if name != self.vector]
        if unknown:
            raise Refusal(400, f"Wrong input: Vector params for {unknown[0]} are not specified in config")
        for target, diff in ((self.params, (change.vectors or {}).get(self.vector)), (self.asked, change)):
            if diff is None:
                continue
            if self.version < (1, 19):
                _forget_memory(diff, diff.hnsw_config, diff.quantization_config)
            for key in diff.model_fields_set & {"memory", "on_disk"}:
                setattr(target, key, getattr(diff, key))
            if diff.hnsw_config:
                target.hnsw_config = _merged(target.hnsw_config, diff.hnsw_config)
            if diff.quantization_config:
                off = diff.quantization_config == models.Disabled.DISABLED
                target.quantization_config = None if off else diff.quantization_config
        everything = self.scroll(models.ScrollRequest(limit=self.count(), with_vector=True, with_payload=True)).points
        for number, shard in enumerate(self.shards):
            shard.close()
            shutil.rmtree(self.folder / f"shard-{number}")
        self.shards = [self._shard(number) for number in range(len(self.shards))]
        rows = [record.vector[self.vector] if self.vector else record.vector for record in everything]
        self.upsert([record.id for record in everything], rows, [record.payload for record in everything])
        self.optimized = False

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
        points = self.count()
        self.payload_schema[asked.field_name] = models.PayloadIndexInfo(data_type=asked.field_schema, points=points)
        return 0

    def upsert(self, ids: list[int], rows: list[list[float]], payloads: list[Any] | None = None) -> int:
        """Store points; a row of another dimension, and too many rows, are refused in Qdrant's words."""
        strict = self.asked.strict_mode_config
        most = strict.upsert_max_batchsize if strict and strict.enabled else None
        if most is not None and len(rows) > most:
            raise Refusal(400, f'Bad request: Limit exceeded {len(rows)} > {most} for "upsert limit".')
        expected = self.params.size
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
        hits.sort(key=lambda hit: hit.score, reverse=self.params.distance in LARGER_IS_NEARER)
        return [models.ScoredPoint(id=hit.id, version=0, score=hit.score) for hit in hits[: request.limit]]

    def retrieve(self, ids: list[int]) -> list[models.Record]:
        """Return points with their vectors, in no particular order, as a server does."""
        found = [r for shard in self.shards for r in shard.retrieve(ids, False, True)]
        return [self._record(record, models.PointRequest(ids=[], with_vector=True)) for record in reversed(found)]

    def scroll(self, request: models.ScrollRequest) -> models.ScrollResult:
        """Return one page of points, by id."""
        held = _filter(request.filter) if request.filter else None
        found: dict[int, Any] = {}
        for shard in self.shards:
            records, _ = shard.scroll(edge.ScrollRequest(None, shard.info().points_count, held, True, True))
            found |= {record.id: record for record in records}
        later = sorted(id for id in found if id >= (request.offset or 0))
        page, rest = later[: request.limit], later[request.limit :]
        points = [self._record(found[id], request) for id in page]
        return models.ScrollResult(points=points, next_page_offset=rest[0] if rest else None)

    def _record(self, record: Any, request: models.ScrollRequest | models.PointRequest) -> models.Record:
        vector = ({self.vector: record.vector} if self.vector else record.vector) if request.with_vector else None
        return models.Record(id=record.id, vector=vector, payload=record.payload if request.with_payload else None)

    def count(self) -> int:
        return sum(shard.info().points_count for shard in self.shards)

    def close(self) -> None:
        if self.optimizer:
            self.optimizer.join()
        for shard in self.shards:
            shard.close()

    def drop(self) -> None:
        self.close()
        shutil.rmtree(self.folder)


def inner(quantization: Any) -> Any:
    """Return what is below `scalar`, `product`, `binary` or `turbo`."""
    return None if quantization is None else getattr(quantization, next(iter(type(quantization).model_fields)))


def _merged(base: Any, diff: Any) -> Any:
    return base.model_copy(update=diff.model_dump(exclude_unset=True)) if base and diff else base or diff


def _forget_memory(vectors: Any, hnsw: Any, quantization: Any) -> None:
    """Do as a server that has not heard of `memory`."""
    each = vectors.values() if isinstance(vectors, dict) else [vectors]
    for part in (*each, hnsw, None if isinstance(quantization, models.Disabled) else inner(quantization)):
        if part is not None and "memory" in type(part).model_fields:
            part.memory = None
