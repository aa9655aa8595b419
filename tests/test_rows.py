from dataclasses import replace
from pathlib import Path

import pytest

from qexp.bench.tune import oversampling_of
from qexp.config import FileDataset
from qexp.report.bodies import search_body
from qexp.results import (
    MIB,
    Cold,
    Finding,
    Interval,
    Load,
    LoadLevel,
    OperatingPoint,
    Reads,
    Row,
)
from qexp.results.footprint import CapTrial, Cliff, Comparison, ProcessMemory
from qexp.rows import (
    collection_metrics,
    dataset_facts,
    experiment_rows,
    factor_text,
    failed_row,
    load_rows,
    with_baselines,
)
from qexp.runner import measure_experiment
from tests.conftest import small_experiment
from tests.support.by_hand import latency, made_by_hand
from tests.tables import row


def trial(ef):
    return row("scalar", 2, hnsw_ef=ef)


def test_every_ef_has_the_row_of_its_own_baseline():
    metrics = {
        "baseline_recall": 0.8,
        "aa_speedup_mean": 1.0,
        "aa_speedup_low": 0.9,
        "aa_speedup_high": 1.1,
        "baseline_ram_estimated_mib": 30.0,
        "baseline_ram_floor_mib": 20.0,
        "baseline_ram_fallen_mib": 10.0,
        "ef_64_baseline_recall": 0.9,
        "ef_64_aa_speedup_mean": 1.01,
        "ef_64_aa_speedup_low": 0.99,
        "ef_64_aa_speedup_high": 1.03,
    }
    rows = with_baselines([trial("16"), trial("64")], metrics)
    assert [(one.params["quantization"], one.params["hnsw_ef"]) for one in rows] == [
        ("baseline (A/A)", "16"),
        ("scalar", "16"),
        ("baseline (A/A)", "64"),
        ("scalar", "64"),
    ]
    assert [rows[place].metrics for place in (0, 2)] == [
        {
            "recall": recall,
            "ram_estimated_mib": 30.0,
            **floor,
            "speedup_mean": mean,
            "speedup_mean_low": low,
            "speedup_mean_high": high,
        }
        for recall, floor, mean, low, high in (
            (0.8, {"ram_floor_mib": 20.0, "ram_fallen_mib": 10.0}, 1.0, 0.9, 1.1),
            (0.9, {}, 1.01, 0.99, 1.03),
        )
    ]


def test_a_baseline_is_searched_without_codes_and_a_failed_run_has_no_figures():
    (base, _) = with_baselines([trial("16")], {})
    assert {"rescore", "oversampling"} <= trial("16").params.keys()
    assert not {"rescore", "oversampling"} & base.params.keys()
    assert failed_row("r", {"quantization.name": "scalar", "seed": "1"}, "no room") == Row(
        {"quantization": "scalar", "role": "failed", "run": "r", "error": "no room"}, {}
    )


def test_what_is_recorded_fetches_as_many_as_were_measured():
    for limit in range(1, 101):
        for number in range(limit, 32 * limit + 1):
            assert int(limit * float(factor_text(oversampling_of(number, limit)))) == number


@pytest.mark.parametrize("text", ["1", "10", "2.5", "1.3333333", "1.3333333333333333", "123456789", "1.1e+20"])
def test_a_factor_that_was_given_is_recorded_in_full(text):
    assert factor_text(float(text)) == text


def test_a_given_factor_is_searched_with_after_the_record(small):
    config = replace(small, search=replace(small.search, rescore=[True], oversampling=[1.3333333]))
    _, trial = experiment_rows(config, measure_experiment(config))
    assert search_body(trial)["quantization"]["oversampling"] == 1.3333333


def test_a_record_without_further_baselines_shows_the_one_it_has():
    rows = with_baselines([trial("16"), trial("64")], {"baseline_recall": 0.8})
    assert [one.params.get("role", "trial") for one in rows] == ["baseline", "trial", "trial"]
    assert with_baselines([], {}) == []


