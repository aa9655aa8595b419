"""What becomes of a command whose words are wrong, or whose output cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qexp.environment import MAIN_PROCESS
from qexp.errors import ConfigError
from qexp.streams import Parser, interrupts_kept
from tests.conftest import Swept

COMMAND = """
import os, sys
from pathlib import Path
from qexp.report.terminal import console
from qexp.streams import command
from qexp.usage import terminal_width

@command("it")
def main():
    assert terminal_width() is None
    print("two × three ≈ 6", flush=True)
    for _ in range(3):
        console().print("x" * 100_000)
    with open("own", "w") as own:
        assert own.fileno() > 2
    Path("done").touch()
    sys.exit(int(sys.argv[1]))

main()
"""


def ended(folder: Path, redirected: str, code: int = 0) -> tuple[int, str]:
    """Run the command in a shell; return its exit code and what it said on standard error."""
    words = [f"PYTHONIOENCODING=ascii {sys.executable} -c '{COMMAND}' {code} {redirected}"]
    done = subprocess.run(["bash", "-c", *words], cwd=folder, capture_output=True, text=True)
    assert (folder / "done").exists(), done.stderr
    assert (folder / "own").read_text() == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("> all", 0, ""),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("> /dev/full", 2, "standard output: cannot be written (No space left on device)\n"),
        ("| head -c 1; exit ${PIPESTATUS[0]}", 141, ""),
        ("2>&1 | head -c 1; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_a_command_ends_what_it_does_whatever_becomes_of_its_output(
    redirected: str, code: int, said: str, tmp_path: Path
) -> None:
    assert ended(tmp_path, redirected) == (code, said)
    assert ended(tmp_path, redirected, code=3) == (3, said)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [("KeyboardInterrupt", 130, "interrupted"), ("ConfigError('a=1: no')", 2, "a=1: no")],
)
def test_how_a_command_ends_is_one_line(raised: str, code: int, said: str) -> None:
    script = "from qexp.streams import command; from qexp.errors import ConfigError"
    script += f"\n@command('qexp-report')\ndef main():\n    raise {raised}\nmain()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"qexp-report: {said}\n")


@pytest.mark.parametrize(
    ("first", "said"), [("", "it: starting\r\n"), ("print('hello', file=sys.stderr)", "hello\r\n")]
)
def test_a_command_that_is_silent_for_long_says_on_a_terminal_that_it_has_started(first: str, said: str) -> None:
    script = f"""
import sys, threading
from qexp import streams
started = threading.Event()
class Timer(threading.Timer):
    def run(self):
        started.wait()
        self.function(*self.args)
threading.Timer = Timer
@streams.command("it")
def main():
    {first}
    started.set()
    [thread.join() for thread in threading.enumerate() if isinstance(thread, Timer)]
main()"""
    ours, theirs = os.openpty()
    assert subprocess.run([sys.executable, "-c", script], stderr=theirs).returncode == 0
    os.close(theirs)
    assert os.read(ours, 1000).decode() == said
    os.close(ours)
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert piped.stderr == said.replace("it: starting\r\n", "").replace("\r", "")


def test_a_traceback_is_shown_where_it_is_asked_for() -> None:
    words = [sys.executable, "-m", "qexp", "quantization=scaler"]
    environment = {key: value for key, value in os.environ.items() if key != MAIN_PROCESS} | {"HYDRA_FULL_ERROR": "1"}
    asked = subprocess.run(words, env=environment, capture_output=True, text=True)
    first, *_, last = asked.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert (asked.returncode, last) == (2, "qexp: quantization=scaler: no such choice (did you mean 'scalar'?)")


def test_what_a_stream_has_no_character_for_is_replaced(tmp_path: Path) -> None:
    ended(tmp_path, "> all")
    assert (tmp_path / "all").read_text().startswith("two ? three ? 6\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "from qexp.cli import main; main() --help",
        "from qexp.cached import main; main() ls",
        "from qexp.commands import report; report() last",
        "from qexp.commands import export; export() last",
        "from qexp.reproduce import main; main() --help",
    ],
)
def test_every_command_does(words: str, swept: Swept, tmp_path: Path) -> None:
    script, argument = words.rsplit(" ", 1)
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        cwd=tmp_path,
        env=swept.environment | {"PYTHONIOENCODING": "ascii"},
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupt_stays_one_where_cleaning_up_fails() -> None:
    @interrupts_kept()
    def composed(interrupted: bool) -> None:
        try:
            if interrupted:
                raise KeyboardInterrupt
        finally:
            raise AttributeError("OmegaConf's, of what was not composed yet")

    with pytest.raises(KeyboardInterrupt):
        composed(True)
    with pytest.raises(AttributeError):
        composed(False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list"], "argument command: invalid choice: 'list' .*; see it --help"),
        (["rm", "--days", "x"], "argument --days: invalid float value: 'x'; see it rm --help"),
        (["rm", "--all"], "unrecognized arguments: --all; see it --help"),
        ([], "the following arguments are required: command; see it --help"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], message: str) -> None:
    parser = Parser("it")
    parser.add_subparsers(dest="command", required=True).add_parser("rm").add_argument("--days", type=float)
    with pytest.raises(ConfigError, match=f"^{message}$"):
        parser.parse_args(words)


@pytest.mark.parametrize("name", ["report", "export"])
def test_a_store_that_is_asked_again_is_told_of(name: str, tmp_path: Path) -> None:
    asked = f"from qexp.commands import {name}; {name}()"
    nobody = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    words = [sys.executable, "-c", asked, "last"]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ | nobody, capture_output=True, text=True)
    assert done.returncode == 2
    *waiting, said = done.stderr.splitlines()
    assert waiting
    assert set(waiting) == {
        "the server is asked again: Failed to establish a new connection: [Errno 111] Connection refused"
    }
    assert said.startswith(f"qexp-{name}: ")
