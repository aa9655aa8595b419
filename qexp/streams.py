"""What all commands share: how they begin and end, and standard output and error that stop no work.

Those may be closed, of few characters, or of no use to anybody any more.
"""

import argparse
import codecs
import gc
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import NoReturn

from qexp.environment import MAIN_PROCESS
from qexp.errors import ConfigError, QexpError

# Exit codes: the last of them of `| head`, as a shell has it of SIGPIPE.
OK, BUG, BAD_INPUT, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141

SILENT_SECONDS = 3.0  # which libraries take to load: longer the first time, when Python compiles them
MADE_BETWEEN = 10_000  # objects between garbage collections: to look through those of imports takes a while

# As users of Hydra ask for them; `cli` sets it too, together with the other, for itself and the processes it starts.
TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1" and MAIN_PROCESS not in os.environ


class _Stream(io.TextIOWrapper):
    """A standard stream that goes nowhere from its first fault on."""

    fault: OSError | None = None
    used = False

    def write(self, text: str, /) -> int:
        """Write, or drop what can be written no more."""
        self.used = True
        with self._faults():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits to be written, or drop it."""
        with self._faults():
            super().flush()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.fault = error
            _to_nowhere(self.fileno())


def command(name: str) -> Callable[[Callable[[], int | None]], Callable[[], None]]:
    """Make a function, which may return an exit code, a command of this name.

    It ends what it does whatever becomes of its output, and only then exits. What is the user's to mend, and that it
    was interrupted, is one line.
    """

    def decorate(main: Callable[[], int | None]) -> Callable[[], None]:
        @wraps(main)
        def run() -> None:
            gc.set_threshold(MADE_BETWEEN)
            streams = [_opened(stream, number) for number, stream in enumerate(("stdout", "stderr"), start=1)]
            code: object = OK
            if sys.stderr.isatty():
                silent = threading.Timer(SILENT_SECONDS, _say_started, (name, streams))
                silent.daemon = True
                silent.start()
            try:
                code = main()
            except SystemExit as end:
                code = end.code
            except QexpError as error:
                code = complain(name, str(error))
            except KeyboardInterrupt:
                complain(name, "interrupted")
                code = INTERRUPTED
            sys.stdout.flush()
            for fault in (stream.fault for stream in streams if stream and stream.fault):
                unread = isinstance(fault, BrokenPipeError)
                if not unread:
                    complain("standard output", f"cannot be written ({fault.strerror})")
                code = code or (UNREAD if unread else BAD_INPUT)
            gc.freeze()  # else the interpreter looks through all that was imported once more, for a second
            sys.exit(code)

        return run

    return decorate


class Parser(argparse.ArgumentParser):
    """A parser of a command's words: what is wrong with them is one line."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError, with where to read what is right."""
        raise ConfigError(f"{message}; see {self.prog} --help")


def complain(name: str, message: str) -> int:
    """Say on standard error what is the user's to mend, below the traceback if asked for; return the exit code."""
    if TRACEBACKS and sys.exc_info()[0]:
        traceback.print_exc()
    print(f"{name}: {message}", file=sys.stderr)
    return BAD_INPUT


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise the interrupt again where an error has taken its place, as OmegaConf's does when it is to clean up."""
    try:
        yield
    except Exception as error:
        found: BaseException | None = error
        while found and not isinstance(found, KeyboardInterrupt):
            found = found.__context__
        if found:
            raise KeyboardInterrupt from error
        raise


def _say_started(name: str, streams: list[_Stream | None]) -> None:
    """Say that the command has started, unless it has said something itself."""
    if not any(stream.used for stream in streams if stream):
        print(f"{name}: starting", file=sys.stderr)


def _opened(name: str, number: int) -> _Stream | None:
    """Open a standard stream so that no writing to it fails; None if somebody has put another in its place."""
    before = getattr(sys, name)
    if before is not getattr(sys, f"__{name}__"):
        return None
    if before is None:  # closed: no file that is opened later may get its number, and be printed into
        _to_nowhere(number)
        before = os.fdopen(number, "w", closefd=False)
        setattr(sys, f"__{name}__", before)
    whole = before.errors != "strict" and codecs.lookup(before.encoding).name == "utf-8"
    errors = before.errors if whole else "replace"  # the C locale's `surrogateescape` is strict for what it has not
    lines, through = before.line_buffering, before.write_through
    stream = _Stream(before.buffer, before.encoding, errors, line_buffering=lines, write_through=through)
    setattr(sys, name, stream)
    return stream


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)
