"""What an engine can do, and how any engine brings a collection to the state that is measured."""

import json
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from qexp.errors import BenchmarkError
from qexp.results import Build, CollectionSpec, CollectionState, MemoryUse, OperatingPoint, Search, Vectors

UPLOAD_BATCH = 1000  # points in a request
SCROLL_BATCH = 10_000
INDEX_ALWAYS = 1  # KiB: with Qdrant's default small collections would stay unindexed and unquantized


class Engine(Protocol):
    """One collection in one place. Every method may raise EngineError."""

    def open(self, spec: CollectionSpec) -> Build | None:
        """Load the collection if it is there, whole and as specified; else return None."""

    def create(self, spec: CollectionSpec) -> None:
        """Make an empty collection that nobody sees before `seal`."""

    def upload(self, vectors: Vectors, payload: Path | None = None) -> None:
        """Store float32 [n, size] with the payloads of a file, one JSON object a line; the point id is the row."""

    def wait_until_indexed(self) -> None:
        """Return when every point is indexed and, if so specified, quantized."""

    def seal(self, build: Build) -> None:
        """Make the finished collection the one that `open` finds."""

    def query(self, vector: list[float]) -> Any:
        """Return a query vector in the engine's own form, which `prepare` of every search takes as well as a list."""

    def search(self, point: OperatingPoint) -> Search:
        """Return how to search at this operating point."""

    def state(self) -> CollectionState:
        """Read back what was really built."""

    def matching(self) -> list[int]:
        """Return the row numbers, in order, of the points that the filter of all searches lets through."""

    def vectors(self, rows: list[int]) -> list[list[float]]:
        """Return the stored vectors of these points."""

    def memory(self) -> MemoryUse | None:
        """Return the collection's bytes in RAM now; None if the engine does not know."""

    def round_trip(self) -> float | None:
        """Return the seconds of going to the engine and back; None if it is in this process."""

    def drop_pages(self) -> None:
        """Bring the collection to the state after a restart with nothing of it in memory; EngineError if impossible."""

    def drop(self) -> None:
        """Remove the collection."""

    def close(self) -> None:
        """Release everything; the collection stays."""


def payload_batches(path: Path | None, size: int) -> Iterator[list[dict[str, Any] | None]]:
    """Yield the payloads of a file in lists of `size`; without a file, endless lists of None."""
    if path is None:
        yield from repeat([None] * size)
        return
    with path.open(encoding="utf-8") as lines:
        while batch := list(islice(lines, size)):
            yield [json.loads(line) for line in batch]


def in_order(name: str, rows: list[int], stored: dict[int, list[float]]) -> list[list[float]]:
    """Return the stored vectors of a collection in the order of the rows; BenchmarkError if one is not there (T12)."""
    if lost := [row for row in rows if row not in stored]:
        raise BenchmarkError(f"T12 {name}: has no point {lost[0]}; remove the collection and build it again")
    return [stored[row] for row in rows]


def described(vectors: dict[str, Any], hnsw: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a state that Qdrant's configuration of vectors and graph has, on Edge as on a server."""
    return {
        "size": vectors["size"],
        "distance": vectors["distance"].lower(),
        "datatype": vectors.get("datatype") or "float32",
        **{name: hnsw[name] for name in ("m", "ef_construct", "full_scan_threshold")},
    }


def build_collection(engine: Engine, spec: CollectionSpec, vectors: Vectors, payload: Path | None = None) -> Build:
    """Create, fill, index and seal a collection that is not there yet; what fails is dropped."""
    engine.create(spec)
    try:
        started = perf_counter()
        engine.upload(vectors, payload)
        uploaded = perf_counter()
        engine.wait_until_indexed()
        build = Build(uploaded - started, perf_counter() - uploaded, engine.state())
        engine.seal(build)
    except BaseException:  # an interrupt too leaves nothing half built
        engine.drop()
        raise
    return build
