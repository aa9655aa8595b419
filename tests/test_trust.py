"""Why to believe figures, from checks and rows made by hand."""

from types import SimpleNamespace

from qexp.report.conditions import cold_grid, load_grid
from qexp.report.markdown import element_markdown
from qexp.report.trust import LOSS_SAID, condition_grids, loss_grid, trust, validity_table
from qexp.results import Check
from tests.tables import baseline, row
from tests.test_conditions import cold, load

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
