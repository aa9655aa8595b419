"""Entries of the cache that are read as they are, and made again where they are broken."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from qexp.cache import BROKEN
from qexp.errors import in_one_line

Read = TypeVar("Read")

log = logging.getLogger(__name__)


def read_or_made(path: Path, read: Callable[[], Read], make: Callable[[], None]) -> Read:
    """Return what `read` finds at `path`, made first if nothing is there, and once more if it is broken."""
    if path.exists():
        try:
            return read()
        except BROKEN as error:
            log.warning("%s: removed, and to be made again: %s", path, in_one_line(repr(error)))
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    make()
    return read()
