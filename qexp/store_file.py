"""A tracking store in a SQLite file: where it may be, and how it comes to be whole."""

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from glob import escape
from pathlib import Path

from qexp.errors import ConfigError
from qexp.locks import Lock


def check_place(uri: str) -> None:
    """Raise ConfigError for a SQLite store that nobody can read later, or that can be neither read nor made.

    MLflow tries to make it for minutes, in silence.
    """
    if re.match(r"sqlite(\+\w+)?:/{2,3}($|\?|(file:)?:memory:|file:.*[?&]mode=memory)", uri):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={uri}: is in memory, so that nothing recorded there outlives this process; set "
            "MLFLOW_TRACKING_URI=sqlite:///mlflow.db"
        )
    file = _sqlite_file(uri)
    if file is None:
        return
    place = next(path for path in (file, *file.parents) if os.path.exists(path))
    if place.is_dir() == (place == file) or not os.access(place, os.R_OK if place == file else os.W_OK):
        cannot = "is no file that can be read" if place == file else "is no folder that can be written"
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={uri}: {place} {cannot}; run in another folder, or set "
            "MLFLOW_TRACKING_URI=sqlite:////…/mlflow.db"
        )


def make_whole(uri: str) -> None:
    """Make a SQLite store that is not there, all of it or nothing: what is made by halves MLflow can never use."""
    file = _sqlite_file(uri)
    if file is None or file.exists():
        return
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{file.name}.partial-"
    for left in file.parent.glob(f"{escape(mark)}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=mark, dir=file.parent) as folder:
        made = Path(folder) / file.name
        MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
        made.rename(file)


def _sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for other stores, and for a URI of SQLite's own."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path).resolve() if uri.startswith("sqlite:///") and not path.startswith("file:") else None


def in_turn(uri: str) -> AbstractContextManager[object]:
    """Let one process of the user's at a time open a SQLite store: two that make one leave it broken.

    Each store has a lock of its own, for making one takes seconds, for which nobody with another need wait.
    """
    if not uri.startswith("sqlite:"):  # a server that does not answer must not keep others waiting
        return nullcontext()
    store = hashlib.sha256(os.path.realpath(uri.removeprefix("sqlite:///")).encode()).hexdigest()[:12]
    return Lock(Path(tempfile.gettempdir()) / f"qexp-store-{os.getuid()}-{store}.lock", alone=True, mode=0o600)
