"""The baseline that stays loaded from job to job, and when it does not."""

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from qexp import places, runner, steps
from qexp.bench.checks import Checks
from qexp.config import AdaptiveConfig, ExperimentConfig, QuantizationConfig, ServerConfig
from qexp.data.vectors import load_data
from qexp.engine.configured import collection_spec, engine_version
from qexp.engine.worker import Worker, warm
from qexp.errors import EngineError
from qexp.places import Loader, Place
from qexp.results import MemoryUse, OperatingPoint
from qexp.runner import measure_experiment
from tests.support.qdrant_rest import QdrantRest

BINARY = QuantizationConfig("binary", {"binary": {}})


def job(config: ExperimentConfig, workers: ExitStack) -> tuple[Place, Place]:
    cache = Path(config.cache_dir or "")
    cache.mkdir(exist_ok=True)
    data = load_data(config, cache)
    spec = collection_spec(config, data.facts, engine_version(config.engine))
    return Loader(config, data, cache, Checks(strict=True)).pair(workers, spec)


def test_the_next_job_finds_the_baseline_loaded(small: ExperimentConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "qexp")
    with ExitStack() as workers:
        quantized, baseline = job(small, workers)
    assert not psutil.pid_exists(quantized.worker.pid)
    with ExitStack() as workers:
        other, again = job(replace(small, quantization=BINARY), workers)
        assert again.worker.pid == baseline.worker.pid != other.worker.pid
        assert again.build == replace(baseline.build, reused=True)
        assert again.moments == baseline.moments[:1]
    told = list(dict.fromkeys(line.split(":")[0] for line in caplog.messages if "building" in line or "still" in line))
    assert told == ["scalar", "baseline", "binary"]
    assert caplog.messages[-1] == "baseline: still loaded"


