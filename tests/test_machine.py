import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qexp import machine
from qexp.errors import BenchmarkError, ConfigError

HOLD = """
import sys, time
from qexp import machine
with machine.turn(sys.argv[1] == "measuring", 0, print):
    print("have it", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(machine.LOCK, str(tmp_path / "lock"))
    return tmp_path / "lock"


def holder(kind: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "have it\n"
    return process


def end(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate(timeout=30)


def test_who_measures_is_alone_and_named_to_the_others(lock: Path) -> None:  # T19
    process = holder("measuring")
    try:
        for measuring in (True, False):
            with (
                pytest.raises(BenchmarkError, match=rf"^T19 process {process.pid} of .*, measuring for \d+ s"),
                machine.turn(measuring, 0, print),
            ):
                pass
    finally:
        end(process)


def test_others_work_together_but_not_beside_a_measurement(lock: Path) -> None:
    process = holder("building")
    try:
        with machine.turn(False, 0, print):
            pass
        with pytest.raises(BenchmarkError, match="T19 another job that loads"), machine.turn(True, 0, print):
            pass
    finally:
        end(process)


def test_a_lock_whose_owner_was_killed_is_free(lock: Path) -> None:
    process = holder("measuring")
    end(process)
    assert json.loads(lock.read_text())["pid"] == process.pid
    assert "stale" in machine.owner(lock)
    said: list[str] = []
    with machine.turn(True, 0, said.append):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert lock.read_text() == ""
    assert said == []


def test_waiting_is_said_once_and_ends_when_the_other_ends(lock: Path) -> None:
    process = holder("measuring")
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        process.kill()

    with machine.turn(True, 60, hear):
        pass
    process.communicate(timeout=30)
    assert len(said) == 1
    assert said[0].startswith(f"waiting: process {process.pid} of ")


def test_turns_can_be_taken_one_after_the_other_and_are_given_back_after_a_failure(lock: Path) -> None:
    for measuring in (False, True, False, True):
        with pytest.raises(RuntimeError), machine.turn(measuring, 0, print):
            raise RuntimeError


def test_a_lock_that_cannot_be_opened_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.LOCK, str(tmp_path / "missing" / "lock"))
    with pytest.raises(ConfigError, match="QEXP_LOCK="), machine.turn(True, 0, print):
        pass


def test_a_note_that_is_no_note_is_no_owner(lock: Path) -> None:
    for text in ("", "{", "[]", '{"pid": "x"}'):
        lock.write_text(text)
        assert machine.owner(lock) == "another job that loads or builds collections"
    lock.write_text(json.dumps({"pid": os.getpid(), "user": "me", "since": time.time() - 5}))
    assert machine.owner(lock).startswith(f"process {os.getpid()} of me, measuring for ")


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set")])
def test_a_user_without_a_name_is_known_by_number(
    error: Exception, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nobody)
    assert machine.user_name() == str(os.getuid())
    with machine.turn(True, 0, print):
        assert json.loads(lock.read_text())["user"] == str(os.getuid())


def test_pinning_holds_for_processes_started_meanwhile_and_ends() -> None:
    before = os.sched_getaffinity(0)
    chosen = min(before)
    with machine.pinned([chosen]):
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], capture_output=True, text=True
        )
        assert child.stdout.strip() == str({chosen})
    assert os.sched_getaffinity(0) == before
    with machine.pinned([]):
        assert os.sched_getaffinity(0) == before
    with pytest.raises(ConfigError, match=r"engine\.cpus=\[100000\]: CPU 100000"), machine.pinned([100000]):
        pass


def test_the_environment_says_what_a_reader_asks_for() -> None:
    found = machine.environment()
    assert found["cpus"] == os.cpu_count()
    assert found["memory_gib"] >= found["memory_available_gib"] > 0
    assert found["libraries"]["numpy"]
    assert found["kernel"]
    assert len(found["load_average"]) == 3
    json.dumps(found)
