"""Entries of the cache: named after their content, there when they are whole, made again where they are broken."""

import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from qexp.cache import BROKEN
from qexp.errors import in_one_line

if TYPE_CHECKING:
    from datasets import Dataset

Read = TypeVar("Read")

log = logging.getLogger(__name__)


def file_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest_of(parts: list[str]) -> str:
    """Return 16 hexadecimal digits of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


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


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which appears at `path` when all of it is written, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{uuid.uuid4().hex}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def table_or_made(path: Path, make: Callable[[], None]) -> "Dataset":
    """Return the rows of an Arrow file, memory-mapped; it is made where it is missing or broken."""
    import datasets

    return read_or_made(path, lambda: datasets.Dataset.from_file(str(path)), make)


def write_arrow(path: Path, batches: Iterator[dict[str, Any]]) -> None:
    """Write batches of columns (arrays [n] or [n, width]) as an Arrow stream."""
    write_records(path, (pa.record_batch({name: _arrow(own) for name, own in batch.items()}) for batch in batches))


def write_records(path: Path, records: Iterator[Any], schema: Any = None) -> None:
    """Write Arrow record batches as a stream; of none at all with a schema alone."""
    writer: Any = None
    with whole(path) as partial, pa.OSFile(str(partial), "wb") as sink:
        if schema:
            writer = pa.ipc.new_stream(sink, schema)
        for record in records:
            writer = writer or pa.ipc.new_stream(sink, record.schema)
            writer.write(record)
        if writer:
            writer.close()


def _arrow(column: Any) -> Any:
    if not isinstance(column, np.ndarray) or column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).ravel()), column.shape[1])
