"""Qdrant Edge: Qdrant's own segment engine, in this process, one shard per collection."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from qexp.config.dataset import DISTANCES
from qexp.engine import edge_folder
from qexp.engine.base import INDEX_ALWAYS, SCROLL_BATCH, UPLOAD_BATCH, in_order, payload_batches
from qexp.engine.edge_folder import SHARD
from qexp.engine.process import drop_pages, give_back, mapped_bytes, process_memory
from qexp.errors import ConfigError, EngineError, in_one_line
from qexp.progress import Progress
from qexp.results import (
    DATATYPE_BITS,
    Build,
    CollectionSpec,
    CollectionState,
    MemoryUse,
    OperatingPoint,
    Search,
    Vectors,
    method_of,
)

log = logging.getLogger(__name__)

_DISTANCE = {name: getattr(edge.Distance, name.capitalize()) for name in DISTANCES}
_DATATYPE = {name: getattr(edge.VectorStorageDatatype, name.capitalize()) for name in DATATYPE_BITS}
_MEMORY = {"cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned}
_ENCODING = {
    "one_bit": edge.BinaryQuantizationEncoding.OneBit,
    "one_and_half_bits": edge.BinaryQuantizationEncoding.OneAndHalfBits,
    "two_bits": edge.BinaryQuantizationEncoding.TwoBits,
}
_QUERY_ENCODING = {
    "default": edge.BinaryQuantizationQueryEncoding.Default,
    "binary": edge.BinaryQuantizationQueryEncoding.Binary,
    "scalar4bits": edge.BinaryQuantizationQueryEncoding.Scalar4Bits,
    "scalar8bits": edge.BinaryQuantizationQueryEncoding.Scalar8Bits,
}
_COMPRESSION = {f"x{ratio}": getattr(edge.CompressionRatio, f"X{ratio}") for ratio in (4, 8, 16, 32, 64)}
_BITS = {f"bits{bits}": getattr(edge.TurboQuantBitSize, f"Bits{bits}") for bits in ("1", "1_5", "2", "4", "8")}


class EdgeEngine:
    """A collection as a folder below `home`, named after its spec.

    The folder holds the shard and a manifest with every file's size; it appears by one rename when it is complete.
    """

    def __init__(self, home: Path, condition: dict[str, Any] | None = None) -> None:
        self._home = home.resolve()  # as the kernel names mapped files
        self._filter = _filter(condition) if condition else None
        self._shard: Any = None
        self._spec: CollectionSpec
        self._folder: Path
        self._heap_before = 0

    def open(self, spec: CollectionSpec) -> Build | None:
        """Load the collection if its files are those of its manifest; remove it if they are not.

        Raises EngineError if it is whole and cannot be loaded.
        """
        folder = self._home / spec.name
        if not folder.exists():
            return None
        self._spec, self._folder = spec, folder
        self._heap_before = _heap_bytes()
        try:
            manifest = edge_folder.manifest_of(folder)
        except (FileNotFoundError, ValueError) as error:
            log.warning("%s: removed, and to be built again: %s", folder, error)
            self.drop()
            return None
        except OSError as error:
            raise _unloadable(folder, error) from error
        try:
            self._shard = _engine_call(edge.EdgeShard.load, str(folder / SHARD))
            give_back()
            build = Build(manifest["upload_seconds"], manifest["index_seconds"], self.state(), reused=True)
        except (EngineError, OSError, ValueError, KeyError) as error:
            self.close()
            raise _unloadable(folder, error) from error
        os.utime(folder)
        return build

    def create(self, spec: CollectionSpec) -> None:
        """Make an empty shard in a folder of its own."""
        self._spec = spec
        self._folder = edge_folder.begin(self._home, spec.name)
        self._shard = _engine_call(edge.EdgeShard.create, str(self._folder / SHARD), _edge_config(spec))

    def upload(self, vectors: Vectors, payload: Path | None = None) -> None:
        """Upsert in batches; rows become Python lists because that is the fastest way in."""
        for key, kind in self._spec.payload_indexes.items():
            schema = getattr(edge.PayloadSchemaType, kind.capitalize())
            _engine_call(self._shard.update, _engine_call(edge.UpdateOperation.create_field_index, key, schema))
        starts, progress = range(0, len(vectors), UPLOAD_BATCH), Progress(f"{self._spec.title}: upload", len(vectors))
        for start, payloads in zip(starts, payload_batches(payload, UPLOAD_BATCH), strict=False):
            rows = np.asarray(vectors[start : start + UPLOAD_BATCH]).tolist()
            points = [edge.Point(start + n, row, payloads[n]) for n, row in enumerate(rows)]
            _engine_call(self._shard.update, edge.UpdateOperation.upsert_points(points))
            progress.advance(len(points))

    def wait_until_indexed(self) -> None:
        """Run the optimizers to the end and write everything out."""
        _engine_call(self._shard.optimize)
        _engine_call(self._shard.flush)

    def seal(self, build: Build) -> None:
        """Close the shard, write the manifest, and rename the folder to its final name."""
        self.close()
        self._folder = edge_folder.complete(self._folder, self._spec, build)

    def query(self, vector: list[float]) -> Any:
        """Return a query vector copied into the engine's own memory, from where a request copies it faster."""
        return edge.Query.Nearest(vector)

    def search(self, point: OperatingPoint) -> Search:
        """Return a search with `rescore` always explicit."""
        params = edge.SearchParams(
            hnsw_ef=point.hnsw_ef,
            exact=point.exact,
            quantization=edge.QuantizationSearchParams(
                ignore=point.ignore, rescore=point.rescore, oversampling=point.oversampling
            ),
        )

        def prepare(vector: Any) -> Any:
            query = self.query(vector) if isinstance(vector, list) else vector
            return edge.QueryRequest(limit=point.limit, query=query, params=params, filter=self._filter)

        def ids(found: Any) -> list[int]:
            return [hit.id for hit in found]

        def scores(found: Any) -> list[float]:
            return [hit.score for hit in found]

        def several(requests: list[Any]) -> list[Any]:
            found: list[Any] = self._shard.query_batch(edge.QueryBatchRequest(requests))
            return found

        return Search(prepare, self._shard.query, ids, scores, several=several)

    def state(self) -> CollectionState:
        """Read the shard's counts, its configuration files, and the sizes of its files by component."""
        info = _engine_call(self._shard.info)
        return edge_folder.read_state(self._folder, info.points_count, info.indexed_vectors_count)

    def matching(self) -> list[int]:
        """Scroll through the points that the filter lets through."""
        rows, offset = [], None
        while True:
            request = edge.ScrollRequest(offset, SCROLL_BATCH, self._filter, with_payload=False, with_vector=False)
            records, offset = _engine_call(self._shard.scroll, request)
            rows += [record.id for record in records]
            if offset is None:
                return rows

    def vectors(self, rows: list[int]) -> list[list[float]]:
        """Return the stored original vectors of these points, in the order asked."""
        records = {record.id: record.vector for record in _engine_call(self._shard.retrieve, rows, False, True)}
        return in_order(self._spec.name, rows, records)

    def memory(self) -> MemoryUse | None:
        """Return resident bytes of the shard's mapped files by component, and the heap since before loading.

        None where the system does not say what is mapped, as macOS does not.
        """
        heap, process = _heap_bytes(), process_memory()  # before asking for pages, which takes memory too
        files = mapped_bytes(self._folder)
        if files is None:
            return None
        mapped: dict[str, int] = {}
        indexed = edge_folder.indexed_segments(self._folder / SHARD)
        for path, size in files.items():
            part = edge_folder.component(path, indexed)
            mapped[part] = mapped.get(part, 0) + size
        return MemoryUse(mapped, max(0, heap - self._heap_before), process)

    def drop_pages(self) -> None:
        """Close the shard, have the kernel forget the pages of its files, and load it again."""
        self.close()
        try:
            drop_pages(self._folder)
        finally:
            self._shard = _engine_call(edge.EdgeShard.load, str(self._folder / SHARD))

    def round_trip(self) -> None:
        """Return None: there is no way to go."""

    def drop(self) -> None:
        """Close the shard and remove its folder."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Release the shard."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None


def _unloadable(folder: Path, error: Exception) -> EngineError:
    return EngineError(
        f"{folder}: cannot be loaded ({error}); see that it may be read, or remove it with qexp-cache rm "
        f"{folder.parent.name}/{folder.name}"
    )


def _filter(condition: dict[str, Any]) -> Any:
    from qexp.engine.edge_filter import edge_filter  # Qdrant's schema takes a second to import

    try:
        return edge_filter(condition)
    except ValueError as error:
        hint = "; put a name with blanks or dots in double quotes" if "JSON path" in str(error) else ""
        raise ConfigError(f"search.filter: {error}{hint}") from error
    except (OverflowError, TypeError) as error:  # the schema bounds no integer; Edge's classes say so at length
        if isinstance(error, TypeError) and "failed to extract" not in str(error):
            raise
        raise ConfigError("search.filter: an integer in it is negative where it counts, or beyond 64 bits") from error


def _engine_call(function: Any, *arguments: Any) -> Any:
    """Call into the engine, whose every failure is a plain Exception."""
    try:
        return function(*arguments)
    except Exception as error:
        raise EngineError(f"Qdrant Edge: {in_one_line(error)}") from error


def _edge_config(spec: CollectionSpec) -> Any:
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            spec.size, _DISTANCE[spec.distance], datatype=_DATATYPE[spec.datatype], memory=_MEMORY[spec.vectors]
        ),
        quantization_config=_edge_quantization(spec),
        hnsw_config=edge.HnswIndexConfig(
            spec.m, spec.ef_construct, spec.full_scan_threshold, memory=_MEMORY[spec.hnsw]
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=INDEX_ALWAYS, default_segment_number=spec.segments),
        wal_enabled=False,
    )


def _edge_quantization(spec: CollectionSpec) -> Any:
    """Translate Qdrant's `quantization_config`, which the schema check has accepted, for Edge."""
    method, given = method_of(spec.quantization)
    if not method:
        return None
    memory = _MEMORY[spec.quantized]
    if method == "scalar":
        return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, given.get("quantile"), memory=memory)
    if method == "product":
        return edge.ProductQuantizationConfig(_COMPRESSION[given["compression"]], memory=memory)
    if method == "binary":
        return edge.BinaryQuantizationConfig(
            encoding=_ENCODING.get(given.get("encoding", "")),
            query_encoding=_QUERY_ENCODING.get(given.get("query_encoding", "")),
            memory=memory,
        )
    return edge.TurboQuantQuantizationConfig(bits=_BITS.get(given.get("bits", "")), memory=memory)


def _heap_bytes() -> int:
    """Return this process's anonymous resident memory (RssAnon of Linux; elsewhere all that is resident)."""
    import psutil

    process = process_memory()
    return process.anonymous if process else int(psutil.Process().memory_info().rss)
