"""Traps into which a whole run falls, on a real engine: refused or marked, by their id."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from qexp import machine, places, runner
from qexp.bench.checks import CONSTRUCTION
from qexp.bench.explore import Judge
from qexp.cache import Kind
from qexp.config import (
    EngineConfig,
    ExperimentConfig,
    IndexConfig,
    QuantizationConfig,
    SearchConfig,
    ServerConfig,
    SyntheticDataset,
)
from qexp.data.truth import Truth, find_truth
from qexp.data.vectors import Data, load_data
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.errors import BenchmarkError
from qexp.places import Place
from qexp.report.table import markdown
from qexp.report.trust import trust, validity_table
from qexp.results import Experiment, Finding, Ids, OperatingPoint, Row, Visit
from qexp.rows import experiment_rows, load_rows
from qexp.runner import measure_experiment
from qexp.spool import write_latencies
from qexp.steps import Steps
from tests.conftest import small_experiment
from tests.support.faulty import Backwards, Slow, Unindexed
from tests.support.qdrant_rest import QdrantRest

ALL = [f"T{number:02}" for number in range(1, 21)]


def trial(row: Row) -> bool:
    return row.params.get("role") != "baseline"


def use(monkeypatch: pytest.MonkeyPatch, engine: type[EdgeEngine]) -> None:
    """Let every worker of a run have another engine."""
    monkeypatch.setattr(places, "engine_factory", lambda config, cache, _: partial(engine, cache / Kind.COLLECTIONS))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentConfig, Experiment]:
    """A run that falls into nothing."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(machine.LOCK, str(folder / "lock"))
        config = small_experiment(folder)
        return config, measure_experiment(config)


def test_a_good_run_shows_every_trap_and_falls_into_none(good: tuple[ExperimentConfig, Experiment]) -> None:
    config, experiment = good
    assert {check.trap for check in experiment.checks} == set(ALL)
    few_queries, small_corpus = [warning for warning in experiment.warnings if not warning.startswith("T14")]
    assert few_queries.startswith("50 queries are too few for a P95")
    assert small_corpus.startswith("small corpus: 125 KiB")
    table = validity_table(experiment.checks)
    assert all(f"| {trap} | " in table for trap in ALL)
    assert "graph built with codes" in trust(experiment, experiment_rows(config, experiment), [])


def test_warn_prints_what_strict_refuses(small: ExperimentConfig) -> None:
    tiny = replace(small, index=IndexConfig(full_scan_threshold=10_000))
    with pytest.raises(BenchmarkError, match=r"^T02 .*use more points or index\.full_scan_threshold=\d+"):
        measure_experiment(tiny)
    experiment = measure_experiment(replace(tiny, validity="warn"))
    assert any(warning.startswith("T02 ") for warning in experiment.warnings)
    assert "Note: T02" in trust(experiment, experiment_rows(small, experiment), [])


def test_t02_an_engine_that_does_not_index(small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Unindexed)
    with pytest.raises(BenchmarkError, match=r"^T02 .* 0 indexed; remove the collection from the cache"):
        measure_experiment(small)


def test_t08_a_baseline_that_is_no_yardstick(small: ExperimentConfig) -> None:
    poor = replace(
        small,
        dataset=SyntheticDataset(points=1000, size=32, queries=50, spread=5.0),
        index=IndexConfig(m=3, ef_construct=8, full_scan_threshold=10),
    )
    experiment = measure_experiment(poor)
    assert experiment.baselines[0].accuracy.recall.estimate < 0.9
    assert any(re.match("T08 .*raise search.hnsw_ef", warning) for warning in experiment.warnings)


