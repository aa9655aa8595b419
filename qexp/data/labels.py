"""Ids become row numbers: of labels (qrels) and of given neighbours."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qexp.config import DatasetConfig, QrelsConfig
from qexp.data.files import read_matrix
from qexp.data.table import Table, need_columns
from qexp.errors import DataError, near_miss
from qexp.results import Ids

if TYPE_CHECKING:
    from datasets import Dataset

Qrel = tuple[Any, Any, int, str]  # query id, point id, grade, where it is written

ID_KINDS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
)
WHOLE = re.compile(r"(-?[0-9]{1,18})(\.0)?")  # 1.0 too: a column of integers with gaps holds floats


def table_qrels(rows: "Dataset", place: str, config: QrelsConfig) -> list[Qrel]:
    """Return the labels of a table with a column each for query, point and grade; DataError for a fractional grade."""
    columns = (config.query_column, config.point_column, config.grade_column)
    need_columns(rows, place, *columns)
    for column in columns[:2]:
        need_ids(rows.features.arrow_schema.field(column).type, place, column)
    query, point, grade = (rows.with_format("arrow")[column][:].to_pylist() for column in columns)
    where = [f"{place} row {row}" for row in range(len(rows))]
    return list(zip(query, point, map(_grade, grade, where), where, strict=True))


def read_trec(path: Path) -> list[Qrel]:
    """Return the labels of a TREC file: query, iteration, point and grade, separated by blanks."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text in UTF-8: {error}") from error
    qrels: list[Qrel] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{path} line {number}"
        if len(words) != 4:
            raise DataError(f"{where}: not 'query iteration point grade': {line.strip()[:60]}")
        qrels.append((words[0], words[2], _grade(words[3], where), where))
    if not qrels:
        raise DataError(f"{path}: is empty")
    return qrels


def need_ids(kind: Any, place: str, column: str) -> None:
    """Refuse a column whose values are no ids."""
    if not any(is_kind(kind) for is_kind in ID_KINDS):
        raise DataError(f"{place}: column '{column}' holds {kind}, not ids, which are integers, strings or floats")


def _grade(value: Any, where: str) -> int:
    if isinstance(value, bool):
        return int(value)
    number = WHOLE.fullmatch(str(value))
    if not number:
        raise DataError(f"{where}: the grade {value!r} is no integer; give grades as whole numbers, such as 0, 1, 2")
    return int(number[1])


def check_unique_ids(table: Table) -> None:
    """Raise DataError naming the first id that is given twice."""
    if table.id_column is None:
        return
    ids = _ids(table)
    missing = ids.is_null(nan_is_null=True).to_numpy()  # some write a gap among numbers as NaN
    if missing.any():
        raise DataError(f"{table.place} row {int(np.argmax(missing))}: no id in column '{table.id_column}'")
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    seen: dict[Any, int] = {}
    for row, key in enumerate(ids):
        first = seen.setdefault(key.as_py(), row)
        if first != row:
            raise DataError(
                f"{table.place} row {row}: the id {key.as_py()!r} is that of row {first} too (column "
                f"'{table.id_column}')"
            )


def positions(table: Table, kept: Ids, wanted: list[Any]) -> Ids:
    """Return where in `kept`, sorted row numbers, the rows with these ids are; -1 where they are not.

    Ids of another type than the column's are compared as text.
    """
    if table.id_column is None:
        numbers = map(WHOLE.fullmatch, map(str, wanted))
        rows = np.array([int(number[1]) if number else -1 for number in numbers], dtype=np.int64)
    else:
        ids, wanted_ids = _ids(table), _array(wanted)
        if ids.type != wanted_ids.type:
            ids, wanted_ids = ids.cast(pa.string()), wanted_ids.cast(pa.string())
        found = pc.index_in(wanted_ids, value_set=ids.combine_chunks())
        rows = found.fill_null(-1).to_numpy().astype(np.int64)
    near = np.minimum(np.searchsorted(kept, rows), len(kept) - 1)
    return np.where(kept[near] == rows, near, -1)


