"""The command interrupted, killed, or left without its store when a sweep ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from qexp import cli, sweep
from qexp.environment import SWEEP_FOLDER, SWEEP_RUN
from qexp.errors import ConfigError
from qexp.results import Row
from tests.conftest import QUICK
from tests.support.running import errors, read_until, runs_of, started


def test_an_interrupt_while_an_object_is_finalized_is_not_lost() -> None:
    """Python only reports what a finalizer raises; a signal is handled in one if garbage is collected when it comes."""
    script = """
import os, signal, sys, time, weakref
from qexp import cli

def experiment():
    garbage = type("Garbage", (), {})()
    weakref.finalize(garbage, os.kill, os.getpid(), signal.SIGTERM)
    del garbage
    time.sleep(5)
    print("went on")
    return cli.OK

cli._run = experiment
sys.argv = ["qexp"]
cli.main()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def _as_in_a_terminal() -> None:
    """Take the signals that a background job of a shell, or what nohup starts, ignores."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_sweep_ends_as_killed_and_leaves_nothing_behind(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    process = started(
        environment,
        tmp_path,
        *("-m", "quantization=binary,scalar", *QUICK, "search.rounds=1000"),
        start_new_session=True,
        preexec_fn=_as_in_a_terminal,
    )
    read_until(process, "round 1 of")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    (said,) = errors(stderr)
    assert re.fullmatch(
        "qexp: interrupted; what was finished is recorded; to go on, repeat the command with sweep.resume=[0-9a-f]{32}",
        said,
    )
    deadline = time.monotonic() + 20
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [run.info.status for run in runs_of(environment, "sweep") + runs_of(environment, "collection")] == [
        "KILLED"
    ] * 2


@pytest.mark.slow
def test_a_second_interrupt_leaves_no_traceback_and_the_sweep_concluded_or_told_how_to_be(
    environment: dict[str, str], tmp_path: Path
) -> None:
    process = started(environment, tmp_path, "-m", "quantization=binary", *QUICK, "search.rounds=1000")
    for awaited in ("round 1 of", "what was finished is recorded"):
        read_until(process, awaited)
        process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    (sweep,) = runs_of(environment, "sweep")
    begin, run_id = "qexp: interrupted while the sweep was concluded;", sweep.info.run_id
    told = {f"{begin} repeat the command with sweep.resume={run_id}\n"}
    if sweep.info.status == "KILLED":  # the interrupt came when that was done, or behind it all
        told |= {"", f"{begin} qexp-report {run_id} writes its report\n"}
    assert stderr in told


@pytest.mark.parametrize(
    ("multirun", "on"), [(True, "; to go on, repeat the command with sweep.resume=abc"), (False, "")]
)
def test_only_an_interrupted_multirun_is_told_to_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], multirun: bool, on: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["qexp"])
    monkeypatch.setenv(SWEEP_RUN, "abc")
    monkeypatch.setenv(SWEEP_FOLDER, "here")
    if not multirun:  # as below `mlflow run`
        monkeypatch.delenv(SWEEP_FOLDER)
    monkeypatch.setattr(cli, "_hydra_main", interrupted)
    monkeypatch.setattr(sweep, "finish", interrupted)
    assert cli._run() == 130
    remedy = "repeat the command with sweep.resume=abc" if multirun else "qexp-report abc writes its report"
    assert capsys.readouterr().err.splitlines() == [
        f"qexp: interrupted; what was finished is recorded{on}",
        f"qexp: interrupted while the sweep was concluded; {remedy}",
    ]


def test_a_store_that_is_gone_when_a_sweep_ends_says_how_to_conclude_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object) -> None:
        raise ConfigError("MLFLOW_TRACKING_URI=http://localhost:1: cannot be used")

    monkeypatch.setenv(SWEEP_RUN, "abc")
    monkeypatch.setenv(SWEEP_FOLDER, "here")
    monkeypatch.setattr(sweep, "finish", gone)
    assert cli._end_sweep("FINISHED") == 2
    assert capsys.readouterr().err == (
        "qexp: MLFLOW_TRACKING_URI=http://localhost:1: cannot be used; repeat the command with sweep.resume=abc\n"
    )


def test_an_interrupt_while_the_report_is_written_says_what_writes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def finished(*_: object) -> tuple[list[Row], str]:
        monkeypatch.delenv(SWEEP_RUN)
        return [Row({}, {})], "title"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv(SWEEP_RUN, "abc")
    monkeypatch.setenv(SWEEP_FOLDER, "here")
    monkeypatch.setattr(sweep, "finish", finished)
    monkeypatch.setattr(sweep, "finish_cliff", interrupted)
    assert cli._end_sweep("FINISHED") == 130
    assert capsys.readouterr().err == (
        "qexp: interrupted while the sweep was concluded; qexp-report abc writes its report\n"
    )


def test_a_killed_worker_fails_the_run_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    process = started(environment, tmp_path, "quantization=binary", *QUICK, "search.rounds=1000")
    read_until(process, "round 1 of")
    children = psutil.Process(process.pid).children()
    max(children, key=lambda child: child.memory_info().rss).kill()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    (line,) = errors(stderr)
    assert "was killed by SIGKILL during" in line
    assert runs_of(environment, "collection")[0].info.status == "FAILED"
