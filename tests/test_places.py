"""The baseline that stays loaded from job to job, and when it does not."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from qexp import places
from qexp.bench.validity import Checks
from qexp.config import ExperimentConfig, QuantizationConfig
from qexp.data.vectors import load_data
from qexp.engine.base import collection_spec, engine_version
from qexp.errors import EngineError
from qexp.places import Loader, Place
from qexp.results import MemoryUse, OperatingPoint
from qexp.runner import measure_experiment

BINARY = QuantizationConfig("binary", {"binary": {}})


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    places._kept.release()


def job(config: ExperimentConfig, workers: ExitStack) -> tuple[Place, Place]:
    cache = Path(config.cache_dir or "")
    cache.mkdir(exist_ok=True)
    data = load_data(config, cache)
    spec = collection_spec(config, data.facts, engine_version(config.engine))
    return Loader(config, data, cache, Checks(strict=True)).pair(workers, spec)


def test_the_next_job_finds_the_baseline_loaded_and_warm(small: ExperimentConfig) -> None:
    with ExitStack() as workers:
        quantized, baseline = job(small, workers)
        assert not baseline.warm
        baseline.worker.block(OperatingPoint(10), 0, False)
        baseline.moments.append(baseline.worker.memory())
    assert not psutil.pid_exists(quantized.worker.pid)
    with ExitStack() as workers:
        other, again = job(replace(small, quantization=BINARY), workers)
        assert again.worker.pid == baseline.worker.pid != other.worker.pid
        assert (again.warm, again.build.reused, again.build.state) == (True, True, baseline.build.state)
        assert again.moments == baseline.moments[:1]
    with ExitStack() as workers:
        assert not job(small, workers)[1].warm  # nobody has noted what was in memory at the end


def test_what_is_measured_with_a_kept_baseline_is_the_same_experiment(small: ExperimentConfig) -> None:
    first = measure_experiment(small)
    second = measure_experiment(small)
    assert second.baseline_collection.build == replace(first.baseline_collection.build, reused=True)
    assert second.baselines[0].accuracy == first.baselines[0].accuracy
    assert second.trials[0].accuracy == first.trials[0].accuracy
    assert [check.trap for check in second.checks] == [check.trap for check in first.checks]


def test_another_search_or_index_ends_it(small: ExperimentConfig) -> None:
    pids = []
    for config in (
        small,
        replace(small, search=replace(small.search, limit=5)),
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


def test_a_job_that_fails_ends_it(small: ExperimentConfig) -> None:
    workers = ExitStack()
    quantized, baseline = job(small, workers)
    error = EngineError("the quantized collection cannot be searched")
    assert not workers.__exit__(EngineError, error, None)
    assert not psutil.pid_exists(quantized.worker.pid)
    assert not psutil.pid_exists(baseline.worker.pid)
    with ExitStack() as workers:
        assert job(small, workers)[1].worker.pid != baseline.worker.pid


def test_without_quantization_both_are_one(small: ExperimentConfig) -> None:
    with ExitStack() as workers:
        quantized, baseline = job(replace(small, quantization=QuantizationConfig("none")), workers)
        assert quantized is baseline


def test_pages_that_left_memory_or_are_not_known_are_not_there() -> None:
    full = MemoryUse({"vectors": 400, "graph": 80}, 100)
    assert places._all_there(full, MemoryUse({"vectors": 404, "graph": 80}, 90))
    assert not places._all_there(full, MemoryUse({"vectors": 396, "graph": 80}, 100))
    assert not places._all_there(full, MemoryUse({"vectors": 400}, 100))
    assert not places._all_there(full, None)
    assert not places._all_there(None, full)
