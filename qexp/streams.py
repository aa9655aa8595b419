"""Standard output and error that stop no work: closed, of few characters, or of no use to anybody any more."""

import codecs
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

# Exit codes: output that cannot be written; an interrupt; `| head`, as a shell has it of SIGPIPE.
FAULT, INTERRUPTED, UNREAD = 2, 130, 141


class _Stream(io.TextIOWrapper):
    """A standard stream that goes nowhere from its first fault on."""

    fault: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write, or drop what can be written no more."""
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


def robust(main: Callable[[], None]) -> Callable[[], None]:
    """Let a command end what it does whatever becomes of its output, and only then exit."""

    @wraps(main)
    def command() -> None:
        streams = [_opened(name, number) for number, name in enumerate(("stdout", "stderr"), start=1)]
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        except KeyboardInterrupt:
            print(f"{Path(sys.argv[0]).stem}: interrupted", file=sys.stderr)
            code = INTERRUPTED
        sys.stdout.flush()
        for fault in (stream.fault for stream in streams if stream and stream.fault):
            unread = isinstance(fault, BrokenPipeError)
            if not unread:
                print(f"standard output: cannot be written ({fault.strerror})", file=sys.stderr)
            code = code or (UNREAD if unread else FAULT)
        sys.exit(code)  # type: ignore[arg-type]

    return command


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
