from dataclasses import replace

import pytest

from qexp.bench.tune import oversampling_of
from qexp.report.bodies import search_body
from qexp.rows import experiment_rows, factor_text, with_baselines
from qexp.runner import measure_experiment
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
            (0.8, {"ram_floor_mib": 20.0}, 1.0, 0.9, 1.1),
            (0.9, {}, 1.01, 0.99, 1.03),
        )
    ]


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
