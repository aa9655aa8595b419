"""Why to believe figures, from checks and rows made by hand."""

from types import SimpleNamespace

import pytest

from qexp.report.conditions import cold_grid, load_grid
from qexp.report.elements import Grid, Paragraph
from qexp.report.markdown import element_markdown
from qexp.report.recommend import recommend
from qexp.report.record import CollectionRecord
from qexp.report.trust import LOSS_SAID, belief, condition_grids, loss_grid, trust, validity_table
from qexp.results import Check
from tests.tables import baseline, job, row
from tests.test_conditions import cold, load
from tests.test_recommend import SLO

CHECKS = [
    Check("T08", "recall 0.95", "held"),
    Check("T02", "m=16", "held"),
    *[Check("T02", f"{kib} KiB", "held") for kib in (1, 2, 1)],
    Check("T02", "no index", "warning", "searches scan"),
    Check("T02", "the server's memory", "not known"),
    Check("T03", "rescore is sent", "by construction"),
]


def lossy(**losses: float):
    one = row("scalar", 2, accuracy=0.96)
    one.metrics.update({"loss_hnsw": 0.01, "loss_code_graph": 0.002, "loss_codes": 0.058, "gain_rescoring": 0.03})
    one.metrics.update(losses)
    return one


def test_checks_of_a_trap_are_one_line_for_each_verdict_the_worst_first():
    header, _, *lines = validity_table(CHECKS).splitlines()
    assert header == "| trap | verdict | what was checked |"
    assert lines == [
        "| T02 | warning | searches scan |",
        "| T02 | not known | the server's memory |",
        "| T02 | held | m=16; 1 KiB (and 1 more like it) |",
        "| T03 | by construction | rescore is sent |",
        "| T08 | held | recall 0.95 |",
    ]
    assert validity_table(CHECKS[1:3]).endswith("| m=16; 1 KiB |")


def test_recall_is_split_from_exact_search_down():
    partly = lossy()
    del partly.metrics["loss_codes"]
    grid = loss_grid([("one", lossy()), ("partly", partly), ("other", lossy(loss_codes=0.0))])
    assert grid is not None
    assert grid.header == (
        "operating point",
        "HNSW on floats",
        "graph built with codes",
        "codes",
        "rescoring",
        "recall",
    )
    assert grid.rows == (
        ("one", "-1.0", "-0.2", "-5.8", "+3.0", "96.0"),
        ("other", "-1.0", "-0.2", "+0.0", "+3.0", "96.0"),
    )
    assert loss_grid([("whole", row("scalar"))]) is None


def test_a_run_tells_how_its_rounds_ended_what_was_found_and_what_was_checked():
    plain = SimpleNamespace(stop="5 rounds, as asked", noisy=False, warnings=[], checks=CHECKS)
    assert trust(plain, [row("scalar")], []) == f"Rounds: 5 rounds, as asked.\n\n{validity_table(CHECKS)}"
    full = SimpleNamespace(stop="5 rounds, as asked", noisy=True, warnings=["T14 it drifts"], checks=CHECKS)
    rows, loads = [cold(baseline(), 3.0), lossy()], [load(row("scalar", 2))]
    tables = cold_grid([("scalar", rows[0])]), load_grid([("scalar", loads[0])])
    assert condition_grids(rows, loads) == [*tables]
    assert trust(full, rows, loads).split("\n\n") == [
        "Rounds: 5 rounds, as asked.",
        "**Noisy**: the baseline differs from itself in this run; the interval of every trial's speedup, those under "
        "load excepted, is widened by as much.",
        "Note: T14 it drifts.",
        LOSS_SAID,
        element_markdown(loss_grid([("rescoring 2×", rows[1])])),
        *map(element_markdown, tables),
        validity_table(CHECKS),
    ]


def control(low: float, high: float, ef: str = "default"):
    base = baseline(hnsw_ef=ef)
    base.metrics.update(speedup_mean=1.0, speedup_mean_low=low, speedup_mean_high=high)
    return base