def test_round_0_visits_what_is_not_in_memory(small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[dict[int, set[OperatingPoint]]] = []

    def spied(points: dict[Worker, set[OperatingPoint]]) -> None:
        visited.append({worker.pid: own for worker, own in points.items()})
        warm(points)

    monkeypatch.setattr(steps, "warm", spied)
    first = measure_experiment(small)
    kept = places._kept.place
    assert kept is not None
    second = measure_experiment(small)
    baseline, codes = {OperatingPoint(10)}, {OperatingPoint(10, None, True, 2.0)}
    assert visited[0][kept.worker.pid] == baseline
    assert sorted(visited[0].values(), key=len) == [baseline, codes]
    assert list(visited[1].values()) == [codes]
    assert second.baselines[0].accuracy == first.baselines[0].accuracy
    assert second.trials[0].accuracy == first.trials[0].accuracy
    assert [check.trap for check in second.checks] == [check.trap for check in first.checks]
    measure_experiment(replace(small, search=replace(small.search, hnsw_ef=[64])))  # another point of the same baseline
    assert visited[2][kept.worker.pid] == {OperatingPoint(10, 64)}
    assert kept.warmth.memory is not None
    kept.warmth.memory = replace(kept.warmth.memory, mapped={"vectors": 2**40})  # as if pages had left since
    measure_experiment(small)
    assert visited[3][kept.worker.pid] == baseline


def test_a_baseline_that_is_gone_is_loaded_again(small: ExperimentConfig) -> None:
    with ExitStack() as workers:
        dead = job(small, workers)[1].worker.pid
    psutil.Process(dead).kill()
    with ExitStack() as workers:
        baseline = job(small, workers)[1]
        assert baseline.worker.pid != dead
        shutil.rmtree(Path(small.cache_dir or "") / "collections" / baseline.spec.name)
    with ExitStack() as workers:
        again = job(small, workers)[1]
        assert again.worker.pid != baseline.worker.pid
        assert not again.build.reused


@pytest.mark.slow
def test_another_filter_or_index_ends_it(small: ExperimentConfig) -> None:
    pids = []
    for config in (
        small,
        replace(small, search=replace(small.search, filter={"must_not": [{"has_id": [5]}]})),
        replace(small, index=replace(small.index, m=8)),
    ):
        with ExitStack() as workers:
            pids.append(job(config, workers)[1].worker.pid)
    assert [psutil.pid_exists(pid) for pid in pids] == [False, False, True]


def test_caps_and_cold_visits_end_it_and_keep_none(small: ExperimentConfig) -> None:
    with ExitStack() as workers:
        kept = job(small, workers)[1].worker.pid
    with ExitStack() as workers:
        own = job(replace(small, search=replace(small.search, cache="cold")), workers)[1].worker.pid
        assert (psutil.pid_exists(kept), psutil.pid_exists(own)) == (False, True)
    assert not psutil.pid_exists(own)
    capped = replace(small, engine=replace(small.engine, ram_caps=["50%"]))
    with ExitStack() as workers:
        own = job(capped, workers)[1].worker.pid
    assert not psutil.pid_exists(own)


def test_a_job_that_fails_ends_it(small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_experiment(small)
    assert places._kept.place is not None
    monkeypatch.setattr(runner.validity, "check_accuracy", lambda *_: 1 / 0)  # after everything has been measured
    with pytest.raises(ZeroDivisionError):
        measure_experiment(small)
    assert places._kept.place is None


def test_without_quantization_both_are_one(small: ExperimentConfig) -> None:
    with ExitStack() as workers:
        quantized, baseline = job(replace(small, quantization=QuantizationConfig("none")), workers)
        assert quantized is baseline
    assert places._kept.place is None  # its process is measured for its own sake


def test_pages_that_left_memory_or_are_not_known_are_not_there() -> None:
    full = MemoryUse({"vectors": 400, "graph": 80}, 100)
    assert places._all_there(full, MemoryUse({"vectors": 404, "graph": 80}, 90))
    assert not places._all_there(full, MemoryUse({"vectors": 396, "graph": 80}, 100))
    assert not places._all_there(full, MemoryUse({"vectors": 400}, 100))
    assert not places._all_there(full, None)
    assert not places._all_there(None, full)


def test_pages_that_another_process_maps_are_not_said_to_be_dropped(small: ExperimentConfig) -> None:
    with ExitStack() as workers:
        baseline = job(small, workers)[1]
        cold = job(replace(small, search=replace(small.search, cache="cold")), workers)[1]
        assert not psutil.pid_exists(baseline.worker.pid)
        cold.worker.cold_block(OperatingPoint(10), False)
        with ExitStack() as others:
            other = job(replace(small, search=replace(small.search, cache="cold", seed=1)), others)[1]
            with pytest.raises(EngineError, match=rf"process {other.worker.pid} has {cold.spec.name} loaded"):
                cold.worker.cold_block(OperatingPoint(10), False)
            assert cold.worker.block(OperatingPoint(10), 0, False).latencies.size  # it is loaded all the same


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_keep_decides_what_stays_on_a_server_when_all_is_measured(
    small: ExperimentConfig, server: QdrantRest, keep: bool
) -> None:
    adaptive = AdaptiveConfig(measure="recall", target=0.1, factors=[1.0, 2.0])
    search = replace(small.search, queries=20, oversampling=[1.0], adaptive=adaptive)
    if not keep:  # policies come after the load, whose workers end before
        search = replace(search, clients=[2], load_seconds=0.1)
    engine = ServerConfig("server", url=server.url, keep=keep)
    experiment = measure_experiment(replace(small, search=search, engine=engine, validity="warn"))
    assert bool(experiment.loads) != keep
    assert experiment.findings
    assert len(server.collections) == (2 if keep else 0)


@pytest.mark.slow
def test_a_collection_whose_measurement_fails_stays_whatever_keep_says(
    small: ExperimentConfig, server: QdrantRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(points: dict[Worker, set[OperatingPoint]]) -> None:
        raise EngineError("no more")

    monkeypatch.setattr(steps, "warm", failing)
    asked = replace(small, engine=ServerConfig("server", url=server.url, keep=False), validity="warn")
    with pytest.raises(EngineError, match="no more"):
        measure_experiment(asked)
    assert len(server.collections) == 2