def test_every_figure_of_a_trial_has_its_own_name():
    base, trial = experiment_rows(small_experiment(Path("unused")), made_by_hand())
    assert trial.params == {
        "dataset": "words",
        "embedding_size": "64",
        "quantization": "scalar",
        "storage": "on_disk",
        "engine": "edge",
        "rescore": "false",
        "oversampling": "1",
        "hnsw_ef": "default",
        "limit": "10",
    }
    expected = {
        "latency_mean_ms": 2.0,
        "latency_p50_ms": 2.1,
        "latency_p95_ms": 2.2,
        "latency_p99_ms": 2.3,
        "server_latency_mean_ms": 1.0,
        "server_latency_p50_ms": 1.1,
        "server_latency_p95_ms": 1.2,
        "server_latency_p99_ms": 1.3,
        "qps": 500.0,
        "accuracy_retention": 0.9,
        "accuracy_retention_low": 0.89,
        "recall": 0.85,
        "recall_high": 0.9,
        "recall_worst_decile": 0.5,
        "ndcg": 0.75,
        "mrr": 0.333333333333,
        "ram_estimated_mib": 5.0,
        "ram_measured_mib": 7.0,
        "ram_hot_measured_mib": 6.0,
        "compression_ratio": 4.0,
        "ram_cost_usd_month": 4.0,
        "disk_cost_usd_month": 1.0,
        "savings_usd_month": 7.0,
        "accuracy_retention_a": 0.92,
        "accuracy_retention_b": 0.88,
        "recall_a": 0.46,
        "recall_b": 0.44,
    }
    assert {name: trial.metrics.get(name) for name in expected} == expected
    assert "cost_target_points" not in trial.metrics
    more = replace(made_by_hand().cost, points=2000)
    priced = experiment_rows(small_experiment(Path("unused")), made_by_hand(cost=more))
    assert [one.metrics["cost_target_points"] for one in priced] == [2000, 2000]
    expected = {
        "latency_mean_ms": 4.0,
        "latency_p95_ms": 4.2,
        "server_latency_p95_ms": 3.2,
        "recall": 0.96,
        "ndcg": 0.8,
        "mrr": 0.7,
        "ram_estimated_mib": 12.0,
        "ram_measured_mib": 13.0,
        "index_seconds": 9.0,
        "ram_cost_usd_month": 10.0,
        "disk_cost_usd_month": 2.0,
        "speedup_mean": 1.01,
        "speedup_mean_low": 0.98,
        "speedup_mean_high": 1.04,
        "recall_a": 0.5,
        "recall_b": 0.495,
    }
    assert {name: base.metrics.get(name) for name in expected} == expected


def test_every_figure_of_a_collection_has_its_own_name():
    expected = {
        "upload_seconds": 2.0,
        "index_seconds": 3.0,
        "points_per_second": 5.0,  # ten points
        "compression_ratio": 4.0,
        "ram_measured_mib": 7.0,
        "baseline_ram_measured_mib": 13.0,
        "baseline_ram_cost_usd_month": 10.0,
        "baseline_disk_cost_usd_month": 2.0,
        "baseline_cost_target_points": None,
        "disk_mib": 11.0,
        "codes_disk_mib": 2.0,
        "id_tracker_disk_mib": 1.0,
        "ram_estimated_mib": 5.0,
        "ram_resident_mib": 2.0,
        "baseline_index_seconds": 9.0,
        "baseline_ram_estimated_mib": 12.0,
        "round_trip_ms": 0.5,
        "round_trip_share": 0.125,
        "rounds": 5,
        "speedup_halfwidth": 0.02,
        "noisy": 0.0,
        "baseline_latency_mean_ms": 4.0,
        "baseline_latency_p50_ms": 4.1,
        "baseline_latency_p95_ms": 4.2,
        "baseline_server_latency_mean_ms": 3.0,
        "aa_speedup_mean": 1.01,
        "aa_speedup_p50": 1.02,
        "aa_speedup_p95": 1.1,
        "aa_speedup_p95_low": 0.9,
        "aa_speedup_p95_high": 1.3,
    }
    metrics = collection_metrics(made_by_hand())
    assert {name: metrics.get(name) for name in expected} == expected
    assert not [name for name in metrics if name.startswith("ef_")]
    (base,) = made_by_hand().baselines
    noisy = replace(base, point=OperatingPoint(10, 64), control=Interval(0.9, 0.8, 0.99))
    cost = replace(made_by_hand().cost, points=2000)
    metrics = collection_metrics(
        made_by_hand(baselines=(base, noisy), findings=(Finding("", {"tuned_searches": 7.0}),), cost=cost)
    )
    expected = {
        "noisy": 1.0,
        "aa_speedup_mean": 1.01,
        "ef_64_aa_speedup_mean": 0.9,
        "ef_64_baseline_latency_mean_ms": 4.0,
        "ef_64_baseline_recall": 0.96,
        "ef_64_baseline_recall_a": 0.5,
        "tuned_searches": 7.0,
        "baseline_cost_target_points": 2000,
    }
    assert {name: metrics.get(name) for name in expected} == expected