def test_the_control_of_every_job_has_its_figures():
    jobs = [job("scalar", control(0.95, 1.04), row("scalar", 2)), job("binary", control(0.2, 5.0), row("binary", 2))]
    jobs[1].metrics["rounds"] = 12
    decided = recommend([one for found in jobs for one in found.rows], SLO)
    _, said, grid, *_ = belief(jobs, decided)
    assert said.text.endswith(" cannot be told from itself (within 1.05×).")
    assert grid.rows == (
        ("scalar", "1.000 (0.950–1.040)", "holds", "1.000", "5"),
        ("binary", "1.000 (0.200–5.000)", "too wide to say", "1.000", "12"),
    )


def test_a_control_is_printed_as_the_ratio_that_it_is():
    wide, barely = (job("scalar", control(*ends), row("scalar", 2)) for ends in ((0.01, 26_688.9), (1.0002, 1.2)))
    printed = [belief([one], recommend(one.rows, SLO))[2].rows[0][1] for one in (wide, barely)]
    assert printed == ["1.000 (0.010–≥100)", "1.000 (1.0002–1.200)"]


def told(*jobs: CollectionRecord) -> tuple[str, list[str]]:
    decided = recommend([one for found in jobs for one in found.rows], SLO)
    said = [element for element in belief(list(jobs), decided) if isinstance(element, Paragraph | Grid)]
    paragraph, grid = said[0], said[1]
    assert isinstance(paragraph, Paragraph)
    assert isinstance(grid, Grid)
    return paragraph.text, [str(cells[2]) for cells in grid.rows]


def test_a_control_that_is_too_wide_is_not_called_quiet():
    quiet = job("scalar", control(0.99, 1.03), row("scalar", 2))
    wide = job("binary", control(0.2, 5.0), row("binary", 2))
    noisy = job("turbo_4bit", control(1.1, 1.2), row("turbo_4bit", 2))
    assert told(quiet) == (
        "In every job the baseline, measured twice, cannot be told from itself (within 1.03×).",
        ["holds"],
    )
    assert told(noisy)[0] == "The control fails in job turbo_4bit: read those speedups with care."
    assert told(wide)[0] == "In job binary the control is too wide to say whether the machine was steady."
    assert told(quiet, wide, noisy) == (
        "The control fails in job turbo_4bit: read those speedups with care. In job binary the control is too wide to "
        "say whether the machine was steady. In the others the baseline, measured twice, cannot be told from itself "
        "(within 1.03×).",
        ["holds", "too wide to say", "fails: noisy"],
    )


@pytest.mark.parametrize(("wide", "said"), [(1.0999, "holds"), (1.1001, "too wide to say")])
def test_a_control_is_too_wide_beyond_twice_the_target(wide: float, said: str):
    assert told(job("scalar", control(1 / wide, wide), row("scalar", 2)))[1] == [said]


def test_many_controls_that_are_too_wide_are_counted():
    jobs = [job(f"method_{number}", control(0.2, 5.0), row(f"method_{number}", 2)) for number in range(9)]
    quiet = job("scalar", control(0.97, 1.03), row("scalar", 2))
    said, verdicts = told(*jobs, quiet)
    assert said.startswith("In 9 of 10 jobs the control is too wide to say")
    assert told(*jobs[:2], quiet)[0].startswith("In jobs method_0, method_1 the control is too wide to say")
    assert told(*jobs[:2])[0].startswith("In every job the control is too wide to say")
    assert len(verdicts) == 10


def test_jobs_of_one_name_are_told_apart():
    noisy, grid = (job("scalar", control(*ends), row("scalar", 2)) for ends in ((1.1, 1.2), (0.99, 1.03)))
    names = [cells[0] for cells in belief([noisy, grid], recommend([*noisy.rows, *grid.rows], SLO))[2].rows]
    assert names == ["scalar (job 1)", "scalar (job 2)"]
    assert told(noisy, grid)[0].startswith("The control fails in job scalar (job 1): ")


def test_every_ef_has_its_own_control():
    rows = [control(0.99, 1.01, "16"), row("scalar", 2, hnsw_ef="16"), control(1.1, 1.2, "64")]
    one = job("scalar", *rows, row("scalar", 2, hnsw_ef="64"))
    said, verdicts = told(one)
    assert said.startswith("The control fails in job scalar, ef 64: ")
    assert verdicts == ["holds", "fails: noisy"]
