"""The tables of cold searches and of load, from rows made by hand."""

from qexp.report.conditions import COLD, LOAD, cold_grid, condition_elements, load_grid
from qexp.report.elements import Heading, Paragraph
from tests.tables import baseline, row


def cold(one, mean: float, **speedup: float):
    one.metrics.update(cold_latency_mean_ms=mean, cold_first_query_ms=9.5, cold_major_faults_per_query=0.25)
    one.metrics.update({f"cold_{name}": value for name, value in speedup.items()})
    return one


def load(one, rate: str = "", **metrics: float):
    one.params.update({"clients": "2"} | ({"rate": rate} if rate else {}))
    one.metrics.clear()
    one.metrics.update({"saturated": 0.0, "qps": 1234.4} | metrics)
    return one


def test_cold_means_stand_beside_the_warm_ones():
    trial = cold(row("scalar", 2), 1.5, speedup_mean=2.0, speedup_mean_low=0.9, speedup_mean_high=4.0)
    grid = cold_grid([("scalar (m 8)", cold(baseline(hnsw_ef="64"), 3.0)), ("scalar (m 8)", trial), ("x", row("x"))])
    assert grid is not None
    assert grid.header == COLD
    assert len(COLD) == len(grid.rows[0])
    assert grid.rows == (
        ("scalar (m 8)", "baseline, ef 64", "1.800", "3.000", "", "9.500", "0.25"),
        ("scalar (m 8)", "rescoring 2×", "0.900", "1.500", "2.00× (0.90–4.00) ≈", "9.500", "0.25"),
    )


def test_a_saturated_load_has_no_latency():
    served = load(
        row("scalar", 2),
        latency_mean_ms=1.0,
        latency_p95_ms=3.0,
        speedup_mean=2.0,
        speedup_mean_low=1.9,
        speedup_mean_high=2.1,
    )
    grid = load_grid([("scalar", load(baseline(), "500", saturated=1.0)), ("scalar", served)])
    assert grid is not None
    assert grid.header == LOAD
    assert len(LOAD) == len(grid.rows[0])
    assert grid.rows == (
        ("scalar", "baseline", "500 queries/s", "1234 (saturated)", "", "", ""),
        ("scalar", "rescoring 2×", "2 clients", "1234", "1.000", "3.000", "2.00× (1.90–2.10)"),
    )


def test_what_is_loaded_at_once_is_not_said_to_come_from_the_disk():
    heading, said, _ = condition_elements([("scalar", cold(row("scalar", 2), 1.5))], [])
    assert heading == Heading("After a cold start")
    assert isinstance(said, Paragraph)
    assert "such as pinned codes, is in memory before the first query; all else" in said.text


def test_what_was_not_measured_has_no_table():
    assert condition_elements([("scalar", row("scalar", 2))], []) == []
    rows, loads = [("scalar", cold(row("scalar", 2), 1.5))], [("scalar", load(row("scalar", 2)))]
    first, (heading, said, grid) = condition_elements(rows, []), condition_elements([], loads)
    assert (heading, grid) == (Heading("Under load"), load_grid(loads))
    assert condition_elements(rows, loads) == [*first, heading, said, grid]