def test_every_figure_of_a_cold_start_has_its_own_name():
    (base,), (trial,) = made_by_hand().baselines, made_by_hand().trials
    slow = Cold(latency(40.0), 50.0, None, Reads(20, 4096), 10)
    fast = Cold(latency(8.0), 9.0, Interval(5.0, 4.0, 6.0), Reads(5, None), 10)
    made = made_by_hand(baselines=(replace(base, cold=slow),), trials=(replace(trial, cold=fast),))
    figures = {
        "latency_mean_ms": 40.0,
        "latency_p95_ms": 40.2,
        "first_query_ms": 50.0,
        "major_faults_per_query": 2.0,
        "read_bytes_per_query": 409.6,
    }
    logged = collection_metrics(made)
    assert {name: value for name, value in logged.items() if "cold" in name} == {
        f"baseline_cold_{name}": value for name, value in figures.items()
    }
    shown, own = experiment_rows(small_experiment(Path("unused")), made)
    assert {name: shown.metrics.get(f"cold_{name}") for name in figures} == figures
    assert {name: value for name, value in own.metrics.items() if "cold" in name} == {
        "cold_latency_mean_ms": 8.0,
        "cold_latency_p95_ms": 8.2,
        "cold_first_query_ms": 9.0,
        "cold_major_faults_per_query": 0.5,
        "cold_speedup_mean": 5.0,
        "cold_speedup_mean_low": 4.0,
        "cold_speedup_mean_high": 6.0,
    }


def without_files(made):
    build = made.quantized.build
    return replace(made.quantized, build=replace(build, state=replace(build.state, files={})))


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda made: {"quantized": replace(made.quantized, memory=None)}, "ram_measured_mib"),
        (
            lambda made: {"quantized": without_files(made)},
            "disk_mib vectors_disk_mib codes_disk_mib id_tracker_disk_mib compression_ratio",
        ),
        (
            lambda made: {"baseline_collection": replace(made.baseline_collection, round_trip=None)},
            "round_trip_ms round_trip_share",
        ),
        (
            lambda made: {"baselines": (replace(made.baselines[0], control_p95=None),)},
            "aa_speedup_p95 aa_speedup_p95_low aa_speedup_p95_high",
        ),
        (
            lambda made: {"baselines": (replace(made.baselines[0], server=None),)},
            " ".join(f"baseline_server_latency_{name}_ms" for name in ("mean", "p50", "p95", "p99")),
        ),
    ],
)
def test_what_is_unknown_of_a_collection_is_left_out(change, missing):
    made = made_by_hand()
    known, left = (collection_metrics(one).keys() for one in (made, replace(made, **change(made))))
    assert known - left == set(missing.split())


def test_payload_indexes_are_those_that_were_asked_for_or_else_those_that_were_found():
    config, made = small_experiment(Path("unused")), made_by_hand()
    found = replace(made, dataset=replace(made.dataset, native_size=128, payload_indexes={"city": "keyword"}))
    facts = {"name": "words", "digest": "d", "size": 64, "distance": "cosine", "points": 1000, "queries": 200}
    index = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10}
    assert dataset_facts(config, found) == {
        **facts,
        **index,
        "native_size": 128,
        "payload_indexes": {"city": "keyword"},
    }
    own = FileDataset(path="x.parquet", payload_columns=["row"], payload_indexes={"row": "integer"})
    asked = replace(config, dataset=own)
    assert dataset_facts(asked, found)["payload_indexes"] == {"row": "integer"}


def test_a_trial_whose_server_tells_no_time_has_no_such_figure():
    (trial,) = made_by_hand().trials
    silent = made_by_hand(trials=(replace(trial, server=None),))
    _, row = experiment_rows(small_experiment(Path("unused")), silent)
    assert not [name for name in row.metrics if name.startswith("server_")]


