"""Memory and money as tables, by exact numbers."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from qexp.report.memory import bill_rows, memory_markdown, memory_rows, process_text
from qexp.results import MIB
from qexp.results.footprint import Bill, Comparison, Cost, ProcessMemory

# Name and need; then MiB: predicted, by the guide, predicted file, file, loaded, warm, mapped, heap.
PARTS = (
    ("vectors", "disk", 2048, 77, 2048, 2049, 3, 5, 7, 0),
    ("codes", "resident", 512, 256, 512, 512, 500, 501, 0, 512),
    ("graph", "hot", 60, 90, 40, 50, 10, 30, 45, 5),
    ("id tracker", "resident", 8, 20, 4, None, None, None, None, None),
    ("payload", "disk", 0, 0, 0, 32, 1, 2, 4, 0),
)


def test_every_figure_stands_in_its_column() -> None:
    def size(mib: int | None) -> int | None:
        return None if mib is None else mib * MIB

    parts = [Comparison(name, need, *map(size, sizes)) for name, need, *sizes in PARTS]  # type: ignore[arg-type]
    assert memory_rows(parts) == [
        ["vectors", "disk", "77.0", "2,048.0", "3.0", "5.0", "7.0", "", "2,048.0", "2,049.0", "+0.0 %"],
        ["codes", "RAM, pinned", "256.0", "512.0", "500.0", "501.0", "512.0", "+0.0 %", "512.0", "512.0", "+0.0 %"],
        ["graph", "RAM", "90.0", "60.0", "10.0", "30.0", "50.0", "+20.0 %", "40.0", "50.0", "-20.0 %"],
        ["id tracker", "RAM, pinned", "20.0", "8.0", "", "", "", "", "4.0", "", ""],
        ["payload", "", "", "", "1.0", "2.0", "4.0", "", "", "32.0", ""],
        ["together", "", "366.0", "580.0", "514.0", "538.0", "573.0", "", "2,604.0", "2,643.0", ""],
    ]
    assert memory_rows(parts[3:4])[-1] == ["together", "", "20.0", "8.0", "", "", "", "", "4.0", "", ""]


def test_a_bill_is_by_the_month_and_the_year_and_saves_against_its_own_baseline() -> None:
    predicted, baseline = Bill(100 * MIB, 300 * MIB, 1.5, 0.25), Bill(400 * MIB, 301 * MIB, 6.0, 0.25, "2 × small")
    cost = Cost(500_000, predicted, baseline)
    rows = [
        ["baseline, predicted", "400.0", "301.0", "2 × small", "6.25", "75.00", ""],
        ["quantized, predicted", "100.0", "300.0", "", "1.75", "21.00", "4.50"],
    ]
    for half in ({}, {"measured": predicted}, {"baseline_measured": baseline}):
        assert bill_rows(replace(cost, **half)) == rows
    measured = replace(cost, measured=Bill(90 * MIB, 0, 1.25, 0), baseline_measured=Bill(410 * MIB, 0, 6.5, 0))
    rows += [
        ["baseline, measured", "410.0", "0.0", "", "6.50", "78.00", ""],
        ["quantized, measured", "90.0", "0.0", "", "1.25", "15.00", "5.25"],
    ]
    assert bill_rows(measured) == rows
    rows += [
        ["baseline, theory", "", "", "", "8.00", "96.00", ""],
        ["quantized, theory", "", "", "", "0.00", "0.00", "8.00"],
    ]
    assert bill_rows(replace(measured, theory=0.0, theory_baseline=8.0)) == rows
    same = Bill(0, 0, 6.0, 0.254)  # on whole machines what differs is the disk of the codes
    assert bill_rows(Cost(500_000, same, baseline))[1][-1] == "0.00"


def test_half_of_what_makes_a_figure_is_no_figure() -> None:
    part = Comparison("codes", "resident", 1, 1, 1, 1, 1, 1, mapped=1, heap=1)
    assert [replace(part, **known).resident for known in ({}, {"mapped": None}, {"heap": None})] == [2, None, None]
    cost = Cost(1, Bill(0, 0, 1, 0), Bill(0, 0, 4, 0), theory_baseline=8.0, theory=2.0)
    halves = [replace(cost, **known) for known in ({}, {"theory": None}, {"theory_baseline": None})]
    assert [half.theory_savings_usd_month for half in halves] == [6.0, None, None]


def test_one_copy_serves_what_one_copy_was_measured_with() -> None:
    assert Bill(0, 0, 1.5, 0.25).usd_month_per_1000_qps(500) == 3.5
    assert Bill(0, 0, 1.5, 0.25, serving=2.0).usd_month_per_1000_qps(500) == 1.75


@pytest.mark.parametrize(
    ("read", "end"), [(None, ""), (0, ", 0.0 MiB read from disk"), (MIB, ", 1.0 MiB read from disk")]
)
def test_a_process_is_told_by_kinds(read: int | None, end: str) -> None:
    process = ProcessMemory(1 * MIB, 2 * MIB, 3 * MIB, 1400 * MIB, 12_345, 6_789, read)
    assert process_text(process) == (
        "1.0 MiB anonymous, 2.0 MiB of files, 3.0 MiB shared, 1,400.0 MiB at peak; 12,345 minor and 6,789 major page "
        f"faults{end}"
    )


def test_the_note_has_both_collections_their_processes_and_the_bill() -> None:
    part = Comparison("codes", "resident", MIB, MIB, MIB, MIB, MIB, MIB, 0, MIB)
    process = ProcessMemory(MIB, 0, 0, MIB, 1, 0, None)
    quantized = SimpleNamespace(name="c-scalar", comparisons=[part], memory=SimpleNamespace(process=process))
    bare = SimpleNamespace(name="c-none", comparisons=[part], memory=SimpleNamespace(process=None))
    cost = Cost(500_000, Bill(0, 0, 1.5, 0.25), Bill(0, 0, 6.0, 0.25))
    experiment = SimpleNamespace(quantized=quantized, baseline_collection=bare, cost=cost)
    text = memory_markdown(experiment)  # type: ignore[arg-type]
    told = [line for line in text.splitlines() if line and not line.startswith("|")]
    assert told == [
        "**quantized: c-scalar** (MiB)",
        f"Process of the quantized collection: {process_text(process)}",
        "**baseline: c-none** (MiB)",
        "**500,000 points: 3.50 USD/month for a million**",
    ]
    assert text.count("| codes | RAM, pinned | 1.0 |") == 2
    assert "| quantized, predicted | 0.0 | 0.0 |  | 1.75 | 21.00 | 4.50 |" in text
