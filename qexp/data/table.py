"""A table of rows with vectors: which column holds them, and its batches, checked row by row."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qexp.errors import DataError, near_miss
from qexp.results import Ids, Vectors

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 4096
BATCH_VALUES = 1024 * 1536  # components that are copied and widened at once
MOST_NAMED = 8  # columns of a table; one number to a column, or one vector, makes hundreds


@dataclass(frozen=True)
class Table:
    """A Hugging Face dataset and its columns; without `id_column` a row is known by its number.

    `sparse`: rows without a vector are no rows of this table (queries in a column of the points).
    """

    rows: "Dataset"
    place: str
    vector_column: str
    id_column: str | None = None
    sparse: bool = False

    def __post_init__(self) -> None:
        need_columns(self.rows, self.place, self.vector_column, *([self.id_column] if self.id_column else []))


def need_columns(rows: "Dataset", place: str, *columns: str) -> None:
    """Raise DataError for the first column that is not there."""
    for column in columns:
        if column not in rows.column_names:
            raise DataError(f"{place}: no column '{column}'{near_miss(column, rows.column_names)}")


def find_vector_column(rows: "Dataset", place: str, asked: str | None, field_of: str) -> str:
    """Return the asked column, else `vector`, else the only column that holds lists of numbers.

    Lists of wide integers beside it are given neighbours, or tokens, and no vectors. `field_of` is where in the
    configuration the column is asked for.
    """
    if asked:
        return asked
    schema = rows.features.arrow_schema
    if "vector" in rows.column_names:
        return "vector"
    lists = [field for field in schema if _is_list(field.type) and _is_number(field.type.value_type)]
    components = [field for field in lists if not _is_wide_integer(field.type.value_type)]
    found = [field.name for field in components or lists]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise DataError(f"{place}: several columns hold vectors ({_listed(found)}); set {field_of}.vector_column=…")
    known = _listed([f"{field.name} ({field.type})" for field in schema])
    raise DataError(
        f"{place}: no column holds vectors; it has {known}; vectors are one column of lists of numbers (Parquet, "
        f"JSONL) or a matrix (.npy); to embed text: {field_of}.text_column=… embedding=fastembed embedding.model=…"
    )


def _listed(columns: list[str]) -> str:
    more = f" and {len(columns) - MOST_NAMED:,} more" if len(columns) > MOST_NAMED else ""
    return f"{', '.join(columns[:MOST_NAMED])}{more}"


def batches(table: Table, drop: bool) -> Iterator[tuple[Ids, Vectors]]:
    """Yield (row numbers [batch], float32 [batch, native size]) straight from Arrow.

    Rows without a vector are left out where `drop` or the table's `sparse` allows; they raise DataError elsewhere, as
    do ragged rows and columns that hold no numbers.
    """
    start, size = 0, 0
    for batch in table.rows.select_columns([table.vector_column]).with_format("arrow").iter(BATCH):
        column = batch.column(0).combine_chunks()
        numbers: Ids = np.arange(start, start + len(column))
        start += len(column)
        numbers, column = _without_missing(numbers, column, table, drop)
        if not len(column):
            continue
        matrix = _as_matrix(numbers, column, table)
        size = size or matrix.shape[1]
        if matrix.shape[1] != size:
            raise DataError(
                f"{table.place} row {numbers[0]}: {matrix.shape[1]} dimensions; the rows before have {size}"
            )
        step = max(1, BATCH_VALUES // size)
        for first in range(0, len(matrix), step):
            yield numbers[first : first + step], matrix[first : first + step]


def has_vector(column: Any) -> Any:
    """Return which rows of a column are neither null nor an empty list."""
    return (
        pc.fill_null(pc.greater(pc.list_value_length(column), 0), False) if _is_list(column.type) else column.is_valid()
    )


def _without_missing(numbers: Ids, column: Any, table: Table, drop: bool) -> tuple[Ids, Any]:
    there = has_vector(column)
    mask = there.to_numpy(zero_copy_only=False)
    if mask.all():
        return numbers, column
    if not (drop or table.sparse):
        raise DataError(
            f"{table.place} row {numbers[np.argmin(mask)]}: no vector in column '{table.vector_column}'; "
            "dataset.on_bad_vector=drop leaves such rows out"
        )
    return numbers[mask], column.filter(there)


def _as_matrix(numbers: Ids, column: Any, table: Table) -> Vectors:
    """Return a list column without nulls and empty lists as float32 [rows, dimensions]; a null component is NaN."""
    kind = column.type
    if not _is_list(kind):
        hint = ""
        if _is_text(kind):
            hint = f"; to embed it: dataset.text_column={table.vector_column} embedding=fastembed embedding.model=…"
            if str(column[0]).startswith("["):
                hint = "; vectors as text are not read: write them as lists of numbers (Parquet, JSONL)"
        raise DataError(f"{table.place}: column '{table.vector_column}' holds {kind}, not vectors{hint}")
    if not _is_number(kind.value_type):
        raise DataError(f"{table.place}: column '{table.vector_column}' holds lists of {kind.value_type}, not numbers")
    lengths = (
        np.diff(column.offsets.to_numpy()) if not pa.types.is_fixed_size_list(kind) else np.array([kind.list_size])
    )
    ragged = np.flatnonzero(lengths != lengths[0])
    if ragged.size:
        row = int(ragged[0])
        raise DataError(
            f"{table.place} row {numbers[row]}: {lengths[row]} dimensions; row {numbers[0]} has {lengths[0]}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused by row
        matrix: Vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return matrix.reshape(len(column), -1)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_wide_integer(kind: Any) -> bool:
    """Whether numbers are such as ids are; components that are integers have 8 bits."""
    return bool(pa.types.is_integer(kind) and kind.bit_width > 8)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
