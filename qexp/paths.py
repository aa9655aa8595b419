"""Where things are: files that travel with the package, the cache, and what is not installed."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def packaged(name: str) -> Path:
    """Return the folder `name` that travels with qexp: inside the installed package, or beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


def cache_root(configured: str | None) -> Path:
    """Return the cache directory: the configured one, else `$QEXP_CACHE_DIR`, else `qexp` in the user's cache.

    Without symlinks, as the kernel names the files that a process maps.
    """
    if configured or os.environ.get("QEXP_CACHE_DIR"):
        return Path(os.path.expanduser(configured or os.environ["QEXP_CACHE_DIR"])).resolve()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(home) / "qexp").resolve()


def install(extra: str) -> str:
    """Return the command that installs an extra of qexp: by pip where this Python has it, else by uv."""
    pip = [sys.executable, "-m", "pip", "install"]
    uv = ["uv", "pip", "install", "--python", sys.executable]
    checkout = _PACKAGE.parent
    what = ["-e", f"{checkout}[{extra}]"] if (checkout / "pyproject.toml").exists() else [f"qexp[{extra}]"]
    return shlex.join([*(pip if find_spec("pip") else uv), *what])
