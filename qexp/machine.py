"""The machine that measures: what it is, and whose turn it is."""

import getpass
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qexp.errors import BenchmarkError, ConfigError
from qexp.locks import Lock

LOCK = "QEXP_LOCK"  # environment: the lock file, where the temporary directory is not common to the whole machine
POLL_SECONDS = 0.2
_LIBRARIES = ("qdrant-edge-py", "qdrant-client", "mlflow", "hydra-core", "datasets", "numpy", "scipy", "pyarrow")


def user_name() -> str:
    """Return the name of this process's user; the number where the system has no name for it, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@contextmanager
def turn(measuring: bool, wait_seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    """Take this machine for measuring (alone), or for other work (together, but never beside a measurement).

    What a process that was killed has left in the file is overwritten. Raises BenchmarkError T19 with owner and
    age if the machine is not free after `wait_seconds`.
    """
    path = Path(os.environ.get(LOCK) or Path(tempfile.gettempdir()) / "qexp-measuring.lock")
    with _taken(path, measuring, wait_seconds, say) as lock:
        if measuring:
            lock.write(json.dumps({"pid": os.getpid(), "user": user_name(), "since": time.time()}))
        try:
            yield
        finally:
            if measuring:
                lock.write("")


def _taken(path: Path, measuring: bool, wait_seconds: float, say: Callable[[str], None]) -> Lock:
    """Return the lock on the file, which any user of the machine may have made, for any user of it."""
    started, said = time.monotonic(), False
    while True:
        try:
            return Lock(path, alone=measuring, wait=False, mode=0o666)
        except BlockingIOError:
            holder = owner(path)
        except OSError as error:
            raise ConfigError(
                f"{LOCK}={path}: cannot be opened ({error.strerror}); set {LOCK} to a writable file"
            ) from error
        if time.monotonic() - started >= wait_seconds:
            raise BenchmarkError(
                f"T19 {holder} is using this machine ({path}), so figures taken beside it would be wrong; wait for it "
                f"to end, or set a longer wait_seconds (now {wait_seconds:g})"
            )
        if not said:
            say(f"waiting: {holder} uses this machine")
            said = True
        time.sleep(POLL_SECONDS)


def owner(path: Path) -> str:
    """Return who measures, since when, as text; a note whose process is gone is told to be stale."""
    import psutil

    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        pid, user, age = int(note["pid"]), str(note["user"]), time.time() - float(note["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another job that loads or builds collections"
    if not psutil.pid_exists(pid):
        return f"another job (the note of process {pid} in the lock is stale)"
    return f"process {pid} of {user}, measuring for {age:.0f} s,"


@contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Keep this process, and those it starts meanwhile, on these CPUs (none: any); ConfigError if it cannot be."""
    if not cpus:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError(f"engine.cpus={list(cpus)}: this system cannot pin processes; remove it")
    before = os.sched_getaffinity(0)
    if unknown := sorted(set(cpus) - before):
        raise ConfigError(f"engine.cpus={list(cpus)}: CPU {unknown[0]} is not ours to use; we have {sorted(before)}")
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment() -> dict[str, Any]:
    """Return the machine and the versions of what runs on it; what the system does not tell is None."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "kernel": platform.release(),
        "cpu": _cpuinfo("model name") or platform.machine(),
        "cpu_flags": sorted((_cpuinfo("flags") or _cpuinfo("Features") or "").split()),
        "cpus": os.cpu_count(),
        "cpus_allowed": cpus_allowed(),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_gib": round(memory.total / 2**30, 1),
        "memory_available_gib": round(memory.available / 2**30, 1),
        "load_average": os.getloadavg(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def cpus_allowed() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpuinfo(key: str) -> str | None:
    lines = (_text("/proc/cpuinfo") or "").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
