"""Which column of a table holds vectors, and what its batches are."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from qexp.data import table
from qexp.data.table import Table, batches, find_vector_column
from qexp.errors import DataError

FLOATS, WIDE, BYTES = pa.list_(pa.float32()), pa.list_(pa.int64()), pa.list_(pa.uint8())


def rows(**columns: pa.Array) -> Dataset:
    return Dataset(pa.table(columns))


def held(vectors: list[Any], kind: Any = FLOATS, sparse: bool = False) -> Table:
    return Table(rows(vector=pa.array(vectors, kind)), "mine", "vector", sparse=sparse)


@pytest.mark.parametrize(
    ("kinds", "asked", "found"),
    [
        ({"a": FLOATS, "b": FLOATS}, "b", "b"),
        ({"a": FLOATS, "vector": FLOATS}, None, "vector"),
        ({"a": pa.int64(), "b": FLOATS, "c": pa.list_(pa.string())}, None, "b"),
        ({"neighbours": WIDE, "b": FLOATS}, None, "b"),
        ({"neighbours": WIDE, "b": BYTES}, None, "b"),
        ({"b": WIDE}, None, "b"),
        ({"b": pa.list_(pa.float16(), 2)}, None, "b"),
        ({"b": pa.large_list(pa.float64())}, None, "b"),
    ],
)
def test_the_column_of_vectors_is_the_one_of_lists_of_components(
    kinds: dict[str, Any], asked: str | None, found: str
) -> None:
    given = rows(**{name: pa.array([None], kind) for name, kind in kinds.items()})
    assert find_vector_column(given, "mine", asked, "dataset") == found


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"a": FLOATS, "b": FLOATS}, r"several columns hold vectors \(a, b\); set dataset\.vector_column=…"),
        ({"a": WIDE, "b": WIDE, "c": pa.int64()}, r"several columns hold vectors \(a, b\); "),
        (
            {"a": pa.int64(), "b": pa.string()},
            r"no column holds vectors; it has a \(int64\), b \(string\); vectors are one column of lists",
        ),
    ],
)
def test_what_may_be_no_column_of_vectors_is_not_guessed(kinds: dict[str, Any], message: str) -> None:
    given = rows(**{name: pa.array([None], kind) for name, kind in kinds.items()})
    with pytest.raises(DataError, match=f"^mine: {message}"):
        find_vector_column(given, "mine", None, "dataset")


@pytest.mark.parametrize(("batch", "values"), [(4096, 1024), (2, 1024), (4096, 4), (3, 1)])
@pytest.mark.parametrize("kind", [FLOATS, pa.large_list(pa.float64()), BYTES])
def test_batches_hold_every_row_that_has_a_vector_under_its_number(
    kind: Any, batch: int, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BATCH", batch)
    monkeypatch.setattr(table, "BATCH_VALUES", values)
    given = [None, [], [1, 2], [3, 4], None, [5, 6], [7, 8], [9, 10]]
    found = list(batches(held(given, kind, sparse=True), drop=False))
    assert [number for numbers, _ in found for number in numbers] == [2, 3, 5, 6, 7]
    assert np.concatenate([matrix for _, matrix in found]).tolist() == [one for one in given if one]
    assert {matrix.dtype for _, matrix in found} == {np.dtype("float32")}
    assert max(len(numbers) for numbers, _ in found) <= max(1, values // 2)
    assert all(len(numbers) == len(matrix) for numbers, matrix in found)
    assert len(list(batches(held(given, kind), drop=True))) == len(found)


def test_lists_of_one_size_are_vectors_too() -> None:
    ((numbers, matrix),) = batches(held([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)), drop=False)
    assert (numbers.tolist(), matrix.tolist()) == ([0, 1], [[1, 2], [3, 4]])


def test_an_empty_component_is_no_number_and_one_too_large_is_infinite() -> None:
    ((_, matrix),) = batches(held([[1e300, None]], pa.list_(pa.float64())), drop=False)
    assert np.isposinf(matrix[0, 0])
    assert np.isnan(matrix[0, 1])


@pytest.mark.parametrize(
    ("vectors", "kind", "message"),
    [
        ([[1, 2], [3, 4], None, [5, 6]], FLOATS, " row 2: no vector in column 'vector'; dataset.on_bad_vector=drop "),
        ([[1, 2], [3, 4], [5]], FLOATS, " row 2: 1 dimensions; the rows before have 2$"),  # in the batch behind
        ([[1, 2], [3]], FLOATS, " row 1: 1 dimensions; row 0 has 2$"),
        ([[1, 2], [3, 4], [5, 6], [7, 8, 9]], FLOATS, " row 3: 3 dimensions; row 2 has 2$"),
        ([[1, 2], [3, 4], [], []], FLOATS, " row 2: no vector in column 'vector'; dataset.on_bad_vector=drop "),
        ([1, 2], pa.int64(), ": column 'vector' holds int64, not vectors$"),
        (["words"], pa.string(), ": .* string, .*: dataset.text_column=vector embedding=fastembed embedding.model=…"),
        (["words"], pa.string_view(), ": .* holds string_view, .*: dataset.text_column=vector embedding=fastembed "),
        (["[1, 2]"], pa.large_string(), ": .* holds large_string, not vectors; vectors as text are not read: write "),
        ([["a"]], pa.list_(pa.string()), ": column 'vector' holds lists of string, not numbers$"),
    ],
)
def test_a_row_that_is_no_vector_is_named(
    vectors: list[Any], kind: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BATCH", 2)
    with pytest.raises(DataError, match=f"^mine{message}"):
        list(batches(held(vectors, kind), drop=False))


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"^mine: no column 'vectr'.*vector"):
        Table(rows(vector=pa.array([[1.0]])), "mine", "vectr")
    with pytest.raises(DataError, match=r"^mine: no column 'id'"):
        Table(rows(vector=pa.array([[1.0]])), "mine", "vector", "id")
