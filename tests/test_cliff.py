"""What is said about memory caps, by exact numbers."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from qexp.report.canvas import LIGHT, WIDE, Frame
from qexp.report.cliff import cap_text, cells, cliff_table, floors, from_json, markdown, merged, to_json
from qexp.report.plots_memory import cliff_plot
from qexp.results import Row
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
    trial("binary", 50 * MIB, 0.6, speedup=130.04, base_ms=78.0),
]
DEAD = [trial("scalar", None, 0.5), trial("scalar", 100 * MIB, 0.5), trial("scalar", 50 * MIB, None)]
CLIFF = Cliff(100 * MIB, (*FLOATS, *CODES, *DEAD))


def rows_of(quantization: str, **params: str) -> list[Row]:
    given = {"quantization": quantization, "storage": "on_disk", **params}
    return [Row({**given, "role": "baseline"}, {}), Row(given, {})]


def test_every_configuration_says_where_it_falls() -> None:
    assert floors(CLIFF) == [
        "baseline: holds with 100 MiB, falls off with 50 MiB.",
        "binary, no rescore: holds under every cap, down to 50 MiB.",
        "scalar, no rescore: holds with 100 MiB, is killed with 50 MiB.",
    ]
    sick = Cliff(MIB, (trial("none", None, 1.0), trial("none", 5 * MIB, 9.0)))
    assert floors(sick) == ["baseline: falls off with 5.0 MiB already."]
    assert sick.floor("none", "no rescore") is None
    assert sick.fallen("none", "no rescore") == 5 * MIB
    assert [CLIFF.fallen(name, "no rescore") for name in ("none", "binary", "scalar")] == [50 * MIB, None, 50 * MIB]


def test_cells_hold_the_figures() -> None:
    rows = cells(CLIFF)
    assert rows[0] == ["baseline", "none", "", "1.000", "2.000", "1.0×", "", "", "5.00", "2.0", ""]
    assert rows[2] == ["baseline", "50 MiB", "50%", "80.000", "160.000", "80.0×", "", "", "5.00", "2.0", "1 of 3"]
    assert rows[5][5:8] == ["1.2×", "78.000", "130.0×"]
    assert rows[8] == ["scalar, no rescore", "50 MiB", "50%", "killed", *[""] * 7]
    assert "| baseline | 50 MiB |" in markdown(CLIFF)
    assert "\n".join(["", *(f"- {line}" for line in floors(CLIFF)), ""]) in markdown(CLIFF)
    named = Cliff(MIB, (trial("my *own*", None, 1.0), trial("my *own*", 40 * MIB, 1.0)))
    assert "\n- my \\*own\\*" in markdown(named)


def test_a_baseline_is_not_beside_itself_and_bytes_that_nobody_counts_are_left_out() -> None:
    own = replace(FLOATS[1], base_ms=1.5, read=200 * 1024)
    assert cells(Cliff(MIB, (FLOATS[0], own)))[1][6:] == ["", "", "5.00", "200.0", ""]
    assert cells(Cliff(MIB, (FLOATS[0], replace(own, read=None))))[1][9] == ""


def test_the_smallest_of_many_caps_is_the_one_that_counts() -> None:
    caps = [trial("none", cap and cap * MIB, 1.0) for cap in (None, 40, 30, 20)]
    assert floors(Cliff(MIB, tuple(caps))) == ["baseline: holds under every cap, down to 20 MiB."]
    caps.append(trial("none", 10 * MIB, 9.0))
    assert floors(Cliff(MIB, tuple(caps))) == ["baseline: holds with 20 MiB, falls off with 10 MiB."]


def test_small_caps_have_a_decimal() -> None:
    assert [cap_text(CapTrial("", "", round(mib * MIB))) for mib in (9.5, 10, 10.6)] == ["9.5 MiB", "10 MiB", "11 MiB"]


@pytest.mark.parametrize(("typical", "faults", "floor"), [(1.1, 9.0, MIB), (9.0, 0.04, MIB), (9.0, 0.05, None)])
def test_a_stalled_round_or_a_slow_machine_is_no_fall(typical: float, faults: float, floor: int | None) -> None:
    stalled = CapTrial("none", "no rescore", MIB, mean_ms=9.0, typical_ms=typical, faults=faults)
    assert Cliff(MIB, (FLOATS[0], stalled)).floor("none", "no rescore") == floor


def test_jobs_are_merged_with_one_baseline_and_survive_json() -> None:
    jobs = [Cliff(100 * MIB, (*FLOATS, *CODES)), Cliff(100 * MIB, (*reversed(FLOATS), *DEAD))]
    read = [from_json(json.loads(to_json(job))) for job in jobs]
    found = merged([(rows_of(name), job) for name, job in zip(("binary", "scalar"), read, strict=True)])
    assert found == Cliff(100 * MIB, tuple(replace(one, wanted=100 * MIB) for one in CLIFF.trials))


def test_jobs_that_differ_in_more_than_quantization_keep_their_own_baselines_and_shares() -> None:
    jobs = [(rows_of("binary", settings=f"index.m={m}"), Cliff(m * MIB, (*FLOATS, *CODES))) for m in (100, 200)]
    found = merged(jobs)
    assert found.wanted == 100 * MIB
    assert [line.partition(":")[0] for line in floors(found)] == [
        "baseline (index.m=100)",
        "binary (index.m=100), no rescore",
        "baseline (index.m=200)",
        "binary (index.m=200), no rescore",
    ]
    shares = {row[0]: row[2] for row in cells(found) if row[1] == "50 MiB"}
    assert shares["baseline (index.m=100)"] == shares["binary (index.m=100), no rescore"] == "50%"
    assert shares["baseline (index.m=200)"] == "25%"
    speedups = [row[7] for row in cells(found) if row[0].startswith("baseline")]
    assert speedups == [""] * 6
    (axes,) = cliff_plot(found, Frame(LIGHT, WIDE)).axes
    assert {line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"} == {100, 200}
    looks = [(line.get_color(), line.get_marker()) for line in axes.lines if line.get_marker() not in ("x", "None")]
    assert len(set(looks)) == 4
    assert [colour for colour, _ in looks].count(LIGHT.ink) == 2


def test_what_several_jobs_measured_alike_is_there_once() -> None:
    more = [replace(one, point="rescore 3×") for one in CODES], [replace(one, point="rescore 5×") for one in DEAD]
    jobs = [(rows_of("binary"), Cliff(100 * MIB, (*FLOATS, *CODES, *of_grid))) for of_grid in more]
    found = merged(jobs)
    names = ["baseline", "binary, no rescore", "binary, rescore 3×", "scalar, rescore 5×"]
    assert [row[0] for row in cells(found)] == [name for name in names for _ in range(3)]


def test_limits_and_efs_are_told_apart_and_every_baseline_stays() -> None:
    limits = [(rows_of("binary", limit=limit), Cliff(MIB, (*FLOATS, *CODES))) for limit in ("10", "100")]
    assert [line.partition(":")[0] for line in floors(merged(limits))] == [
        "baseline (limit 10)",
        "binary (limit 10), no rescore",
        "baseline (limit 100)",
        "binary (limit 100), no rescore",
    ]
    efs = [replace(one, point=f"no rescore, ef {ef}") for ef in (64, 128) for one in FLOATS]
    assert [line.partition(":")[0] for line in floors(Cliff(MIB, tuple(efs)))] == [
        "baseline, ef 64",
        "baseline, ef 128",
    ]
    jobs = [
        (rows_of("binary", hnsw_ef=ef), Cliff(MIB, tuple(efs[place : place + 3])))
        for ef, place in (("64", 0), ("128", 3))
    ]
    assert [line.partition(":")[0] for line in floors(merged(jobs))] == ["baseline, ef 64", "baseline, ef 128"]


def test_many_methods_look_different() -> None:
    methods = [f"method {number}" for number in range(14)]
    many = Cliff(MIB, tuple(trial(name, cap, 1.0) for name in methods for cap in (None, MIB)))
    (axes,) = cliff_plot(many, Frame(LIGHT, WIDE)).axes
    looks = [(line.get_color(), line.get_marker()) for line in axes.lines if line.get_marker() not in ("x", "None")]
    assert len(set(looks)) == len(looks) == 14


def test_a_terminal_gets_a_section_for_each_configuration() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(cliff_table(CLIFF, 200))
    assert isinstance(console.file, io.StringIO)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert [bool(line) for line in lines[4:]] == [True, True, True, False] * 2 + [True] * 3


def test_a_baseline_is_one_where_only_the_quantization_is_set_apart() -> None:
    own = rows_of("scalar", settings="quantization.config={}"), Cliff(MIB, (*FLOATS, *DEAD))
    own[0][0].params.pop("settings")
    other = rows_of("scalar", settings="quantization.config=other"), Cliff(MIB, (*FLOATS, *DEAD))
    other[0][0].params.pop("settings")
    names = [line.partition(":")[0] for line in floors(merged([own, other]))]
    assert names == [
        "baseline",
        "scalar (quantization.config={}), no rescore",
        "scalar (quantization.config=other), no rescore",
    ]


@pytest.mark.parametrize("cliff", [CLIFF, Cliff(MIB, (DEAD[0], trial("scalar", MIB, None)))], ids=["all", "killed"])
def test_the_plot_is_drawn(cliff: Cliff) -> None:
    (axes,) = cliff_plot(cliff, Frame(LIGHT, WIDE)).axes
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    assert crosses[0].get_xdata()[0] == next(trial.cap / MIB for trial in cliff.trials if trial.cap and trial.killed)


@pytest.mark.parametrize(
    ("typical", "faults", "holds"),
    [(2.0, 5.0, True), (2.01, 0.05, False), (2.01, 0.049, True), (2.01, None, False), (1.5, 5.0, True)],
)
def test_it_falls_where_it_is_more_than_twice_as_slow_and_waits(
    typical: float, faults: float | None, holds: bool
) -> None:
    trials = [
        CapTrial("binary", "rescore 2×", None, 9.0, 1.0, faults=0.0),
        CapTrial("binary", "rescore 2×", 80 * MIB, 1.0, 1.0, faults=0.0),
        CapTrial("binary", "rescore 2×", 60 * MIB, 1.0, typical, faults=faults),
        CapTrial("binary", "rescore 2×", 40 * MIB),
    ]
    cliff = Cliff(100 * MIB, tuple(trials[::-1]))
    assert cliff.floor("binary", "rescore 2×") == (60 if holds else 80) * MIB
    assert cliff.fallen("binary", "rescore 2×") == (40 if holds else 60) * MIB
    assert [cliff.share(one) for one in trials] == [None, 0.8, 0.6, 0.4]


def test_what_has_fallen_does_not_hold_again() -> None:
    took = {None: 1.0, 40: 1.0, 30: 9.0, 20: 1.0}
    cliff = Cliff(MIB, tuple(trial("none", cap and cap * MIB, ms) for cap, ms in took.items()))
    assert (cliff.floor("none", "no rescore"), cliff.fallen("none", "no rescore")) == (40 * MIB, 30 * MIB)


def test_beside_what_was_killed_nothing_is_slower() -> None:
    assert (FLOATS[2].slower(FLOATS[0]), FLOATS[2].slower(DEAD[2]), DEAD[2].slower(FLOATS[0])) == (80.0, None, None)
