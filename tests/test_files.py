import json
import struct
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from qexp.config import ExperimentConfig, FileDataset, HubDataset, QrelsConfig, QueriesConfig, SearchConfig
from qexp.data.arrays import MATRICES
from qexp.data.files import load_file, read_matrix
from qexp.data.truth import find_truth
from qexp.data.vectors import Data, load_data
from qexp.errors import DataError
from tests.test_source import WRITERS

MATRIX = np.arange(1, 241, dtype=np.float32).reshape(60, 4)


def load(path: Path, **more: object) -> Data:
    dataset = FileDataset(path=str(path), queries=QueriesConfig(held_out=5), **more)  # type: ignore[arg-type]
    return load_data(ExperimentConfig(dataset=dataset, search=SearchConfig(limit=3)), path.parent / "cache")


def written(folder: Path, kind: str) -> Path:
    path = folder / f"points.{kind}"
    WRITERS[kind](path, MATRIX)
    return path


def cut(path: Path) -> None:
    """Leave the first two thirds of a file, or of the largest file of a folder."""
    file = path if path.is_file() else max(path.iterdir(), key=lambda inside: inside.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3 - 1])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_truncated_file_is_one_line_that_names_it(kind: str, tmp_path: Path) -> None:
    if kind == "hdf5":
        pytest.importorskip("h5py")
    path = written(tmp_path, kind)
    cut(path)
    with pytest.raises(DataError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_a_file_may_have_as_long_a_name_as_there_can_be(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    assert load(path.rename(tmp_path / f"{'😀' * 60}.{kind}")).facts.points == 55


@pytest.mark.parametrize("kind", ["parquet", "npy", "fvecs"])
def test_a_changed_file_is_read_again(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    first = load(path)
    WRITERS[kind](path, MATRIX[:50])
    assert (first.facts.points, load(path).facts.points) == (55, 45)


@pytest.mark.parametrize("letter", ["x", "\N{CJK UNIFIED IDEOGRAPH-6587}"])
def test_a_long_name_is_cut_in_the_cache(letter: str, tmp_path: Path) -> None:
    np.save(tmp_path / f"{letter * (250 // len(letter.encode()))}.npy", MATRIX)
    data = load(next(tmp_path.glob("*.npy")))
    assert find_truth(data, 3, tmp_path / "cache").ids.shape == (5, 3)
    assert data.facts.title == letter * (64 // len(letter.encode()))


@pytest.mark.parametrize("suffix", MATRICES)
def test_a_folder_named_like_a_matrix_is_one_line(suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    with pytest.raises(DataError, match=rf"folder\{suffix}: cannot be read: Is a directory"):
        load(folder)


@pytest.mark.parametrize("kind", ["parquet", "npy", "save_to_disk"])
def test_a_split_of_what_has_no_parts_is_refused(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    dataset = FileDataset(path=str(path), queries=QueriesConfig(split="test"))
    with pytest.raises(DataError, match=rf"points\.{kind}: has no part 'test'.*dataset\.queries\.path=…"):
        load_data(ExperimentConfig(dataset=dataset), tmp_path / "cache")
    with pytest.raises(DataError, match=rf"points\.{kind}: has no part 'train'"):
        load(path, split="train")


def test_an_ann_benchmarks_file_has_its_own_queries_distance_and_neighbours(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")

    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((300, 8), dtype=np.float32), rng.standard_normal((10, 8), dtype=np.float32)
    distances = np.linalg.norm(test[:, None] - train[None], axis=2)
    neighbours = np.argsort(distances, axis=1)[:, :20]
    with h5py.File(tmp_path / "ann.hdf5", "w") as file:
        file["train"], file["test"], file["neighbors"] = train, test, neighbours
        file["distances"] = np.take_along_axis(distances, neighbours, axis=1)
        file.attrs["distance"] = np.bytes_("euclidean")  # as some writers have it
    dataset = FileDataset(path=str(tmp_path / "ann.hdf5"), truth="neighbours")
    data = load_data(ExperimentConfig(dataset=dataset), tmp_path / "cache")
    assert (data.facts.points, data.facts.queries, data.facts.distance) == (300, 10, "euclid")
    truth = find_truth(data, 10, tmp_path / "cache")
    assert (truth.source, truth.ids.tolist()) == ("neighbours", neighbours[:, :10].tolist())


@pytest.mark.parametrize("rows", [9, 11])
def test_an_ann_benchmarks_file_has_a_row_of_neighbours_for_every_query(tmp_path: Path, rows: int) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "ann.hdf5", "w") as file:
        file["train"], file["test"], file["neighbors"] = MATRIX, MATRIX[:10], np.zeros((rows, 10), dtype=np.int64)
    with pytest.raises(DataError, match=rf"ann\.hdf5: has {rows} rows of neighbors for 10 queries"):
        load_data(ExperimentConfig(dataset=FileDataset(path=f"{tmp_path}/ann.hdf5")), tmp_path / "cache")


def test_a_distance_that_qdrant_has_not_is_refused_unless_another_is_asked_for(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "sets.hdf5", "w") as file:
        file["train"] = np.random.default_rng(0).standard_normal((60, 8), dtype=np.float32)
        file["test"] = file["train"][:10]
        file.attrs["distance"] = "jaccard"
    dataset = FileDataset(path=str(tmp_path / "sets.hdf5"))
    with pytest.raises(DataError, match=r"sets.hdf5: names the distance 'jaccard', .*; set dataset.distance="):
        load_data(ExperimentConfig(dataset=dataset), tmp_path / "cache")
    asked = ExperimentConfig(dataset=replace(dataset, distance="dot"))
    assert load_data(asked, tmp_path / "cache").facts.distance == "dot"


def test_every_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    monkeypatch.setenv("HOME", str(tmp_path))
    with h5py.File(tmp_path / "ann.hdf5", "w") as file:
        file["train"], file["test"] = MATRIX, MATRIX[:7]
        file.attrs["distance"] = "euclidean"
    whole = load_data(ExperimentConfig(dataset=FileDataset(path="~/ann.hdf5")), tmp_path / "cache")
    assert (whole.facts.points, whole.facts.queries, whole.facts.distance) == (60, 7, "euclid")
    np.save(tmp_path / "neighbours.npy", np.arange(7)[:, None])
    (tmp_path / "qrels.txt").write_text("0 0 5 1\n")
    dataset = FileDataset(
        path="~/ann.hdf5",
        truth="neighbours",
        neighbours_path="~/neighbours.npy",
        queries=QueriesConfig(path="~/ann.hdf5"),
        qrels=QrelsConfig(path="~/qrels.txt"),
    )
    data = load_data(ExperimentConfig(dataset=dataset, search=SearchConfig(limit=1)), tmp_path / "cache")
    assert (data.facts.queries, data.qrels.tolist()) == (7, [[0, 5, 1]])
    assert find_truth(data, 1, tmp_path / "cache").ids.ravel().tolist() == list(range(7))
    folder = tmp_path / "hub"
    folder.mkdir()
    pq.write_table(pa.table({"vector": list(MATRIX)}), folder / "train.parquet")
    assert load_data(ExperimentConfig(dataset=HubDataset(path="~/hub")), tmp_path / "cache").facts.points == 54


def test_exact_neighbours_of_big_ann_have_distances_behind_them(tmp_path: Path) -> None:
    ids = np.arange(6, dtype="<i4").reshape(2, 3)
    (tmp_path / "gt.ibin").write_bytes(struct.pack("<II", 2, 3) + ids.tobytes() + np.zeros((2, 3), "<f4").tobytes())
    assert read_matrix(tmp_path / "gt.ibin").tolist() == ids.tolist()
    rows = [struct.pack("<i3i", 3, *row) for row in ids.tolist()]
    (tmp_path / "gt.ivecs").write_bytes(b"".join(rows))
    assert read_matrix(tmp_path / "gt.ivecs").tolist() == ids.tolist()


def no_rows(path: Path) -> None:
    pq.write_table(pa.table({"v": pa.array([], pa.list_(pa.float32()))}), path)


def fixed_size_with_a_null(path: Path) -> None:
    table = pa.table({"v": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))})
    try:
        pq.write_table(table, path)
    except pa.ArrowNotImplementedError:  # before pyarrow 25
        pytest.skip("this pyarrow cannot write what it could not read")


def two_of_a_name(path: Path) -> None:
    pq.write_table(pa.table([list(MATRIX), list(MATRIX)], names=["v", "v"]), path)


def nested(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["group/vectors"] = MATRIX


def ragged_jsonl(path: Path) -> None:
    path.write_text('{"vector": [1, 2]}\n' * 19 + '{"vector": [1, 2, 3]}\n')


def strings_jsonl(path: Path) -> None:
    path.write_text('{"vector": [1, 2]}\n' * 19 + '{"vector": ["a", "b"]}\n')


def encrypted(path: Path) -> None:
    np.savez(path, v=MATRIX)
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag in the file's own header, and in the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def ragged_fvecs(path: Path) -> None:
    path.write_bytes(struct.pack("<i2f", 2, 1, 2) + struct.pack("<i2f", 3, 1, 2))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.jsonl", ragged_jsonl, "row 19: 3 dimensions; row 0 has 2"),
        ("a.jsonl", strings_jsonl, "column .vector. holds lists of .*, not numbers"),
        ("a.fvecs", ragged_fvecs, "row 1: 3 dimensions; row 0 has 2"),
        ("a.npy", lambda path: np.save(path, np.zeros(5)), r"array of shape \(5,\) .*, not a matrix of numbers"),
        ("a.npy", lambda path: np.save(path, np.array([["a"]])), "not a matrix of numbers"),
        ("a.npy", lambda path: np.save(path, np.asfortranarray(MATRIX)), "Fortran order"),
        ("a.npy", lambda path: np.save(path, np.zeros((0, 4))), r"is empty, shape \(0, 4\)"),
        ("a.npz", lambda path: np.savez(path, one=MATRIX, two=MATRIX), "several arrays; set dataset.split=.*one, two"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"x": [1.0]}), path), "no column holds vectors; it has x"),
        (
            "a.csv",
            lambda path: path.write_text(f"id,{','.join(f'd{n}' for n in range(384))}\n{'1,' * 384}1\n"),
            r"d6 \(int64\) and 377 more; vectors are one column of lists of numbers \(Parquet, JSONL\) or a matrix",
        ),
        (
            "a.json",
            lambda path: path.write_text(json.dumps([{f"d{n}": [0.5] for n in range(20)}])),
            r"several columns hold vectors \(d0, d1, d2, d3, d4, d5, d6, d7 and 12 more\); set dataset.vector_column=",
        ),
        ("a.csv", lambda path: path.write_text(""), "is empty"),
        ("a.npy", lambda path: path.write_bytes(b""), "a.npy: is empty"),
        ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\1\0\x10\0{'descr':[('a',1"), "a.npy: cannot be read"),
        ("a.npz", encrypted, "a.npz: cannot be read: File 'v.npy' is encrypted"),
        ("a.jsonl", lambda path: path.write_text('{"a":' * 5000 + "1" + "}" * 5000), "a.jsonl: cannot be read"),
        ("a.csv", lambda path: path.write_text("text\n"), "is empty"),
        (
            "a.csv",
            lambda path: path.write_text("id,text\n1,7,a\n2,8,b\n"),
            r"\(rows have more fields than the header has names: give each a name\)$",
        ),
        ("a.txt", lambda path: path.write_text("x"), "unknown format '.txt'; known: .parquet"),
        ("a.parquet", lambda path: path.write_text("hello"), "cannot be read"),
        ("a.parquet", no_rows, "a.parquet: is empty"),
        ("a.parquet", two_of_a_name, "a.parquet: 2 columns are called 'v'; give each a name of its own$"),
        ("a.hdf5", nested, "a.hdf5: holds no array of two dimensions at its top level$"),
        ("a.parquet", fixed_size_with_a_null, "from a column of fixed size: leave them out, or write lists"),
    ],
)
def test_files_that_hold_no_vectors_say_why(
    name: str, write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


@pytest.mark.skipif(find_spec("jax") is not None, reason="needs a machine without jax")
def test_a_folder_saved_in_a_format_that_is_not_installed_names_the_remedy(tmp_path: Path) -> None:
    state = written(tmp_path, "save_to_disk") / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"_format_type": "jax"}))
    with pytest.raises(
        DataError, match=r"JAX needs to be installed .* \(or save what `with_format\(None\)` returns\)$"
    ):
        load(state.parent)


def test_a_name_that_is_a_pattern_is_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [json.dumps({"vector": row.tolist()}) for row in MATRIX]
    for name, count in (("a[b].jsonl", 60), ("ab.jsonl", 50), ("x*.jsonl", 60), ("xy.jsonl", 50), ("[s]/d.jsonl", 60)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join(rows[:count]))
    for name in ("a[b].jsonl", "x*.jsonl", "[s]/d.jsonl"):
        assert len(load_file(tmp_path / name, None, tmp_path / "cache")[0]) == 60
    monkeypatch.chdir(tmp_path / "[s]")
    assert len(load_file(Path("d.jsonl"), None, tmp_path / "cache")[0]) == 60


@pytest.mark.parametrize(("name", "between"), [("a.csv", ","), ("a.tsv", "\t")])
def test_separators_at_the_end_of_rows_shift_no_column(name: str, between: str, tmp_path: Path) -> None:
    lines = ("id text", "7 a ", "8 b ")
    (tmp_path / name).write_text("\n".join(line.replace(" ", between) for line in lines))
    rows, _ = load_file(tmp_path / name, None, tmp_path / "cache")
    assert rows.to_dict() == {"id": [7, 8], "text": ["a", "b"]}


def test_a_missing_file_and_several_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "none.parquet")
    pq.write_table(pa.table({"a": list(MATRIX), "b": list(MATRIX)}), tmp_path / "two.parquet")
    with pytest.raises(DataError, match=r"several columns hold vectors \(a, b\); set dataset.vector_column"):
        load(tmp_path / "two.parquet")
    assert load(tmp_path / "two.parquet", vector_column="b").facts.points == 55


