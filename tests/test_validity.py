"""Every trap of the table in docs/methodology.md is provoked here, or shown to be ruled out."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge

from qexp import machine, runner
from qexp.bench import validity
from qexp.bench.accuracy import overlap, recall
from qexp.bench.judge import judge
from qexp.bench.validity import CONSTRUCTION, Checks
from qexp.config import (
    EngineConfig,
    ExperimentConfig,
    IndexConfig,
    QuantizationConfig,
    SearchConfig,
    StorageConfig,
    SyntheticDataset,
)
from qexp.data.truth import Truth, find_truth, neighbours
from qexp.data.vectors import Data, load_data
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.errors import BenchmarkError, ConfigError
from qexp.report.table import COLUMNS
from qexp.report.trust import trust, validity_table
from qexp.results import Accuracy, CollectionSpec, Experiment, OperatingPoint, Reads
from qexp.runner import measure_experiment
from tests.test_edge import METHODS, POINTS, spec, vectors
from tests.test_judge import evidence

ALL = [f"T{number:02}" for number in range(1, 21)]
SCALAR = QuantizationConfig("scalar", {"scalar": {"type": "int8"}})
Change = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentConfig:
    monkeypatch.setenv(machine.LOCK, str(tmp_path / "lock"))
    return ExperimentConfig(
        dataset=SyntheticDataset(points=1000, size=32, queries=50),
        quantization=SCALAR,
        storage=StorageConfig("on_disk"),
        index=IndexConfig(full_scan_threshold=10),
        search=SearchConfig(rounds=2, budget_seconds=0, oversampling=[2.0], warmup=2),
        engine=EngineConfig("edge"),
        cache_dir=str(tmp_path / "cache"),
    )


def built(home: Path, asked: CollectionSpec) -> EdgeEngine:
    build_collection(EdgeEngine(home), asked, vectors(asked.size, asked.points))
    engine = EdgeEngine(home)
    assert engine.open(asked)
    return engine


def unfinished(home: Path, asked: CollectionSpec) -> EdgeEngine:
    """A collection whose optimizer has not run."""
    engine = EdgeEngine(home)
    engine.create(asked)
    engine.upload(vectors(asked.size, asked.points))
    return engine


def test_a_good_run_shows_every_trap_and_no_warning(config: ExperimentConfig) -> None:
    experiment = measure_experiment(config)
    assert {check.trap for check in experiment.checks} == set(ALL)
    assert [warning for warning in experiment.warnings if not warning.startswith("T14")] == []
    table = validity_table(experiment.checks)
    assert all(f"| {trap} | " in table for trap in ALL)
    assert "recall points" in trust(experiment)


def test_warn_prints_what_strict_refuses(config: ExperimentConfig) -> None:
    tiny = replace(config, index=IndexConfig(full_scan_threshold=10_000))
    with pytest.raises(BenchmarkError, match=r"^T02 .*use more points or index\.full_scan_threshold=\d+"):
        measure_experiment(tiny)
    experiment = measure_experiment(replace(tiny, validity="warn"))
    assert any(warning.startswith("T02 ") for warning in experiment.warnings)
    assert "Warning: T02" in trust(experiment)


def test_t01_local_mode_is_no_engine() -> None:
    with pytest.raises(BenchmarkError, match=r"^T01 .*use engine=edge"):
        validity.check_engine(":memory:", Checks(strict=False))
    package = Path(runner.__file__).parent
    code = {file: file.read_text() for file in package.rglob("*.py")}
    makers = {file.name for file, text in code.items() if "QdrantClient(" in text and file.parent.name == "engine"}
    assert makers <= {"server.py"}
    assert not [file for file, text in code.items() if re.search(r"QdrantClient\([^)]*(path=|:memory:)", text)]


def test_t02_a_collection_that_is_not_indexed(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = unfinished(tmp_path, asked)
    with pytest.raises(BenchmarkError, match=r"^T02 .* 0 indexed; remove the collection"):
        validity.check_state(asked, engine.state())
    engine.drop()


def test_t02_an_optimizer_that_works_while_searches_are_timed(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = built(tmp_path, asked)
    before = engine.state()
    validity.check_unchanged("scalar", before, engine.state())
    point = edge.Point(POINTS + 1, vectors(32, 1)[0].tolist())
    engine._shard.update(edge.UpdateOperation.upsert_points([point]))
    with pytest.raises(BenchmarkError, match=r"^T02 scalar: the engine changed the collection"):
        validity.check_unchanged("scalar", before, engine.state())
    engine.close()


def test_t03_rescoring_is_never_left_to_the_engine(tmp_path: Path) -> None:
    engine = built(tmp_path, spec("binary", size=64))
    queries = vectors(64, 30, seed=1).tolist()

    def raw(rescore: bool | None) -> list[list[int]]:
        params = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=rescore, oversampling=1.0))
        requests = [edge.QueryRequest(limit=10, query=edge.Query.Nearest(query), params=params) for query in queries]
        return [[hit.id for hit in engine._shard.query(request)] for request in requests]

    def ours(rescore: bool) -> list[list[int]]:
        search = engine.search(OperatingPoint(10, None, rescore))
        return [search.ids(search.call(search.prepare(query))) for query in queries]

    assert raw(None) == raw(True) != raw(False)  # the trap: saying nothing means rescoring
    assert ours(False) == raw(False)
    assert ours(True) == raw(True)
    engine.close()


@pytest.mark.parametrize("given", [{"binary": {"rescore": True}}, {"scalar": {}, "oversampling": 2.0}])
def test_t04_search_parameters_are_no_property_of_a_collection(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^T04 quantization\.config: .*; set search\."):
        QuantizationConfig("mine", given)


@pytest.mark.parametrize(
    "otherwise", [{"m": 8}, {"vectors": "cached"}, {"quantization": METHODS["binary"], "method": "binary"}]
)
def test_t05_what_was_built_is_not_what_was_asked_for(tmp_path: Path, otherwise: dict[str, Any]) -> None:
    engine = built(tmp_path, replace(spec(size=32), **otherwise))
    with pytest.raises(BenchmarkError, match=r"^T05 .* was asked for, the engine built"):
        validity.check_state(spec(size=32), engine.state())
    engine.close()


def test_t06_no_codes(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = unfinished(tmp_path, asked)
    checks = Checks(strict=False)
    validity.check_state(asked, engine.state(), checks)
    engine.drop()
    assert any(re.match("T06 .*: 0 bytes of quantized codes, 72000 expected", line) for line in checks.warnings)


def test_t07_collections_with_different_indexes(tmp_path: Path) -> None:
    states = []
    for m in (16, 8):
        engine = built(tmp_path, spec("none", size=32, m=m))
        states.append(engine.state())
        engine.close()
    with pytest.raises(BenchmarkError, match=r"^T07 the baseline has m=16, the quantized collection 8; build both"):
        validity.check_same_index(*states)


def test_t08_a_baseline_that_is_no_yardstick(config: ExperimentConfig) -> None:
    poor = replace(
        config,
        dataset=SyntheticDataset(points=1000, size=32, queries=50, spread=5.0),
        index=IndexConfig(m=3, ef_construct=8, full_scan_threshold=10),
    )
    experiment = measure_experiment(poor)
    assert experiment.baselines[0].accuracy.recall < 0.9
    assert any(re.match("T08 .*raise search.hnsw_ef", warning) for warning in experiment.warnings)


def test_t09_speed_stands_beside_accuracy() -> None:
    names = [" ".join(column.split()) for column in COLUMNS]
    assert {"accuracy retention", "recall"} <= set(names)


def test_t10_queries_that_are_points(config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(config: ExperimentConfig, cache: Path) -> Data:
        data = load_data(config, cache)
        queries = np.array(data.query_vectors())
        queries[:7] = data.points()[100:107]
        np.save(tmp_path / "queries.npy", queries)
        return replace(data, queries=tmp_path / "queries.npy", facts=replace(data.facts, digest="other"))

    monkeypatch.setattr(runner, "load_data", load)
    warnings = measure_experiment(config).warnings
    assert any(re.match("T10 7 of 50 queries are points .*hold the queries out", warning) for warning in warnings)


def test_t10_duplicates_are_found_bit_for_bit_wherever_they_are() -> None:
    points = vectors(8, 70_000)
    queries = vectors(8, 20, seed=1)
    assert validity.duplicates(points, queries) == 0
    queries[3], queries[4] = points[69_999], points[0]
    queries[5] = points[1]
    queries[5, 7] += 1e-3
    assert validity.duplicates(points, queries) == 2


def test_t11_a_result_as_near_as_the_kth_is_a_hit(tmp_path: Path) -> None:
    points = np.repeat(vectors(32, 50), 40, axis=0)  # every vector forty times: any ten of them are right
    asked = spec("none", size=32)
    build_collection(EdgeEngine(tmp_path), asked, points)
    engine = EdgeEngine(tmp_path)
    engine.open(asked)
    queries = vectors(32, 20, seed=1)
    search = engine.search(OperatingPoint(10, 200))
    found = np.array([search.ids(search.call(search.prepare(query))) for query in queries.tolist()])
    engine.close()
    exact = neighbours(points, queries, 10, "cosine")
    scores = np.einsum("qkd,qd->qk", points[found].astype(float), queries.astype(float))
    assert overlap(found, exact.ids).mean() < 0.9
    assert recall(scores, exact.scores).mean() > overlap(found, exact.ids).mean() + 0.1


def test_t12_truth_of_another_dataset(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(data: Data, k: int, cache: Path) -> Truth:
        truth = find_truth(data, k, cache)
        return Truth((truth.ids + 1) % data.facts.points, truth.scores)

    monkeypatch.setattr(runner, "find_truth", shifted)
    with pytest.raises(BenchmarkError, match=r"^T12 the exact neighbours in the cache"):
        measure_experiment(config)


def test_t12_points_in_another_order(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = built(tmp_path, asked)
    rows = [0, 7, 1999]
    stored = np.array(engine.vectors(rows), dtype=np.float32)
    engine.close()
    validity.check_stored(asked, rows, stored, vectors(32)[rows])
    with pytest.raises(BenchmarkError, match=r"^T12 .*point 0 is stored with another vector"):
        validity.check_stored(asked, rows, stored, vectors(32)[[1, 8, 1998]])


def test_t12_a_recall_of_zero() -> None:
    (good,), _ = judge(evidence())
    nothing = replace(good, accuracy=Accuracy(1.0, 0.0, 0.0))
    with pytest.raises(BenchmarkError, match=r"^T12 baseline.*remove the cache"):
        validity.check_accuracy([nothing], [])


def test_t13_searches_that_wait_for_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", vectors(128))
    np.save(tmp_path / "queries.npy", vectors(128, 30, seed=1))
    asked = spec("none", size=128)
    make = partial(EdgeEngine, tmp_path / "c")
    with Worker(make, tmp_path / "queries.npy", "t") as builder:
        builder.build(asked, tmp_path / "vectors.npy")
    with Worker(make, tmp_path / "queries.npy", "t") as worker:
        worker.open(asked)
        worker.block(OperatingPoint(10), 0, True)
        validity.check_reads("warm", worker.block(OperatingPoint(10), 0, False).reads, 30)
        cold = worker.cold_block(OperatingPoint(10), False).reads
    if not cold.major_faults:
        pytest.skip("the file system of the temporary directory keeps its pages in memory")
    with pytest.raises(BenchmarkError, match=r"^T13 cold: \d+ major page faults in 30 .*search\.cache=cold"):
        validity.check_reads("cold", cold, 30)


def test_t13_a_few_faults_in_many_queries_are_none() -> None:
    validity.check_reads("warm", Reads(25, None), 2500)
    with pytest.raises(BenchmarkError):
        validity.check_reads("warm", Reads(26, None), 2500)


def test_t14_a_baseline_that_differs_from_itself() -> None:
    checks = Checks()
    validity.check_noise(judge(evidence(control=1.1))[0], checks)
    (warning,) = checks.warnings
    assert re.match(r"T14 noisy: the baseline against itself is 0\.\d+–0\.\d+×, .*quiet machine", warning)


def test_t15_percentiles_without_samples_are_absent(config: ExperimentConfig) -> None:
    few = replace(config, search=replace(config.search, queries=40))
    assert all(trial.latency.p95 is None for trial in measure_experiment(few).trials)
    experiment = measure_experiment(config)  # 2 rounds of 50 queries
    assert all(trial.latency.p95 is not None and trial.latency.p99 is None for trial in experiment.trials)
    assert all(trial.speedup_p95 is None for trial in experiment.trials)


def test_t19_another_job_measures(config: ExperimentConfig) -> None:
    waiting = replace(config, wait_seconds=0.0)
    with (
        machine.turn(True, 0, print),
        pytest.raises(BenchmarkError, match=r"^T19 process \d+ of .*; wait for it to end"),
    ):
        measure_experiment(waiting)


def test_t20_latency_that_is_the_networks() -> None:
    checks = Checks()
    validity.check_network("trial", 1.0, 0.8, checks)
    assert checks.warnings == []
    validity.check_network("trial", 20.5, 0.5, checks)
    assert re.match("T20 trial: 98% of the client's 20.50 ms are the network", checks.warnings[0])


def test_what_is_ruled_out_by_construction_has_a_test_each() -> None:
    folder = Path(__file__).parent
    tests = "".join((folder / f"test_{name}.py").read_text() for name in ("validity", "load", "latency", "accuracy"))
    for trap in CONSTRUCTION:
        assert f"test_{trap.lower()}_" in tests or f"# {trap}" in tests, trap


@pytest.mark.slow
def test_cold_and_load_and_builds_are_measured_when_asked_for(config: ExperimentConfig) -> None:
    search = replace(config.search, cache="cold", clients=[1, 2], rate=[50.0], load_seconds=0.1)
    thorough = replace(config, search=search, engine=EngineConfig("edge", builds=2))
    experiment: Experiment = measure_experiment(thorough)
    assert {load.level.title for load in experiment.loads} == {"1 client", "2 clients", "50 queries/s"}
    assert {load.role for load in experiment.loads} == {"baseline", "trial"}
    assert all(trial.accuracy.builds == 2 and trial.accuracy.recall_build_sd is not None for trial in experiment.trials)
    cold = [trial.cold for trial in experiment.trials]
    assert all(cold) or any("no cold figures" in warning for warning in experiment.warnings)
    assert all(trial.loss is not None for trial in experiment.trials)
    assert "under load" in trust(experiment)


def test_without_codes_there_is_nothing_to_split(config: ExperimentConfig) -> None:
    experiment = measure_experiment(replace(config, quantization=QuantizationConfig("none")))
    assert [trial.loss for trial in experiment.trials] == [None]
    assert "recall points" not in trust(experiment)
