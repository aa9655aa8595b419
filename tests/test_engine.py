"""What every engine does: the same tests on Edge, on the wire (REST and gRPC), and on a real server if there is one.

QEXP_TEST_QDRANT_URL names a real server; its gRPC port is QEXP_TEST_QDRANT_GRPC_PORT, else 6334. The tests leave
nothing there.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qexp.bench.adaptive import compare
from qexp.bench.blocks import timed_block
from qexp.bench.checks import Checks
from qexp.bench.validity import check_state, check_stored
from qexp.config import AdaptiveConfig, EngineConfig, ExperimentConfig, IndexConfig, SearchConfig, ServerConfig
from qexp.data.truth import neighbours
from qexp.engine.base import Engine, build_collection
from qexp.engine.configured import collection_spec, engine_factory, engine_version
from qexp.engine.dialect import DATATYPES, MEMORY_REPORT, METHODS, OLDEST, Version, parse_version
from qexp.engine.worker import Worker
from qexp.errors import BenchmarkError, EngineError
from qexp.results import Build, CollectionSpec, DatasetFacts, Ids, OperatingPoint, Vectors
from tests import test_edge
from tests.support.qdrant_grpc import QdrantGrpc
from tests.support.qdrant_rest import QdrantRest

REAL = os.environ.get("QEXP_TEST_QDRANT_URL")
SIZE, POINTS = 64, 700
KINDS = ["edge", "rest", "grpc", *(["real-rest", "real-grpc"] if REAL else [])]


vectors = partial(test_edge.vectors, n=POINTS)


@pytest.mark.parametrize(
    ("points", "asked", "taken", "threshold"),
    [
        (40_000, None, None, 10_000),  # 10,000 KiB
        (39_999, None, None, 4_999),
        (60, None, None, 10),
        (39_999, 9_000, None, 9_000),
        (39_999, None, 9_000, 9_000),
    ],
)
def test_searches_use_the_index_unless_a_threshold_is_given(
    points: int, asked: int | None, taken: int | None, threshold: int
) -> None:
    facts = DatasetFacts("words", "d", "q", points, 10, 64, 64, "cosine", "made", full_scan_threshold=taken)
    config = ExperimentConfig(index=IndexConfig(full_scan_threshold=asked))
    assert collection_spec(config, facts, "edge").full_scan_threshold == threshold


@dataclass
class Bench:
    """An engine to try: how it is configured and made, and what it made so far."""

    config: EngineConfig
    cache: Path
    made: list[tuple[Engine, CollectionSpec]]

    @property
    def has_server(self) -> bool:
        return isinstance(self.config, ServerConfig)

    def make(self, condition: dict[str, object] | None = None) -> Engine:
        return engine_factory(self.config, self.cache, condition)()

    def spec(self, method: str = "scalar", **more: object) -> CollectionSpec:
        if method.startswith("turbo") and self.has_server and self.known < METHODS["turbo"]:
            pytest.skip("a server without TurboQuant")
        return test_edge.spec(method, **{"size": SIZE, "points": POINTS, "engine": self.version, **more})

    @property
    def version(self) -> str:
        return engine_version(self.config)

    @property
    def known(self) -> Version:
        return parse_version(self.version.removeprefix("server-"), "")

    def build(self, asked: CollectionSpec, points: Vectors) -> tuple[Engine, Build]:
        with closing(self.make()) as builder:
            build_collection(builder, asked, points)
        engine = self.make()
        build = engine.open(asked)
        assert build is not None
        self.made.append((engine, asked))
        return engine, build


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        config: EngineConfig = EngineConfig("edge")
        if request.param in ("rest", "grpc"):
            rest = stack.enter_context(QdrantRest(tmp_path / "server"))
            wire = {"prefer_grpc": True} if request.param == "grpc" else {}
            port = stack.enter_context(QdrantGrpc(rest)).port if wire else 6334
            config = ServerConfig("server", url=rest.url, grpc_port=port, **wire)
        elif request.param != "edge":
            assert REAL
            config = ServerConfig(
                "server",
                url=REAL,
                prefer_grpc=request.param == "real-grpc",
                grpc_port=int(os.environ.get("QEXP_TEST_QDRANT_GRPC_PORT", "6334")),
                prefix=f"qexp-test-{uuid.uuid4().hex[:8]}",
            )
        found = Bench(config, tmp_path / "cache", [])
        yield found
        for engine, _ in found.made:
            engine.drop()
            engine.close()


@pytest.mark.parametrize("method", ["none", "scalar", "turbo_1"])
def test_builds_what_was_asked_and_finds_the_neighbours(bench: Bench, method: str) -> None:
    points, queries = vectors(SIZE), vectors(SIZE, n=40, seed=1)
    engine, build = bench.build(asked := bench.spec(method), points)
    assert build.reused
    check_state(asked, build.state, Checks())
    exact = neighbours(points, queries, 10, "cosine").ids
    shares = []
    for point in (OperatingPoint(10), OperatingPoint(10, 256, True, 8.0)):
        ids = timed_block(engine.search(point), queries.tolist(), 10, 0, True).ids
        assert ids is not None
        shares.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, exact, strict=True)]))
    assert shares[0] <= shares[1] + 0.02
    assert shares[1] > 0.9
    if method not in ("none", "scalar"):
        assert shares[0] < shares[1]


def test_only_a_server_has_a_time_of_its_own(bench: Bench) -> None:
    engine, _ = bench.build(bench.spec(), vectors(SIZE))
    block = timed_block(engine.search(OperatingPoint(5)), vectors(SIZE, n=20, seed=1).tolist(), 5, 2, False)
    trip = engine.round_trip()
    assert (block.server is not None) is (trip is not None) is bench.has_server
    if block.server is not None and trip is not None:
        assert block.server.shape == block.latencies.shape
        assert (block.server > 0).all()
        assert (block.server < block.latencies).all()
        assert trip > 0


def test_searches_hold_to_a_filter_on_the_payload(bench: Bench, tmp_path: Path) -> None:
    points, asked = vectors(SIZE), bench.spec("none", payload_indexes={"kind": "keyword"})
    kinds = ["even" if row % 2 == 0 else "odd" for row in range(POINTS)]
    (tmp_path / "payload").write_text("".join(json.dumps({"kind": kind, "row": {}}) + "\n" for kind in kinds))
    with closing(bench.make()) as builder:
        build_collection(builder, asked, points, tmp_path / "payload")
    engine = bench.make({"must": [{"key": "kind", "match": {"value": "odd"}}]})
    assert engine.open(asked) is not None
    bench.made.append((engine, asked))
    assert engine.matching() == list(range(1, POINTS, 2))
    ids = timed_block(engine.search(OperatingPoint(10, exact=True)), points[:20].tolist(), 10, 0, True).ids
    assert ids is not None
    assert (ids % 2 == 1).all()
    odd = np.arange(1, POINTS, 2)
    assert (ids[:, 0] == odd[np.argmax(points[:20] @ points[odd].T, axis=1)]).all()


def test_results_come_best_first_with_their_scores(bench: Bench) -> None:
    points = vectors(SIZE)
    engine, _ = bench.build(bench.spec("none"), points)
    search = engine.search(OperatingPoint(5, 256))
    assert search.scores is not None
    found = search.call(search.prepare(points[3].tolist()))
    assert search.ids(found)[0] == 3
    assert search.scores(found) == pytest.approx((points[search.ids(found)] @ points[3]).tolist(), abs=1e-5)


def test_a_query_in_the_engines_own_form_finds_the_same_any_number_of_times(bench: Bench) -> None:
    points = vectors(SIZE)
    engine, _ = bench.build(bench.spec("none"), points)
    query = engine.query(points[3].tolist())
    for limit in (5, 7):
        search = engine.search(OperatingPoint(limit, 256))
        known = search.ids(search.call(search.prepare(points[3].tolist())))
        assert [search.ids(search.call(search.prepare(query))) for _ in range(2)] == [known, known]


def test_the_seconds_of_the_build_are_found_again(bench: Bench) -> None:
    with closing(bench.make()) as builder:
        built = build_collection(builder, bench.spec(), vectors(SIZE))
    engine = bench.make()
    found = engine.open(bench.spec())
    assert found is not None
    bench.made.append((engine, bench.spec()))
    # Qdrant reads numbers to the last digit but one.
    assert (found.upload_seconds, found.index_seconds) == pytest.approx((built.upload_seconds, built.index_seconds))
    assert found.points_per_second == pytest.approx(POINTS / (built.upload_seconds or 0))


@pytest.mark.parametrize("storage", [("cached", "pinned", "cached"), ("cold", "cold", "cold")])
def test_placements_are_built_as_asked(bench: Bench, storage: tuple[str, str, str]) -> None:
    held = dict(zip(("vectors", "quantized", "hnsw"), storage, strict=True))
    _, build = bench.build(asked := bench.spec("binary", **held), vectors(SIZE))
    check_state(asked, build.state, Checks())


@pytest.mark.parametrize(
    ("distance", "datatype"), [("euclid", "float32"), ("dot", "float16"), ("manhattan", "uint8"), ("cosine", "turbo4")]
)
def test_distances_and_datatypes_are_built_as_asked(bench: Bench, distance: str, datatype: str) -> None:
    points = vectors(SIZE, n=500)
    points = np.abs(points * 255).round() if datatype == "uint8" else points
    asked = bench.spec("none", points=500, distance=distance, datatype=datatype)
    if bench.has_server and bench.known < DATATYPES.get(datatype, OLDEST):
        with pytest.raises(EngineError, match=f"datatype={datatype} needs Qdrant"):
            bench.build(asked, points.astype(np.float32))
        return
    engine, build = bench.build(asked, points.astype(np.float32))
    check_state(asked, build.state, Checks())
    nearest = neighbours(points, points[:20], 1, distance).ids
    found = timed_block(engine.search(OperatingPoint(1, 256)), points[:20].tolist(), 1, 0, True).ids
    assert found is not None
    assert (found == nearest).mean() >= 0.9


def test_stored_vectors_come_back_in_the_order_asked(bench: Bench) -> None:
    points, rows = vectors(SIZE), [699, 0, 7, 350]
    engine, _ = bench.build(asked := bench.spec("none"), points)
    stored = np.array(engine.vectors(rows), dtype=np.float32)
    check_stored(asked, rows, stored, points[rows], Checks())
    with pytest.raises(BenchmarkError, match="T12"):
        check_stored(asked, rows, stored[::-1], points[rows], Checks())


def test_a_lost_point_is_named(bench: Bench) -> None:
    engine, _ = bench.build(bench.spec("none"), vectors(SIZE))
    with pytest.raises(BenchmarkError, match=r"^T12 .*test-.*: has no point 9999; remove the collection"):
        engine.vectors([0, 9999])


def test_memory_is_known_by_component(bench: Bench) -> None:
    engine, _ = bench.build(bench.spec(), vectors(SIZE))
    memory = engine.memory()
    if bench.has_server and bench.known < MEMORY_REPORT:
        assert memory is None
        return
    assert memory is not None
    assert memory.total > 0
    assert memory.heap >= 0
    assert set(memory.mapped) <= {"vectors", "codes", "graph", "id tracker", "payload", "other"}


def test_what_is_not_there_or_not_complete_is_not_found(bench: Bench) -> None:
    asked = bench.spec()
    with closing(bench.make()) as engine:
        assert engine.open(asked) is None
        engine.create(asked)
        engine.upload(vectors(SIZE))
        with closing(bench.make()) as other:
            assert other.open(asked) is None
        engine.drop()
    _, build = bench.build(asked, vectors(SIZE))
    assert build.state.points == POINTS
    with closing(bench.make()) as other:
        assert other.open(bench.spec("binary")) is None


def test_what_fails_is_dropped(bench: Bench) -> None:
    asked = bench.spec()
    with closing(bench.make()) as engine:
        with pytest.raises(EngineError) as refused:
            build_collection(engine, asked, vectors(SIZE + 1))
        assert "\n" not in str(refused.value)
    with closing(bench.make()) as engine:
        assert engine.open(asked) is None


def test_a_dropped_collection_is_gone(bench: Bench) -> None:
    engine, _ = bench.build(asked := bench.spec("none"), vectors(SIZE))
    engine.drop()
    with closing(bench.make()) as other:
        assert other.open(asked) is None


def test_a_worker_holds_any_engine(bench: Bench, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", vectors(SIZE))
    np.save(tmp_path / "queries.npy", vectors(SIZE, n=20, seed=1))
    start: Callable[[], Worker] = partial(
        Worker, engine_factory(bench.config, bench.cache), tmp_path / "queries.npy", "test"
    )
    asked = bench.spec("none")
    with start() as builder:
        assert builder.open(asked) is None
        builder.build(asked, tmp_path / "vectors.npy")
    bench.made.append((bench.make(), asked))
    bench.made[0][0].open(asked)
    with start() as searcher:
        assert searcher.open(asked) is not None
        block = searcher.block(OperatingPoint(10), warmup=2, with_ids=True)
        assert (block.server is not None) is bench.has_server
        assert searcher.state().points == POINTS
        assert (searcher.round_trip() is not None) is bench.has_server


def test_adaptive_policies_run_on_any_engine(bench: Bench, tmp_path: Path) -> None:
    points, queries = vectors(SIZE), vectors(SIZE, n=20, seed=1)
    np.save(tmp_path / "queries.npy", queries)
    asked = bench.spec("turbo_1")
    bench.build(asked, points)
    exact = neighbours(points, queries, 5, "cosine").ids

    def shares(found: Ids) -> NDArray[np.float64]:
        return np.array([len(set(a) & set(b)) / 5 for a, b in zip(found, exact, strict=True)])

    search = SearchConfig(limit=5, rounds=2, warmup=0, hnsw_ef=[128])
    factors = AdaptiveConfig("recall", 0.9, [1.0, 2.0, 8.0])
    with Worker(engine_factory(bench.config, bench.cache), tmp_path / "queries.npy", "test") as searcher:
        assert searcher.open(asked) is not None
        margins = searcher.margins(OperatingPoint(6, 128, True, 8.0), 5)
        findings = compare(searcher, search, factors, len(queries), shares)
    scores = -np.sort(-(queries @ points.T), axis=1)
    assert margins == pytest.approx(scores[:, 4] - scores[:, 5], abs=1e-4)
    assert findings[0].sentence.startswith("course heuristic: ")
    assert {"adaptive at equal accuracy", "adaptive at equal latency"} <= {
        finding.sentence.partition(":")[0] for finding in findings
    }