def test_throughput_without_pause_is_priced_by_the_bill_of_its_own_collection():
    point = OperatingPoint(10)
    loads = (
        Load("baseline", point, LoadLevel(2), 100.0, latency(5.0)),
        Load("trial", point, LoadLevel(2), 200.0, latency(3.0)),
        Load("trial", point, LoadLevel(2, 50.0), 50.0, None),
    )
    rows = load_rows(small_experiment(Path("unused")), made_by_hand(loads=loads))
    assert [one.metrics.get("cost_usd_month_per_1000_qps") for one in rows] == [120.0, 25.0, None]
    assert [(one.metrics["qps"], one.metrics["saturated"]) for one in rows] == [(100.0, 0), (200.0, 0), (50.0, 1)]
    assert [one.params.get("rate") for one in rows] == [None, None, "50"]
    assert [one.params.get("clients") for one in rows] == ["2"] * 3
    assert [(one.params["quantization"], one.params.get("role")) for one in rows] == [
        ("baseline", "baseline"),
        ("scalar", None),
        ("scalar", None),
    ]


@pytest.mark.parametrize(
    ("files", "ratio"),
    [({"vectors": 400, "codes": 100}, 4.0), ({"vectors": 400, "codes": 0}, 1.0), ({"vectors": 400}, 1.0), ({}, None)],
)
def test_codes_are_compared_with_the_vectors_that_are_stored(files, ratio):
    one = made_by_hand()
    build = replace(one.quantized.build, state=replace(one.quantized.build.state, files=files))
    assert replace(one, quantized=replace(one.quantized, build=build)).compression_ratio == ratio


def test_every_figure_of_memory_has_its_own_name():
    made = made_by_hand()
    graph = Comparison("graph", "hot", MIB, 4 * MIB, 2 * MIB, 4 * MIB, 5 * MIB, 6 * MIB, 7 * MIB, MIB)
    process = ProcessMemory(10 * MIB, 11 * MIB, 12 * MIB, 13 * MIB, 14, 15, None)
    large = replace(
        made.baseline_collection, comparisons=(graph,), memory=replace(made.baseline_collection.memory, process=process)
    )
    point = OperatingPoint(10).title
    caps = [
        CapTrial(method, point, cap and cap * MIB, 1.0, ms, faults=1)
        for method, held in (("none", 9), ("scalar", 3))
        for cap, ms in ((None, 1.0), (held, 1.0), (held - 1, 3.0))
    ]
    experiment = replace(made, baseline_collection=large, cliff=Cliff(MIB, tuple(caps)))
    expected = {
        "codes_predicted_mib": 2.0,
        "codes_guide_mib": None,
        "codes_loaded_mib": 0.0,
        "codes_resident_mib": 6.0,
        "codes_ram_off_percent": pytest.approx(100 * (2 / 6 - 1)),
        "codes_file_off_percent": 0.0,
        "ram_hot_measured_mib": 6.0,
        "process_peak_mib": None,
        "baseline_graph_predicted_mib": 1.0,
        "baseline_graph_guide_mib": 4.0,
        "baseline_graph_loaded_mib": 5.0,
        "baseline_graph_warm_mib": 6.0,
        "baseline_graph_resident_mib": 8.0,
        "baseline_graph_ram_off_percent": -87.5,
        "baseline_graph_file_off_percent": -50.0,
        "baseline_ram_hot_measured_mib": 8.0,
        "baseline_process_anonymous_mib": 10.0,
        "baseline_process_file_mib": 11.0,
        "baseline_process_shared_mib": 12.0,
        "baseline_process_peak_mib": 13.0,
        "baseline_process_minor_faults": 14.0,
        "baseline_process_major_faults": 15.0,
        "baseline_ram_floor_mib": 9.0,
        "baseline_ram_fallen_mib": 8.0,
    }
    found = collection_metrics(experiment)
    assert {name: found.get(name) for name in expected} == expected
    base, trial = experiment_rows(small_experiment(Path("unused")), experiment)
    caps = [(one.metrics["ram_floor_mib"], one.metrics["ram_fallen_mib"]) for one in (base, trial)]
    assert caps == [(9.0, 8.0), (3.0, 2.0)]