def qrel_rows(qrels: list[Qrel], points: Table, kept: Ids, queries: Table, chosen: Ids) -> Ids:
    """Return labels as (query position, point position, grade), of the chosen queries and kept points only.

    Raises DataError for an id that is in no row at all, and for a pair with two grades.
    """
    if not qrels:
        return np.empty((0, 3), dtype=np.int64)
    known: dict[tuple[str, str], int] = {}
    for asked, found, grade, where in qrels:
        if known.setdefault((str(asked), str(found)), grade) != grade:
            raise DataError(
                f"{where}: query {asked!r} and point {found!r} have two grades, {known[str(asked), str(found)]} and "
                f"{grade}; keep one"
            )
    query = _found(queries, chosen, qrels, 0)
    point = _found(points, kept, qrels, 1)
    grades = np.array([label[2] for label in qrels])
    return np.stack([query, point, grades], axis=1)[(query >= 0) & (point >= 0)].astype(np.int64)


def _found(table: Table, kept: Ids, qrels: list[Qrel], part: int) -> Ids:
    wanted = [label[part] for label in qrels]
    everywhere = positions(table, np.arange(len(table.rows)), wanted)
    if (everywhere < 0).any():
        first = int(np.argmin(everywhere))
        rows = "; without dataset.id_column (of queries: dataset.queries.id_column) ids are row numbers"
        raise DataError(
            f"{qrels[first][3]}: no {('query', 'point')[part]} of {table.place} has the id {wanted[first]!r}"
            f"{'' if table.id_column else rows}"
        )
    return positions(table, kept, wanted)


def given_neighbours(dataset: DatasetConfig, queries: Table, chosen: Ids, available: int) -> list[Any]:
    """Return the neighbours that the dataset gives, a list for each of the chosen of all `available` queries.

    Raises DataError for a file of another number of rows, and for a column that does not hold lists of ids.
    """
    if dataset.neighbours_path:
        given = read_matrix(Path(dataset.neighbours_path))
        if len(given) != available:
            raise DataError(f"{dataset.neighbours_path}: {len(given)} rows of neighbours for {available} queries")
        return list(given[chosen].tolist())
    column = dataset.neighbours_column
    if column not in queries.rows.column_names:
        raise DataError(
            f"{queries.place}: no column '{column}' of neighbours{near_miss(column, queries.rows.column_names)}; set "
            "dataset.neighbours_column=…, or dataset.neighbours_path=… for a file of row numbers"
        )
    lists = queries.rows.select_columns([column]).with_format("arrow")[column][:]
    if not isinstance(lists.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        raise DataError(f"{queries.place}: column '{column}' holds {lists.type}, not lists of neighbours")
    need_ids(lists.type.value_type, queries.place, column)
    every = lists.to_pylist()  # Arrow cannot take views of strings
    return [every[row] for row in chosen]


def neighbour_positions(lists: list[Any], asked: Ids, points: Table, kept: Ids, place: str) -> Ids:
    """Return given neighbours [query, longest] as positions of points, -1 behind the end of a shorter list.

    `asked` are the rows of the queries that have the lists. Raises DataError for a neighbour that is no point.
    """
    lengths = np.array([0 if found is None else len(found) for found in lists])
    flat = [key for found in lists if found is not None for key in found]
    rows = positions(points, kept, flat)
    if (rows < 0).any():
        index = int(np.argmax(rows < 0))
        row = np.repeat(asked, lengths)[index]
        raise DataError(f"{place} row {row}: the neighbour {flat[index]!r} is no point of {points.place}")
    there = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    padded = np.full(there.shape, -1, dtype=np.int64)
    padded[there] = rows
    return padded


def _ids(table: Table) -> Any:
    assert table.id_column is not None
    ids = table.rows.select_columns([table.id_column]).with_format("arrow")[table.id_column][:]
    need_ids(ids.type, table.place, table.id_column)
    return ids.cast(pa.string()) if pa.types.is_string_view(ids.type) else ids  # in which Arrow cannot look up


def _array(ids: list[Any]) -> Any:
    try:
        return pa.array(ids)
    except OverflowError:  # Python's integers are int64 to Arrow
        return pa.array([str(key) for key in ids])
