"""The cache: who makes or uses what is in it, how big it is, and what goes first when it is full."""

import errno
import json
import os
import re
import shutil
import tempfile
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum, auto
from pathlib import Path
from typing import Any

from qexp.errors import ConfigError
from qexp.locks import Lock


class Kind(StrEnum):
    """What is cached, each kind in a folder of that name; nothing else in the cache directory is ever removed."""

    ARROW = auto()
    COLLECTIONS = auto()
    DATASETS = auto()
    EMBEDDINGS = auto()
    FASTEMBED = auto()
    SNAPSHOTS = auto()
    SYNTHETIC = auto()
    TRUTH = auto()
    VECTORS = auto()


# Names that qexp gives have a digest, or are of what is unfinished: a folder of the user's may be called as a kind is.
OURS = re.compile(r"(.*-)?([0-9a-f]{12}|[0-9a-f]{16})([.-].*)?|.*\.partial.*")
REMOVED = ".partial-removed"  # behind the name of an entry that is being removed, or whose removal was killed
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
BROKEN = (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)  # of what was cut off
ABANDONED = 24 * 3600  # seconds without a change after which nobody is taken to make a partial entry any more


def writable(folder: Path, named: str = "cache_dir={}", remedy: str = "set cache_dir=…") -> Path:
    """Return a folder, made if need be: the cache directory, unless it is `named` otherwise.

    Raises ConfigError with the remedy if nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(f"{named.format(folder)}: cannot be written ({error.strerror}); {remedy}") from error
    return folder


@contextmanager
def room(root: Path) -> Iterator[None]:
    """Turn a disk that is full, or cannot be written, into a ConfigError that names the file, else the cache on it."""
    try:
        yield
    except OSError as error:
        # numpy says of a full disk only "5 requested and 3 written"
        if error.errno not in FULL and not (error.errno is None and str(error).endswith(" written")):
            raise
        where, reason = error.filename or f"cache_dir={root}", os.strerror(error.errno or errno.ENOSPC)
        raise ConfigError(f"{where}: {reason}; free space or set cache_dir=…") from error


def locked(root: Path, name: str, alone: bool, wait: bool = True) -> Lock:
    """Return the lock on a name in the cache, which is held from now on.

    Whoever makes an entry holds it alone; those who use it share it; what is held is not evicted. Raises
    BlockingIOError if `wait` is false and somebody else is in the way.
    """
    (root / "locks").mkdir(parents=True, exist_ok=True)
    return Lock(root / "locks" / name, alone, wait)


@contextmanager
def using(root: Path, *paths: Path) -> Iterator[None]:
    """Share entries for the length of a block, and mark them as used now."""
    with ExitStack() as locks:
        for path in paths:
            locks.enter_context(locked(root, lock_name(path), alone=False))
            if path.exists():
                os.utime(path)
        yield


def lock_name(path: Path) -> str:
    """Return the name under which an entry is locked."""
    return f"{path.parent.name}-{path.name}"


@dataclass(frozen=True)
class Entry:
    """One thing in the cache: bytes on disk, and seconds since the epoch of its last use."""

    path: Path
    bytes: int
    used: float

    @property
    def name(self) -> str:
        """Its kind, which is the folder it is in (collections, vectors, truth and so on), and its own name."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def about(self) -> str:
        """What it was made from, as its files say; nothing where they do not."""
        if REMOVED in self.path.name:
            return "being removed, or left by a removal that was killed"
        if ".partial" in self.path.name:
            return "unfinished"
        try:
            return _made(self.path)
        except FileNotFoundError:  # somebody has removed it
            return ""
        except BROKEN:
            return "broken, and made again when it is needed"


def entries(root: Path) -> list[Entry]:
    """Return everything that qexp has cached, least recently used first."""
    paths = [(kind, path) for kind in Kind for path in (root / kind).glob("*")]
    found = [_entry(path) for kind, path in paths if kind == Kind.FASTEMBED or OURS.fullmatch(path.name)]
    return sorted((entry for entry in found if entry), key=lambda entry: entry.used)


def _entry(path: Path) -> Entry | None:
    try:
        files = [file.stat() for file in (path, *path.rglob("*"))]
        return Entry(path, sum(file.st_blocks for file in files) * 512, path.stat().st_mtime)
    except FileNotFoundError:  # somebody is removing it
        return None


def _made(path: Path) -> str:
    if (path / "complete.json").exists():
        made = json.loads((path / "complete.json").read_text(encoding="utf-8"))["spec"]
        return f"{made['points']:,} points of {made['size']} dimensions, {made['method']}, {made['engine']}"
    if (path / "facts.json").exists():
        made = json.loads((path / "facts.json").read_text(encoding="utf-8"))
        return f"{made['points']:,} points of {made['size']} dimensions, {made['queries']:,} queries, {made['source']}"
    if path.parent.name == Kind.TRUTH:
        import numpy as np

        with np.load(path) as truth:
            return "{1:,} neighbours of {0:,} queries".format(*truth["ids"].shape)
    copies = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(path.rglob("dataset_info.json"))]
    return ", ".join(f"{_rows(copy):,} rows of {copy['dataset_name']}/{copy['config_name']}" for copy in copies)


def _rows(copy: dict[str, Any]) -> int:
    return sum(split["num_examples"] for split in copy["splits"].values())


def remove(root: Path, entry: Entry) -> bool:
    """Remove an entry; return False, and leave it, if a running job holds it or may be making it."""
    if REMOVED in entry.path.name:
        return _gone(entry.path)
    try:
        with locked(root, lock_name(entry.path), alone=True, wait=False):
            if ".partial" in entry.path.name and time.time() - entry.used < ABANDONED:
                return False
            doomed = entry.path.with_name(f"{entry.path.name}{REMOVED}.{uuid.uuid4().hex}")
            entry.path.rename(doomed)  # so that nobody ever finds half of it
            return _gone(doomed)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False


def _gone(doomed: Path) -> bool:
    """Remove what is doomed, maybe while another process does so too; return whether nothing of it is left."""
    if doomed.is_dir():
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        doomed.unlink(missing_ok=True)
    return not doomed.exists()


def evict(root: Path, limit: float) -> list[Entry]:
    """Remove the least recently used entries until the rest takes at most `limit` bytes; return what went."""
    found = entries(root)
    total = sum(entry.bytes for entry in found)
    gone = []
    for entry in found:
        if total <= limit:
            break
        if remove(root, entry):
            total -= entry.bytes
            gone.append(entry)
    return gone
