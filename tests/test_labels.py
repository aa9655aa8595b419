import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from qexp.config import QrelsConfig
from qexp.data.labels import (
    Qrel,
    check_unique_ids,
    neighbour_positions,
    positions,
    qrel_rows,
    read_trec,
    table_qrels,
)
from qexp.data.table import Table
from qexp.errors import DataError

KEPT = np.array([0, 2, 3])


def table(ids: list[Any] | None) -> Table:
    columns: dict[str, Any] = {"vector": [[1.0]] * 4} | ({"id": ids} if ids else {})
    return Table(datasets.Dataset.from_dict(columns), "mine", "vector", "id" if ids else None)


@pytest.mark.parametrize(
    ("ids", "wanted", "expected"),
    [
        (None, [3, 0, 1, 9], [2, 0, -1, -1]),
        (None, ["2", "x"], [1, -1]),
        (None, [2.0, "2.0", 2.5, float("nan")], [1, 1, -1, -1]),
        (None, ["\N{SUPERSCRIPT TWO}", "2" * 23, "2"], [-1, -1, 1]),
        ([10, 11, 12, 13], [12, 11, 10], [1, -1, 0]),
        ([10, 11, 12, 13], ["13", "x"], [2, -1]),
        (["a", "b", "c", "d"], ["d", "b", "e"], [2, -1, -1]),
    ],
)
def test_ids_become_positions_among_the_kept_rows(ids: Any, wanted: list[Any], expected: list[int]) -> None:
    assert positions(table(ids), KEPT, wanted).tolist() == expected


def test_ids_may_be_integers_beyond_int64() -> None:
    ids = pa.array([0, 1, 2, 2**63 + 1], pa.uint64())
    found = Table(datasets.Dataset(pa.table({"id": ids, "vector": [[1.0]] * 4})), "mine", "vector", "id")
    assert positions(found, KEPT, [2**63 + 1, 2, 2**63]).tolist() == [2, 1, -1]


def test_ids_may_be_views_of_strings() -> None:
    labels = pa.table({name: pa.array(["a", "b"], pa.string_view()) for name in ("id", "query", "point")})
    rows = datasets.Dataset(
        labels.append_column("grade", pa.array([1, 2])).append_column("vector", pa.array([[1.0]] * 2))
    )
    found = Table(rows, "mine", "vector", "id")
    check_unique_ids(found)
    assert table_qrels(rows, "mine", QrelsConfig()) == [("a", "a", 1, "mine row 0"), ("b", "b", 2, "mine row 1")]
    assert positions(found, np.arange(2), ["b", "a", "c"]).tolist() == [1, 0, -1]


def test_what_is_no_row_number_is_no_row() -> None:
    assert positions(table(None), np.arange(4), ["x", 1, -1, 4]).tolist() == [-1, 1, -1, -1]


def written(*labels: tuple[Any, Any, int]) -> list[Qrel]:
    return [(*label, f"labels line {line}") for line, label in enumerate(labels, 1)]


def test_labels_of_dropped_rows_go_and_unknown_ids_are_refused_with_their_line() -> None:
    points, queries = table(["a", "b", "c", "d"]), table([7, 8, 9, 10])
    labels = written((7, "a", 2), (8, "c", 1), (9, "b", 1), (10, "d", 0))
    assert qrel_rows(labels, points, KEPT, queries, np.array([0, 2, 3])).tolist() == [[0, 0, 2], [2, 2, 0]]
    with pytest.raises(DataError, match=r"^labels line 2: no point of mine has the id 'z'$"):
        qrel_rows(written((7, "a", 1), (7, "z", 1), (7, "y", 1)), points, KEPT, queries, np.arange(4))
    rows = r"has the id 6; without dataset\.id_column \(of queries: dataset\.queries\.id_column\) ids are row numbers"
    with pytest.raises(DataError, match=rf"^labels line 1: no query of mine {rows}$"):
        qrel_rows(written((6, "a", 1)), points, KEPT, table(None), np.arange(4))
    with pytest.raises(DataError, match=r"^labels line 3: query 7 and point 'a' have two grades, 2 and 0; keep one"):
        qrel_rows(written((7, "a", 2), (7, "a", 2), (7, "a", 0)), points, KEPT, queries, np.arange(4))


def test_a_duplicate_id_names_both_rows() -> None:
    check_unique_ids(table(["a", "b", "c", "d"]))
    check_unique_ids(table(None))
    with pytest.raises(DataError, match="mine row 3: the id 'b' is that of row 1 too"):
        check_unique_ids(table(["a", "b", "c", "b"]))
    with pytest.raises(DataError, match="mine row 2: no id in column 'id'"):
        check_unique_ids(table(["a", "b", None, "c"]))
    with pytest.raises(DataError, match="mine row 2: no id in column 'id'"):
        check_unique_ids(table([1.0, 2.0, float("nan"), float("nan")]))


