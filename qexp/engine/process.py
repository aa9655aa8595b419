"""What this process uses: resident memory by kind, page faults, bytes read from disk (Linux)."""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexp.bench.blocks import reads
from qexp.errors import EngineError
from qexp.results.footprint import ProcessMemory

_STATUS = Path("/proc/self/status")
_PAGEMAP = Path("/proc/self/pagemap")  # 64 bits a page, of which the highest says that it is in memory


def process_memory() -> ProcessMemory | None:
    """Return this process's memory and counters; None where there is no /proc."""
    if not _STATUS.exists():
        return None
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    status = {name: value for name, _, value in (line.partition(":") for line in lines)}
    used, so_far = resource.getrusage(resource.RUSAGE_SELF), reads()
    return ProcessMemory(
        anonymous=_kib(status["RssAnon"]),
        file=_kib(status["RssFile"]),
        shared=_kib(status["RssShmem"]),
        peak=_kib(status["VmHWM"]),
        minor=used.ru_minflt,
        major=used.ru_majflt,
        read=so_far.bytes,
    )


def mapped_bytes(folder: Path) -> dict[Path, int] | None:
    """Return the bytes in memory of every file below `folder` that this process maps; None where there is no /proc.

    A page that is mapped twice counts once. Source: Documentation/admin-guide/mm/pagemap.rst of the Linux kernel.
    """
    if not _PAGEMAP.exists():
        return None
    page, found = resource.getpagesize(), dict[Path, NDArray[np.intp]]()
    with _PAGEMAP.open("rb") as pagemap:
        for line in os.fsdecode(Path("/proc/self/maps").read_bytes()).split("\n"):
            match line.split(maxsplit=5):
                case [addresses, _, offset, _, _, name] if Path(name).is_relative_to(folder):
                    first, last = (int(address, 16) // page for address in addresses.split("-"))
                    pagemap.seek(8 * first)
                    entries = np.frombuffer(pagemap.read(8 * (last - first)), dtype=np.uint64)
                    present = int(offset, 16) // page + np.flatnonzero(entries >> 63)
                    found[Path(name)] = np.union1d(found.get(Path(name), present), present)
    return {path: page * len(pages) for path, pages in found.items()}


def drop_pages(folder: Path) -> None:
    """Write out every file below `folder` and let its pages go from the page cache, so that they are read anew.

    Raises EngineError where the system cannot, or another process maps the files, whose pages then stay.
    """
    if not hasattr(os, "posix_fadvise"):
        raise EngineError("this system cannot drop pages from its cache (no posix_fadvise)")
    for owner in _mapping(folder):
        raise EngineError(
            f"process {owner} has {folder.name} loaded, so that its pages cannot be dropped; wait for it to end"
        )
    for path in files_below(folder):
        with suppress(FileNotFoundError), path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, while others may come and go: one may be gone when it is looked at."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _mapping(folder: Path) -> Iterator[str]:
    """Yield the ids of processes, as far as we may look at them, that map a file below the folder."""
    below = b" " + os.fsencode(folder.resolve()) + b"/"  # bytes: the files of others may have names in any encoding
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            found = below in maps.read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if found:
            yield maps.parent.name


def give_back() -> None:
    """Return memory that was freed to the system, where the C library can: loading leaves as much again as it needs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _kib(text: str) -> int:
    return int(text.split()[0]) * 1024