def test_a_column_without_a_type_in_datasets_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    maps = pa.array([[("a", 1)]] * len(MATRIX), pa.map_(pa.string(), pa.int64()))
    columns = {"m": maps, "vector": list(MATRIX), "part": [{"m": 1}] * len(MATRIX)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").facts.points == 55
    assert "a.parquet: left out what the library `datasets` has no type for: m (map<string" in caplog.text


def test_arrow_files_are_read_as_streams_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    views = pa.array(["a"] * len(MATRIX), pa.string_view())
    table = pa.table({"vector": list(MATRIX), "id": [f"n{row}" for row in range(len(MATRIX))]})
    with pa.ipc.new_stream(str(tmp_path / "stream.arrow"), table.schema) as stream:
        stream.write_table(table)
    table = table.append_column(
        "category", views.dictionary_encode()
    )  # which polars writes, and `datasets` cannot read
    with pa.ipc.new_file(str(tmp_path / "file.arrow"), table.schema) as file:
        file.write_table(table, max_chunksize=7)
    pyarrow.feather.write_feather(table, str(tmp_path / "table.feather"))
    found = {load(tmp_path / name).facts.digest for name in ("stream.arrow", "file.arrow", "table.feather")}
    assert len(found) == 1
    assert "file.arrow: left out what the library `datasets` has no type for: category (dictionary<" in caplog.text


def test_several_columns_of_queries_are_named_where_to_choose(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", MATRIX)
    pq.write_table(pa.table({"a": list(MATRIX), "b": list(MATRIX)}), tmp_path / "two.parquet")
    dataset = FileDataset(path=str(tmp_path / "points.npy"), queries=QueriesConfig(path=str(tmp_path / "two.parquet")))
    with pytest.raises(DataError, match=r"set dataset\.queries\.vector_column"):
        load_data(ExperimentConfig(dataset=dataset), tmp_path / "cache")


def test_a_folder_of_data_files_names_the_other_kind(tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": list(MATRIX)}), tmp_path / "part-0.parquet")
    with pytest.raises(DataError, match=r"for one of data files: dataset=hub dataset\.path="):
        load_file(tmp_path, None, tmp_path / "cache")


def test_a_folder_of_parts_with_the_suffix_of_a_file_is_of_the_other_kind(tmp_path: Path) -> None:
    folder = tmp_path / "points.parquet"
    folder.mkdir()
    pq.write_table(pa.table({"v": list(MATRIX)}), folder / "part-0.parquet")
    with pytest.raises(DataError, match=r"for one of data files: dataset=hub dataset\.path=.*/points\.parquet"):
        load(folder)
    dataset = HubDataset(path=str(folder), queries=QueriesConfig(held_out=5))
    data = load_data(ExperimentConfig(dataset=dataset, search=SearchConfig(limit=3)), tmp_path / "cache")
    assert data.facts.points == 55


def test_a_dict_of_splits_on_disk_asks_for_one(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"v": MATRIX})}).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DataError, match=r"holds the splits train; set dataset\.path=.*/d/train"):
        load_file(tmp_path / "d", None, tmp_path / "cache")
    assert json.loads((tmp_path / "d" / "dataset_dict.json").read_text()) == {"splits": ["train"]}