@pytest.mark.parametrize("wrong", [[1], {"a": 1}, True])
def test_ids_are_integers_strings_or_floats(wrong: Any) -> None:
    message = ".*, not ids, which are integers, strings or floats"
    with pytest.raises(DataError, match=f"mine: column 'id' holds {message}"):
        check_unique_ids(table([wrong] * 4))
    for column in ("query", "point"):
        labels = datasets.Dataset.from_dict({"query": ["q"], "point": ["p"], "grade": [1]} | {column: [wrong]})
        with pytest.raises(DataError, match=f"labels: column '{column}' holds {message}"):
            table_qrels(labels, "labels", QrelsConfig())
    check_unique_ids(table([0.5, 1.5, 2.5, 3.5]))


@pytest.mark.parametrize("column", ["query", "point", "grade"])
def test_a_column_that_labels_lack_is_named(column: str) -> None:
    columns = {"query": ["q"], "point": ["p"], "grade": [1], "note": [""]}
    labels = datasets.Dataset.from_dict({name: value for name, value in columns.items() if name != column})
    with pytest.raises(DataError, match=f"^labels: no column '{column}'"):
        table_qrels(labels, "labels", QrelsConfig())


@pytest.mark.parametrize("ids", [None, [10, 11, 12, 13], ["a", "b", "c", "d"]])
def test_no_labels_and_no_neighbours_are_none(ids: Any) -> None:
    none = qrel_rows([], table(ids), KEPT, table(ids), KEPT)
    assert (none.shape, none.dtype) == ((0, 3), np.int64)
    assert neighbour_positions([None, []], np.arange(2), table(ids), KEPT, "queries").tolist() == [[-1], [-1]]


def test_given_neighbours_keep_their_order_and_are_padded() -> None:
    assert neighbour_positions([[3, 0], [2], None], np.arange(3), table(None), KEPT, "queries").tolist() == [
        [2, 0],
        [1, -1],
        [-1, -1],
    ]
    with pytest.raises(DataError, match="queries row 7: the neighbour 4 is no point of mine"):
        neighbour_positions([[0], [0, 4]], np.array([5, 7]), table(None), KEPT, "queries")


def test_a_trec_file_is_read_and_a_bad_line_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.qrels"
    file.write_text("\N{BYTE ORDER MARK}q1 0 d1 2\n\nq2\t0\td2\t0\n", encoding="utf-8")
    assert read_trec(file) == [("q1", "d1", 2, f"{file} line 1"), ("q2", "d2", 0, f"{file} line 3")]
    file.write_text("q1 0 d1 2\nq2 d2\n")
    with pytest.raises(DataError, match=r"labels\.qrels line 2: not 'query iteration point grade': q2 d2"):
        read_trec(file)
    file.write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        read_trec(file)
    file.write_bytes("q1 0 d\N{LATIN SMALL LETTER E WITH ACUTE} 1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.qrels: cannot be read as text in UTF-8: .*0xe9"):
        read_trec(file)


def graded(grades: list[Any]) -> list[Any]:
    rows = datasets.Dataset.from_dict({"query": ["q"] * len(grades), "point": ["p"] * len(grades), "grade": grades})
    return [label[2] for label in table_qrels(rows, "labels", QrelsConfig())]


@pytest.mark.parametrize("grades", [[2, 0, -1], [2.0, 0.0, -1.0], ["2", "0", "-1"]])
def test_whole_grades_are_taken_however_a_table_holds_them(grades: list[Any]) -> None:
    assert graded(grades) == [2, 0, -1]


@pytest.mark.parametrize("wrong", [0.5, float("nan"), float("inf"), None, "high", "\N{SUPERSCRIPT TWO}"])
def test_a_grade_that_is_no_integer_is_refused_with_its_row(wrong: Any) -> None:
    with pytest.raises(DataError, match=f"labels row 2: the grade {re.escape(repr(wrong))} is no integer"):
        graded([type(wrong)(1) if wrong is not None else 1] * 2 + [wrong])


@pytest.mark.parametrize("wrong", ["--1", "\N{SUPERSCRIPT TWO}", "0.5", "high"])
def test_a_grade_of_a_trec_file_that_is_no_integer_is_refused_with_its_line(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "labels.qrels").write_text(f"q1 0 d1 2\nq2 0 d2 {wrong}\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"labels.qrels line 2: the grade '{wrong}' is no integer"):
        read_trec(tmp_path / "labels.qrels")


def test_booleans_are_grades() -> None:
    assert graded([True, False]) == [1, 0]


def test_one_query_may_have_several_points_of_different_grades() -> None:
    points, queries = table(["a", "b", "c", "d"]), table([7, 8, 9, 10])
    labels = written((7, "a", 2), (7, "c", 1), (8, "a", 0))
    assert qrel_rows(labels, points, KEPT, queries, np.arange(4)).tolist() == [[0, 0, 2], [0, 1, 1], [1, 0, 0]]
