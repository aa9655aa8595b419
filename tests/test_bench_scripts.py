"""The benches' arithmetic: verdicts, slopes, phases read from a log, and what is carried to another size."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "bench"))

from _common import Verdict, print_verdicts, ratio
from course import query_seconds
from scale import slope
from scaling import carried, error, report
from sweep import rounds_in

from qexp.results import Stop

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"

ROWS = [
    {"points": 10_000, "load": 1.0, "truth": 1.0, "upload": 1.0, "index": 1.0, "query": 4.0},
    {"points": 100_000, "load": 10.0, "truth": 5.0, "upload": 10.0, "index": 12.5, "query": 5.0},
]


def test_a_verdict_is_met_up_to_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = [Verdict("a", 1.1, 1.1), Verdict("b", 1.11, 1.1)]
    print_verdicts([{"bench": "x", "verdicts": [vars(verdict) for verdict in verdicts]}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["x", "a", "1.1", "×", "≤", "1.1", "×", "met"]
    assert lines[3].endswith("MISSED")


def test_records_can_be_kept_elsewhere(tmp_path: Path) -> None:
    finish = "from argparse import Namespace; from _common import *; finish('x', Namespace(), [Verdict('a', 1, 2)], [])"
    environment = os.environ | {"QEXP_BENCH_RESULTS": str(tmp_path / "records")}
    for words in (["-c", finish], ["table.py"]):
        done = subprocess.run(
            [sys.executable, *words], cwd=BENCH, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[2:] == ["x      a     1 ×    ≤ 2 ×  met"]
    assert [file.name for file in (tmp_path / "records").iterdir()] == ["x.json"]


def test_a_ratio_is_the_median_of_pairs() -> None:
    assert ratio([(2.0, 1.0), (3.0, 1.0), (100.0, 1.0)]) == 3.0


def test_a_phase_that_grows_with_the_points_has_slope_1() -> None:
    assert slope(*ROWS, "load") == pytest.approx(1.0)
    assert slope(*ROWS, "truth") == pytest.approx(0.69897)


def test_phases_are_carried_by_their_rules() -> None:
    far = carried(ROWS[1], 10_000_000, 4.0)
    assert far == pytest.approx({"load": 4000, "truth": 2000, "upload": 4000, "index": 7000, "query": 28})


def test_the_rule_is_compared_with_what_was_measured() -> None:
    assert error(ROWS, "upload") == "+0%"
    assert error(ROWS, "truth") == "+100%"
    assert error(ROWS[:1], "truth") == ""


def test_the_report_has_every_phase_and_method() -> None:
    record = {
        "rows": [*ROWS, {"points": "slope to 100000"}],
        "arguments": {"size": 384, "queries": 500},
        "machine": {"cpus": 2, "cpu": "some"},
        "commit": "abc",
    }
    text = report(record, 1_000_000, 384, [1, 4])
    assert "| index | 12.50 | +0% | 0.042 | 0.0094 |" in text
    assert [line.split(" | ")[0].strip("| ") for line in text.splitlines()[-4:]] == [
        "none",
        "scalar",
        "turbo_4bit",
        "binary",
    ]


def test_the_query_phase_of_each_method_ends_where_its_second_round_begins() -> None:
    known = "speedups known to ± 5.0% or closer after 2 rounds (3 s)"
    lines = [
        "10.5 scalar: round 0 of 2",
        "11.0 scalar: round 1 of 2",
        "13.0 scalar: round 2 of 2",
        f"14.5 scalar: {known}",
    ]
    lines += ["15.5 job 2 of 2", "20.0 binary: round 0 of 2", "20.5 binary: round 1 of 2", "21.0 binary: round 2 of 2"]
    lines += [f"21.25 binary: {known}"]
    assert query_seconds("\n".join(lines)) == pytest.approx((3.5, 1.75))


def test_rounds_are_read_from_the_log_of_a_sweep() -> None:
    stop = Stop(13, halfwidth=0.042, target=0.05, seconds=29.4, budget=30.0)
    assert rounds_in(f"10:00:00 binary_2bit: {stop}\n10:00:01 job 2") == {"binary_2bit": 13}


SCRIPTS = sorted(path.name for path in BENCH.glob("[!_]*.py") if path.name not in ("table.py", "scaling.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_bench_starts(script: str) -> None:
    done = subprocess.run([sys.executable, BENCH / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


def test_calibration_compares_on_the_engine(tmp_path: Path) -> None:
    words = shlex.split("--part engine --comparisons 1 --points 300 --size 8 --queries 100 --rounds 2 --budget 0")
    script = BENCH / "calibration.py"
    done = subprocess.run([sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True)
    assert "A/A, fixed, mean: called different: " in done.stdout, done.stderr
