"""Memory caps on processes, with the kernel's control groups: version 1, version 2, or a delegated part of it."""

import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from qexp.errors import ConfigError, EngineError

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PREFIX = "qexp-"
PROBE_BYTES = 2**30
REMOVE_SECONDS = 5.0


@dataclass(frozen=True)
class Hierarchy:
    """A folder below which memory control groups can be made, and the names of the files that matter."""

    folder: Path
    limit: str
    swap_limit: str
    events: str


def hierarchy() -> Hierarchy:
    """Return where caps can be set here, after trying; what dead runs have left there is removed.

    Raises ConfigError with the command to run instead.
    """
    reasons = []
    for prepare in (_version_1, _all_of_version_2, _delegated):
        try:
            found = prepare()
            if found is None:
                continue
            remove_stale(found.folder)
            with Cap(found, PROBE_BYTES):
                return found
        except OSError as error:
            reasons.append(f"{error.filename or CGROUPS}: {error.strerror}")
    user = "" if os.geteuid() == 0 else "--user "  # a delegated group needs version 2
    command = shlex.join(["qexp", *sys.argv[1:]])
    raise ConfigError(
        f"engine.ram_caps: no memory cap can be set here ({'; '.join(reasons) or 'no memory control groups'}); run "
        f"it as root, or with control groups of version 2: systemd-run {user}--scope -p Delegate=yes {command}"
    )


def _version_1() -> Hierarchy | None:
    folder, limit = CGROUPS / "memory", "memory.limit_in_bytes"
    found = Hierarchy(folder, limit, "memory.memsw.limit_in_bytes", "memory.oom_control")
    return found if (folder / limit).exists() else None


def _version_2(folder: Path) -> Hierarchy | None:
    found = Hierarchy(folder, "memory.max", "memory.swap.max", "memory.events")
    return found if _enable_memory(folder) else None


def _all_of_version_2() -> Hierarchy | None:
    return _version_2(CGROUPS) if _may_divide(CGROUPS) else None


def _delegated() -> Hierarchy | None:
    """Return this process's own group if it may be divided; its processes then move into a leaf, as they must."""
    line = next((line for line in OWN.read_text(encoding="utf-8").splitlines() if line.startswith("0::")), "0::/")
    folder = CGROUPS / line.removeprefix("0::").lstrip("/")
    if folder == CGROUPS or not _may_divide(folder):
        return None
    leaf = folder / f"{PREFIX}{os.getpid()}-main"
    leaf.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text(encoding="utf-8").split():
        with suppress(ProcessLookupError):  # it has ended since
            (leaf / "cgroup.procs").write_text(pid, encoding="utf-8")
    return _version_2(folder)


def _may_divide(folder: Path) -> bool:
    return "memory" in _words(folder / "cgroup.controllers") and os.access(folder / "cgroup.procs", os.W_OK)


def _enable_memory(folder: Path) -> bool:
    """Let groups below `folder` limit memory; False where the kernel refuses."""
    control = folder / "cgroup.subtree_control"
    if "memory" not in _words(control):
        try:
            control.write_text("+memory", encoding="utf-8")
        except OSError:
            return False
    return True


def _words(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.exists() else []


class Cap:
    """A memory cap of so many bytes, swap included; as a context manager it is gone afterwards.

    Only memory that a process takes after `add` counts; so do pages of files that nobody else has touched before.
    """

    _made = 0

    def __init__(self, where: Hierarchy, limit: int) -> None:
        Cap._made += 1
        self._where, self._limit = where, limit
        self.folder = where.folder / f"{PREFIX}{os.getpid()}-{Cap._made}"

    def __enter__(self) -> Self:
        self.folder.mkdir()
        try:
            (self.folder / self._where.limit).write_text(str(self._limit), encoding="utf-8")
            self._forbid_swap()
        except OSError:
            self.folder.rmdir()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _remove(self.folder)

    def add(self, pid: int) -> None:
        """Put a process under the cap."""
        (self.folder / "cgroup.procs").write_text(str(pid), encoding="utf-8")

    @property
    def killed(self) -> bool:
        """Whether the kernel has killed a process under this cap for want of memory."""
        words = _words(self.folder / self._where.events)
        return int(words[words.index("oom_kill") + 1]) > 0

    def _forbid_swap(self) -> None:
        swap = self.folder / self._where.swap_limit
        if swap.exists():  # version 1 counts memory and swap together, version 2 swap alone
            swap.write_text(str(self._limit if "memsw" in swap.name else 0), encoding="utf-8")


def _remove(folder: Path) -> None:
    """Remove a group; its processes are on their way out, so wait for the last of them."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise EngineError(f"{folder}: the memory cap cannot be removed ({error.strerror})") from error
            time.sleep(0.02)


def remove_stale(folder: Path) -> list[str]:
    """Remove the groups of runs that are dead; return their names."""
    removed = []
    for group in sorted(folder.glob(f"{PREFIX}[0-9]*-*")):
        owner = int(group.name.removeprefix(PREFIX).partition("-")[0])
        if not Path(f"/proc/{owner}").exists() and not _words(group / "cgroup.procs"):
            with suppress(FileNotFoundError):  # another run clears up too
                group.rmdir()
            removed.append(group.name)
    return removed
