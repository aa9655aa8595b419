"""From a table's column of vectors to one `.npy` file of float32, checked row by row, in constant memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qexp.data.table import Table, batches
from qexp.errors import DataError
from qexp.progress import Progress
from qexp.results import Ids, Vectors

Mask = NDArray[np.bool_]

LENGTH_TOLERANCE = 0.01  # float16 and int8 copies of normalised vectors stay within it
LARGEST = 1e15  # of a component: where Qdrant sums squares of much larger ones, float32 overflows


@dataclass(frozen=True)
class Written:
    """Row numbers of the table in the order of the file, native dimensions, a digest, and how many were dropped.

    `unnormalised` counts rows whose length, in native dimensions, is not 1 within a percent; `place` names the table.
    """

    rows: Ids
    native: int
    digest: str
    dropped: int
    unnormalised: int
    place: str


def write_matrix(
    table: Table, wanted: Mask, size: int | None, distance: str, drop: bool, path: Path, what: str
) -> Written:
    """Write the wanted rows at the asked size, normalised if the distance is cosine.

    Raises DataError naming the first row that cannot be searched, unless `drop` leaves such rows out.
    """
    digest, native, unnormalised = hashlib.sha256(), 0, 0
    rows: list[Ids] = []
    progress = Progress(f"laying out {what}", len(table.rows))
    with path.open("wb") as out:
        for numbers, batch in batches(table, drop):
            native = batch.shape[1]
            if size is not None and size > native:
                raise DataError(f"embedding.size={size}: {table.place} has vectors of {native} dimensions")
            progress.advance(len(numbers))
            chosen = wanted[numbers]
            if not chosen.all():
                numbers, batch = numbers[chosen], batch[chosen]
            whole = batch
            batch = np.ascontiguousarray(batch[:, :size])
            good = _usable(numbers, batch, table, distance, drop)
            if not good.all():
                numbers, batch, whole = numbers[good], batch[good], whole[good]
            lengths = np.sqrt(np.einsum("ij,ij->i", whole, whole, dtype=np.float64))
            unnormalised += int((np.abs(lengths - 1) > LENGTH_TOLERANCE).sum())
            if distance == "cosine":
                batch = _normalised(batch)
            if not rows:
                _header(out, (len(wanted), batch.shape[1]))
            rows.append(numbers)
            batch.tofile(out)
            digest.update(batch.data)
        found: Ids = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        dropped = int(wanted.sum()) - len(found)
        if not len(found):
            raise DataError(f"{table.place}: no row has a usable vector for the {what}")
        out.seek(0)
        _header(out, (len(found), size or native))
    return Written(found, native, digest.hexdigest()[:16], dropped, unnormalised, table.place)


def _header(out: IO[bytes], shape: tuple[int, int]) -> None:
    """Write a `.npy` header; numpy leaves room in it for the number of rows to grow, so its length stays the same."""
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _usable(numbers: Ids, batch: Vectors, table: Table, distance: str, drop: bool) -> Mask:
    """Return which rows can be searched; the others raise DataError unless they may be dropped."""
    finite = np.asarray(np.isfinite(batch).all(axis=1))
    usable = batch.any(axis=1) if distance == "cosine" else np.abs(batch).max(axis=1) <= LARGEST
    good: Mask = finite & np.asarray(usable)
    if drop or good.all():
        return good
    index = int(np.argmin(good))
    where = f"{table.place} row {numbers[index]}"
    if not finite[index]:
        raise DataError(f"{where}: the vector has NaN or infinite components; dataset.on_bad_vector=drop leaves it out")
    if distance != "cosine":
        raise DataError(
            f"{where}: the vector has components beyond ± {LARGEST:g}, for which distances may overflow in single "
            "precision; scale all vectors down, or dataset.on_bad_vector=drop leaves it out"
        )
    raise DataError(
        f"{where}: a zero vector has no cosine; set dataset.on_bad_vector=drop to leave it out, or dataset.distance=dot"
    )


def _normalised(batch: Vectors) -> Vectors:
    """Return rows of length 1; in double precision where the square of a component leaves single precision."""
    wide: Any = batch.astype(np.float64)
    normalised: Vectors = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return normalised
