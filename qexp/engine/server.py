"""Any Qdrant since 1.15, a binary, a container, a cluster, Cloud: one collection of ours, and nothing of others."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from qexp.config import ServerConfig
from qexp.engine import dialect
from qexp.engine.base import INDEX_ALWAYS, SCROLL_BATCH, UPLOAD_BATCH, in_order, payload_batches
from qexp.engine.connection import connect
from qexp.engine.patience import P, R, outlast
from qexp.engine.readback import Readback, failure
from qexp.engine.wire import Grpc, Payloads, Rest, Taken
from qexp.errors import BenchmarkError, EngineError
from qexp.progress import Progress
from qexp.results import Build, CollectionSpec, CollectionState, MemoryUse, OperatingPoint, Search, Vectors

log = logging.getLogger(__name__)

UPLOAD_BYTES = 2 * 2**20  # of float32 and payload; as JSON it stays well below Qdrant's 32 MB a request
GREENS = 2  # consecutive polls: between upload and optimizer a collection is green for a moment
POLL_SECONDS = 0.2
TOLD_SECONDS = 5.0  # between two requests to optimize, each of which has the server begin anew
PINGS = 50


class ServerEngine:
    """A collection named after its spec and marked as ours in its metadata; before Qdrant 1.15.4 the name is the mark.

    The mark holds a token of the build, and the build's seconds once it is complete.
    """

    def __init__(self, config: ServerConfig, condition: dict[str, Any] | None = None) -> None:
        self._config = config
        self._condition = condition
        self._client, self._rest, version = connect(config, condition)
        self._version = dialect.parse_version(version, self._rest.url)
        self._wire: Rest | Grpc = self._rest
        if config.prefer_grpc:
            self._wire = Grpc(self._client, config, condition)
        self._marks = self._version >= dialect.METADATA
        self._spec: CollectionSpec
        self._there: Readback
        self._build = ""  # the token of the build that we made or opened

    def open(self, spec: CollectionSpec) -> Build | None:
        """Find the collection, if it is ours and complete; raise EngineError if it is someone else's."""
        self._choose(spec)
        info = self._there.find()
        if info is None:
            return None
        mark = self._there.mark(info)
        complete = "index_seconds" in mark if self._marks else self._there.ready(info)
        if not complete:
            return None
        if not self._there.idle(info):
            log.info("%s: waiting until the server has ended its work on it", self._there.name)
        self._wait(self._there.idle)
        self._build = mark.get("build", "")
        return Build(mark.get("upload_seconds"), mark.get("index_seconds"), self.state(), reused=True)

    def create(self, spec: CollectionSpec) -> None:
        """Make an empty collection, not indexed yet, instead of an incomplete one.

        Raises EngineError if another process makes it, BenchmarkError if the server leaves the quantization out.
        """
        self._choose(spec)
        left = self._there.find()
        if left is not None:
            self._build = self._there.mark(left).get("build", "")
            self._delete()
        self._build = uuid.uuid4().hex
        body = dialect.creation(spec, self._version, self._metadata())
        try:
            self._rest.ask("PUT", self._there.path(), body)
        except Taken as error:
            raise EngineError(f"{error}; another process is making it: wait for that one, then try again") from error
        made = self._there.info()["config"]
        if spec.quantization and not made.get("quantization_config"):
            self.drop()
            raise BenchmarkError(
                f"T06 {self._there.name}: the server has made it without quantization '{spec.method}' and does not say "
                f"why; update it or choose another quantization"
            )
        # A server may quantize by default (storage.collection.quantization), which no request to create can decline.
        if spec.quantization is None and made.get("quantization_config"):
            self._rest.ask("PATCH", self._there.path(), {"quantization_config": "Disabled"})
        # It may also optimize nothing by default (storage.optimizers): then nothing would ever be indexed.
        if made["optimizer_config"].get("max_optimization_threads") == 0:
            self._rest.ask("PATCH", self._there.path(), {"optimizers_config": {"max_optimization_threads": "auto"}})

    def upload(self, vectors: Vectors, payload: Path | None = None) -> None:
        """Upsert batches in parallel; ids make a repeated batch harmless, so that a broken connection is outlasted."""
        for key, kind in self._spec.payload_indexes.items():
            field = {"field_name": key, "field_schema": kind}
            self._patiently(self._rest.ask, "PUT", self._there.path("/index"), field, {"wait": "true"})
        point = 4 * vectors.shape[1] + (payload.stat().st_size // len(vectors) if payload else 0)
        size = max(1, min(UPLOAD_BATCH, UPLOAD_BYTES // point))
        parallel = self._config.upload_parallel

        def put(first: int, payloads: Payloads) -> None:
            rows = np.asarray(vectors[first : first + size]).tolist()
            self._patiently(self._wire.upsert, self._there.name, first, rows, payloads)

        progress = Progress(f"{self._spec.title}: upload", len(vectors))
        under_way: deque[Future[None]] = deque()  # few, so that memory does not grow with the collection
        with ThreadPoolExecutor(parallel) as pool:
            try:
                starts = range(0, len(vectors), size)
                for first, payloads in zip(starts, payload_batches(payload, size), strict=False):
                    if len(under_way) >= 2 * parallel:
                        under_way.popleft().result()
                        progress.advance(size)
                    under_way.append(pool.submit(put, first, payloads))
                for waiting in under_way:
                    waiting.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def wait_until_indexed(self) -> None:
        """Let the optimizers begin, and return when everything is indexed and quantized and nothing is under way."""
        self._patiently(self._optimize)
        self._wait(self._there.ready)

    def _wait(self, done: Callable[[dict[str, Any]], bool]) -> None:
        """Return when polls in a row find it done.

        Raises EngineError if something fails or a replica stays dead, BenchmarkError after engine.ready_timeout.
        """
        deadline = time.monotonic() + self._config.ready_timeout
        progress: Progress | None = None
        greens, told = 0, -inf
        while True:
            info = self._patiently(self._there.info)
            indexed = info.get("indexed_vectors_count") or 0
            progress = progress or Progress(f"{self._spec.title}: indexed", self._spec.points, indexed)
            progress.reach(indexed)
            if failed := failure(info):
                raise EngineError(f"{self._there.name}: {failed}")
            if info["status"] == "grey" and time.monotonic() > told + TOLD_SECONDS:  # after a restart it waits for that
                self._patiently(self._optimize)
                told = time.monotonic()
            greens = greens + 1 if self._patiently(done, info) else 0
            if greens == GREENS:
                return
            if not greens:
                self._patiently(self._there.need_living)
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"T02 {self._there.name}: not indexed, quantized and idle after engine.ready_timeout="
                    f"{self._config.ready_timeout} s (status {info['status']}, "
                    f"{info.get('indexed_vectors_count')} vectors indexed); allow more, or look into the server's log"
                )
            time.sleep(POLL_SECONDS)

    def seal(self, build: Build) -> None:
        """Write the build's seconds into the mark, which makes it complete; EngineError if it is another's by now."""
        if self._marks:
            if self._there.mark(self._there.info()).get("build") != self._build:
                raise EngineError(
                    f"{self._there.name}: another process rebuilt it meanwhile; try again when that has ended"
                )
            marked = self._metadata(upload_seconds=build.upload_seconds, index_seconds=build.index_seconds)
            self._patiently(self._rest.ask, "PATCH", self._there.path(), {"metadata": marked})

    def query(self, vector: list[float]) -> list[float]:
        """Return the query vector as it is: requests are text or messages of their own."""
        return vector

    def search(self, point: OperatingPoint) -> Search:
        """Return a search with `rescore` always explicit, on a connection that is open before anything is timed."""
        self._patiently(self._wire.ping)
        return self._wire.search(self._there.name, point)

    def state(self) -> CollectionState:
        """Read back the configuration, the exact count, the segments, and the bytes of every component."""
        return self._there.state()

    def vectors(self, rows: list[int]) -> list[list[float]]:
        """Return the stored original vectors of these points, in the order asked."""
        body = {"ids": rows, "with_vector": True, "with_payload": False}
        stored = {
            record["id"]: record["vector"] for record in self._rest.ask("POST", self._there.path("/points"), body)
        }
        return in_order(self._there.name, rows, stored)

    def matching(self) -> list[int]:
        """Scroll through the points that the filter lets through."""
        rows: list[int] = []
        asked = {"limit": SCROLL_BATCH, "filter": self._condition, "with_payload": False, "with_vector": False}
        offset = None
        while True:
            page = self._rest.ask("POST", self._there.path("/points/scroll"), {**asked, "offset": offset})
            rows += [record["id"] for record in page["points"]]
            offset = page.get("next_page_offset")
            if offset is None:
                return rows

    def memory(self) -> MemoryUse | None:
        """Return the bytes in RAM of one copy of the collection; None before Qdrant 1.18, which only has estimates."""
        return self._there.memory()

    def round_trip(self) -> float:
        """Return the median seconds of going there and back without any work."""
        self._wire.ping()
        taken = []
        for _ in range(PINGS):
            started = time.perf_counter()
            self._wire.ping()
            taken.append(time.perf_counter() - started)
        return median(taken)

    def drop_pages(self) -> None:
        """Raise EngineError: what a server's machine holds in memory is out of reach."""
        raise EngineError("the pages of a server cannot be dropped from here; search.cache=cold needs engine=edge")

    def drop(self) -> None:
        """Remove the collection, if it is there and still the one that we built or opened."""
        try:
            info = self._there.find()
            if info is not None and self._there.mark(info).get("build", "") == (self._build if self._marks else ""):
                self._delete()
        except EngineError as error:  # the reason why it is dropped must not be hidden by this
            log.warning("%s stays on the server: %s", self._there.name, error)

    def close(self) -> None:
        """Release the connections; the collection stays."""
        self._client.close()

    def _choose(self, spec: CollectionSpec) -> None:
        name = dialect.collection_name(self._config.prefix, spec)
        if name == self._config.source_collection:
            raise EngineError(f"engine.source_collection={name}: is what qexp would build; set engine.prefix=…")
        self._spec, self._there = spec, Readback(self._rest, self._version, name, spec)

    def _metadata(self, **seconds: float | None) -> dict[str, Any]:
        return {dialect.MARK: {"spec": self._spec.name, "build": self._build, **seconds}}

    def _delete(self) -> None:
        self._rest.ask("DELETE", self._there.path())

    def _optimize(self) -> None:
        self._rest.ask("PATCH", self._there.path(), {"optimizers_config": {"indexing_threshold": INDEX_ALWAYS}})

    def _patiently(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return outlast(self._config.patience, call, *args, **kwargs)
