"""What is said about memory caps, by exact numbers."""

import pytest

from qexp.report.canvas import LIGHT, WIDE, Frame
from qexp.report.cliff import cells, floors, from_json, markdown, merged, to_json
from qexp.report.plots_memory import cliff_picture, cliff_plot
from qexp.results.footprint import CapTrial, Cliff

MIB = 2**20


def trial(method: str, cap: int | None, ms: float | None, **more: float) -> CapTrial:
    if ms is None:
        return CapTrial(method, "no rescore", cap)
    return CapTrial(method, "no rescore", cap, ms, ms, 2 * ms, faults=5.0, read=2048, rounds=3, **more)  # type: ignore[arg-type]


FLOATS = [trial("none", None, 1.0), trial("none", 100 * MIB, 1.5), trial("none", 50 * MIB, 80.0, marked=1)]
CODES = [
    trial("binary", None, 0.5),
    trial("binary", 100 * MIB, 0.5),
    trial("binary", 50 * MIB, 0.6, speedup=130.0, base_ms=78.0),
]
DEAD = [trial("scalar", None, 0.5), trial("scalar", 100 * MIB, 0.5), trial("scalar", 50 * MIB, None)]
CLIFF = Cliff(100 * MIB, (*FLOATS, *CODES, *DEAD))


def test_every_configuration_says_where_it_falls() -> None:
    assert floors(CLIFF) == [
        "baseline: holds with 100 MiB, falls off with 50 MiB",
        "binary, no rescore: holds under every cap, down to 50 MiB",
        "scalar, no rescore: holds with 100 MiB, is killed with 50 MiB",
    ]
    sick = Cliff(MIB, (trial("none", None, 1.0), trial("none", 5 * MIB, 9.0)))
    assert floors(sick) == ["baseline: falls off with 5.0 MiB already"]
    assert sick.floor("none", "no rescore") is None


def test_cells_hold_the_figures() -> None:
    rows = cells(CLIFF)
    assert rows[0][:6] == ["baseline", "none", "", "1.000", "2.000", "1.0×"]
    assert rows[2] == ["baseline", "50 MiB", "50%", "80.000", "160.000", "80.0×", "", "", "5.00", "2.0", "1 of 3"]
    assert rows[5][5:8] == ["1.2×", "78.000", "130.0×"]
    assert rows[8] == ["scalar, no rescore", "50 MiB", "50%", "killed", *[""] * 7]
    assert "| baseline | 50 MiB |" in markdown(CLIFF)


@pytest.mark.parametrize(("typical", "faults", "floor"), [(1.1, 9.0, MIB), (9.0, 0.4, MIB), (9.0, 0.5, None)])
def test_a_stalled_round_or_a_slow_machine_is_no_fall(typical: float, faults: float, floor: int | None) -> None:
    stalled = CapTrial("none", "no rescore", MIB, mean_ms=9.0, typical_ms=typical, faults=faults)
    assert Cliff(MIB, (FLOATS[0], stalled)).floor("none", "no rescore") == floor


def test_jobs_are_merged_with_one_baseline_and_survive_json() -> None:
    jobs = [Cliff(100 * MIB, (*FLOATS, *CODES)), Cliff(100 * MIB, (*reversed(FLOATS), *DEAD))]
    assert merged([from_json(to_json(job)) for job in jobs]) == CLIFF


@pytest.mark.parametrize("cliff", [CLIFF, Cliff(MIB, (DEAD[0], trial("scalar", MIB, None)))], ids=["all", "killed"])
def test_the_plot_is_drawn(cliff: Cliff) -> None:
    assert cliff_picture(cliff, "title")[1:4] == b"PNG"
    (axes,) = cliff_plot(cliff, Frame(LIGHT, WIDE)).axes
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    assert crosses[0].get_xdata()[0] == next(trial.cap / MIB for trial in cliff.trials if trial.cap and trial.killed)
