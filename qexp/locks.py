"""Locks on files; the kernel frees those of a process that ends, however it ends."""

import fcntl
import os
from pathlib import Path
from typing import Self


class Lock:
    """A lock on a file that this process holds, alone or with others, until `release` or the end of a `with` block.

    Raises BlockingIOError if `wait` is false and somebody else is in the way. The file stays, for the next one; where
    it is made, `mode` are its permissions whatever the umask.
    """

    def __init__(self, path: Path, alone: bool, wait: bool = True, mode: int | None = None) -> None:
        self._file = _opened(path, mode)
        try:
            fcntl.flock(self._file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BaseException:  # an interrupt while it waits, too
            self.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def try_alone(self) -> bool:
        """Hold it alone if nobody else holds it; return whether it worked; if not, it is not held at all."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Let others hold it too."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def write(self, text: str) -> None:
        """Let the file hold this text and nothing else."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def release(self) -> None:
        """Give it up."""
        os.close(self._file)


def _opened(path: Path, mode: int | None) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        return os.open(path, flags)  # without O_CREAT, which may be refused for a file of another user
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT, 0o666 if mode is None else mode)
        if mode is not None:
            os.fchmod(file, mode)
        return file
