"""The speed of the machine in each job, told by the baselines that jobs share."""

from math import inf, log, sqrt

import pytest

from qexp.report.frontier import candidates, times_faster
from qexp.report.pace import drifts_of, paced, share_baseline
from qexp.report.settings import BASELINE_EFS
from qexp.results import Row
from tests.tables import baseline, row


def at(base: Row, p50: float) -> Row:
    return Row(base.params, base.metrics | {"latency_p50_ms": p50})


def paces(*rows: Row) -> list[float]:
    return [round(pace, 6) for _, pace in paced(rows)]


def test_a_job_is_brought_to_the_geometric_mean_of_the_medians() -> None:
    first, second = at(baseline(), 1.0), at(baseline(), 4.0)
    assert paces(first, row("scalar"), second, row("binary")) == [2.0, 2.0, 0.5, 0.5]


def test_a_burst_in_one_p95_moves_nothing() -> None:
    calm, burst = at(baseline(p95=2.0), 1.0), at(baseline(p95=20.0), 1.0)
    assert paces(calm, row("scalar"), burst, row("binary")) == [1.0] * 4


def test_records_without_a_median_are_levelled_by_the_mean() -> None:
    assert paces(baseline(p95=1.0), row("scalar"), at(baseline(p95=4.0), 9.0), row("binary")) == [2.0, 2.0, 0.5, 0.5]


def test_a_job_with_several_ef_has_one_pace() -> None:
    def job(method: str, low: float, high: float) -> list[Row]:
        own = [at(baseline(hnsw_ef="32"), low), row(method, hnsw_ef="32")]
        return [*own, at(baseline(hnsw_ef="128"), high), row(method, hnsw_ef="128")]

    one, two = job("scalar", 1.0, 4.0), job("binary", 4.0, 4.0)
    assert paces(*one, *two) == pytest.approx([sqrt(2)] * 4 + [sqrt(0.5)] * 4, abs=1e-6)
    found = candidates([*one, *two], "recall")
    slow, fast = (next(c for c in found if c.title == f"binary, no rescoring, ef {ef}") for ef in (32, 128))
    assert times_faster(slow, fast).estimate == 1.0  # of one job, as measured


def test_only_what_other_jobs_searched_too_tells_of_a_job() -> None:
    first = at(baseline(hnsw_ef="32"), 7.0), at(baseline(hnsw_ef="64"), 1.0), row("scalar")
    second = at(baseline(hnsw_ef="64"), 4.0), row("binary")
    efs = "32 64", "64"
    told = [
        [Row(one.params | {BASELINE_EFS: own}, one.metrics) if "role" in one.params else one for one in job]
        for job, own in zip((first, second), efs, strict=True)
    ]
    assert paces(*told[0], *told[1]) == [2.0, 2.0, 2.0, 0.5, 0.5]
    alone = at(baseline(storage="hot"), 3.0), row("scalar", storage="hot")
    assert paces(*first, *alone)[3:] == [1.0, 1.0]


def test_a_baseline_of_other_ef_begins_another_job() -> None:
    jobs = [("32", {"32": 1.0}), ("64", {"64": 4.0}), ("32 64", {"32": 2.0, "64": 2.0})]
    rows = [at(baseline(hnsw_ef=ef, **{BASELINE_EFS: efs}), p50) for efs, own in jobs for ef, p50 in own.items()]
    assert paces(*rows) == pytest.approx([sqrt(2), sqrt(0.5), 1.0, 1.0], abs=1e-6)
    with_trials = [one for base in rows for one in (base, row("scalar", hnsw_ef=base.params["hnsw_ef"]))]
    assert paces(*with_trials)[::2] == paces(*rows)


def test_rows_without_a_baseline_are_no_job() -> None:
    assert paces(row("scalar")) == []


def test_the_drift_is_that_of_jobs_around_their_mean() -> None:
    pair = baseline(p95=1.0), row("scalar"), baseline(p95=4.0), row("binary")
    sd = log(4) / sqrt(2)
    assert drifts_of(pair, "latency_p95_ms") == {("on_disk", ""): pytest.approx(12.7062 * sd / sqrt(2), rel=1e-5)}
    assert drifts_of(pair[:2], "latency_p95_ms") == {("on_disk", ""): inf}


def test_jobs_share_a_baseline_by_storage_and_ef() -> None:
    assert share_baseline(baseline(), baseline())
    assert not share_baseline(baseline(), baseline(storage="hot"))
    at64, both, at32 = (baseline(**{BASELINE_EFS: efs}) for efs in ("64", "32 64", "32"))
    assert share_baseline(at64, both)
    assert not share_baseline(at64, at32)