def test_adaptive_policies_are_held_against_the_baseline_of_the_tuned_hnsw_ef(
    small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[OperatingPoint] = []
    found = Worker.found

    def noted(worker: Worker, point: OperatingPoint) -> Ids:
        asked.append(point)
        return found(worker, point)

    def adaptive(search: SearchConfig, place: Worker, judge: Judge, queries: int) -> list[Finding]:
        asked.clear()
        monkeypatch.setattr(Worker, "found", noted)
        judge("retention")
        return []

    monkeypatch.setattr(runner, "tuned", lambda search, *_: (replace(search, hnsw_ef=[77]), []))
    monkeypatch.setattr(runner, "adaptive", adaptive)
    measure_experiment(small)
    assert asked == [OperatingPoint(10, 77)]


def test_t09_speed_stands_beside_accuracy(good: tuple[ExperimentConfig, Experiment]) -> None:
    rows = experiment_rows(*good)
    assert all({"speedup_mean", "accuracy_retention", "recall"} <= set(row.metrics) for row in rows if trial(row))
    _, _, header, _, *lines = markdown(rows, "title").splitlines()
    shown = [dict(zip(header.split(" | "), line.split(" | "), strict=True)) for line in lines[: len(rows)]]
    assert sum(map(trial, rows)) == 2
    assert all(line["recall"] for line in shown if line["speedup (95 % interval)"])
    assert all(line["accuracy retention"] for line, row in zip(shown, rows, strict=True) if trial(row))


def test_t10_queries_that_are_points(small: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(small: ExperimentConfig, cache: Path) -> Data:
        data = load_data(small, cache)
        queries = np.array(data.query_vectors())
        queries[:7] = data.points()[100:107]
        np.save(tmp_path / "queries.npy", queries)
        return replace(data, queries=tmp_path / "queries.npy", facts=replace(data.facts, digest="other"))

    monkeypatch.setattr(runner, "load_data", load)
    warnings = measure_experiment(small).warnings
    said = "T10 7 of 50 queries are points .*; hold the queries out of the points, and give rows that repeat once"
    assert any(re.match(said, warning) for warning in warnings)


def test_t12_truth_of_another_dataset(small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(data: Data, k: int, cache: Path) -> Truth:
        truth = find_truth(data, k, cache)
        return Truth((truth.ids + 1) % data.facts.points, truth.scores)

    monkeypatch.setattr(runner, "find_truth", shifted)
    with pytest.raises(BenchmarkError, match=r"^T12 the exact neighbours in the cache"):
        measure_experiment(small)


def test_t12_an_engine_with_the_distance_the_wrong_way_round(
    small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Backwards)
    with pytest.raises(
        BenchmarkError, match=r"^T12 baseline, no rescore: recall is 0, .*; remove .*-none-.* from the cache"
    ):
        measure_experiment(small)


def test_t14_a_machine_that_is_slower_whenever_it_is_the_controls_turn(
    small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Steps.visits

    def disturbed(self: Steps) -> dict[Visit, Place]:
        slower = replace(self.baseline, worker=cast(Worker, Slow(self.baseline.worker)))
        return {visit: slower if visit.role == "control" else place for visit, place in visits(self).items()}

    monkeypatch.setattr(Steps, "visits", disturbed)
    experiment = measure_experiment(replace(small, search=replace(small.search, rounds=5)))
    assert experiment.noisy
    (warning,) = [warning for warning in experiment.warnings if warning.startswith("T14")]
    assert re.match(r"T14 noisy: the baseline against itself is 0\.\d+–0\.\d+×, .*again on a quiet machine", warning)
    apart = 1 / experiment.baselines[0].control.estimate
    assert all(trial.speedup_mean.high >= apart * trial.speedup_mean.estimate for trial in experiment.trials)
    assert "noisy" in markdown(experiment_rows(small, experiment), "title").splitlines()[4]
    assert "**Noisy**" in trust(experiment, experiment_rows(small, experiment), [])


def test_t15_percentiles_without_samples_are_absent(small: ExperimentConfig) -> None:
    few = measure_experiment(small).trials  # 2 rounds of 50 queries
    assert all(trial.latency.p95 is None and trial.speedup_p95 is None for trial in few)
    experiment = measure_experiment(replace(small, dataset=SyntheticDataset(points=1000, size=32, queries=100)))
    assert all(trial.latency.p95 is not None and trial.latency.p99 is None for trial in experiment.trials)


def test_t19_another_job_measures(small: ExperimentConfig) -> None:
    waiting = replace(small, wait_seconds=0.0)
    with (
        machine.turn(True, 0, print),
        pytest.raises(BenchmarkError, match=r"^T19 process \d+ of .*; wait for it to end"),
    ):
        measure_experiment(waiting)


@pytest.mark.slow
def test_t20_a_search_that_is_short_behind_a_long_way(small: ExperimentConfig, tmp_path: Path) -> None:
    few = replace(small.search, queries=20)
    with QdrantRest(tmp_path / "server") as server:
        server.fail("POST .*/points/query", times=1_000_000, seconds=0.02)
        experiment = measure_experiment(replace(small, search=few, engine=ServerConfig("server", url=server.url)))
    (warning,) = [warning for warning in experiment.warnings if warning.startswith("T20")]
    assert {check.verdict for check in experiment.checks if check.trap == "T13"} == {"not known"}
    said = r"T20 all searches: \d\d% of the client's \d+\.\d\d ms are the network .*; compare server_latency_mean_ms"
    assert re.match(said, warning)
    base = experiment.baselines[0]
    assert base.server is not None
    assert base.server.mean < base.latency.mean - 20
    row = markdown(experiment_rows(small, experiment), "title").splitlines()[2]
    assert "server ms" in row


def test_every_trap_has_a_test_of_its_name() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert [trap for trap in ALL if f"def test_{trap.lower()}_" not in tests] == []
    assert set(CONSTRUCTION) <= set(ALL)


@pytest.mark.slow
def test_cold_and_load_and_builds_are_measured_when_asked_for(small: ExperimentConfig, tmp_path: Path) -> None:
    search = replace(small.search, cache="cold", clients=[1, 2], rate=[50.0], load_seconds=0.1)
    thorough = replace(small, search=search, engine=EngineConfig("edge", builds=2))
    experiment: Experiment = measure_experiment(thorough)
    assert {load.level.title for load in experiment.loads} == {"1 client", "2 clients", "50 queries/s"}
    assert {load.role for load in experiment.loads} == {"baseline", "trial"}
    assert all(trial.accuracy.builds == 2 and trial.accuracy.recall_build_sd is not None for trial in experiment.trials)
    cold = [trial.cold for trial in experiment.trials]
    assert all(cold) or any("no cold figures" in warning for warning in experiment.warnings)
    write_latencies(experiment, tmp_path)
    if all(cold):
        raw = pd.read_parquet(tmp_path / "cold_latencies.parquet")
        means = [raw[raw.visit == f"trial: {trial.point.title}"].nanoseconds.mean() for trial in experiment.trials]
        assert [one.latency.mean for one in cold if one] == pytest.approx([mean / 1e6 for mean in means])
    assert all(trial.loss is not None for trial in experiment.trials)
    assert "under load" in trust(experiment, experiment_rows(small, experiment), load_rows(small, experiment))


def test_without_codes_there_is_nothing_to_split(small: ExperimentConfig) -> None:
    experiment = measure_experiment(replace(small, quantization=QuantizationConfig("none")))
    assert [trial.loss for trial in experiment.trials] == [None]
    assert "graph built with codes" not in trust(experiment, experiment_rows(small, experiment), [])
