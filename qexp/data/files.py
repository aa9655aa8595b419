"""Local files as Hugging Face datasets: tables by `datasets` itself, matrices converted to Arrow once."""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.cache import Kind
from qexp.config.dataset import short
from qexp.data.arrays import HDF5, MATRICES, hdf5_distance, parts_of, read_blocks
from qexp.data.hub import NO_ROWS, UNNAMED, folder_state, hush, with_remedy
from qexp.data.kept import digest_of, file_digest, table_or_made, write_arrow, write_records
from qexp.errors import DataError
from qexp.progress import Progress

if TYPE_CHECKING:
    from datasets import Dataset

TABLES = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
ARROW_FILE = b"ARROW1"  # how it begins; a stream, which `datasets` maps as it is, has no such mark
ROWS = 1024  # of a Parquet file in memory at a time
PARTED = (".npz", *HDF5)
NEIGHBOURS = "neighbors"  # the name in ann-benchmarks files, and of the column made from one

log = logging.getLogger(__name__)


def is_file_dataset(path: str) -> bool:
    """Whether a path is read by `load_file`: a known suffix, or a `save_to_disk` folder.

    A folder of parts may have the suffix of one of them, as Spark and dask write it; it is none of ours.
    """
    folder = Path(path)
    if folder.is_dir():
        return (folder / "state.json").is_file()
    return folder.suffix in (*TABLES, *MATRICES)


def need_file(path: Path) -> None:
    """Raise DataError unless the file or folder is there."""
    if not os.path.exists(path):  # False also of what has no name that a system could have
        where = "" if path.is_absolute() else f" in {os.getcwd()}"  # of Hydra or `mlflow run`, maybe
        raise DataError(f"{path}: no such file or folder{where}")


def load_file(path: Path, part: str | None, cache: Path) -> tuple["Dataset", str]:
    """Load a file or `save_to_disk` folder; return the rows and a word that changes when the content does.

    A matrix becomes a column `vector` in an Arrow file in the cache, named after its content. Raises DataError if the
    file is missing, truncated, empty, of an unknown format, or without parts where one is asked for.
    """
    need_file(path)
    if part and path.suffix not in PARTED and not (path / "dataset_dict.json").is_file():
        raise DataError(
            f"{path}: has no part '{part}', as only {', '.join(PARTED)} have; leave the split out, or name another "
            "file (dataset.path=… dataset.queries.path=…)"
        )
    if path.suffix in MATRICES:
        return _matrix(path, part, cache)
    if path.suffix not in TABLES and not path.is_dir():
        raise DataError(f"{path}: unknown format '{path.suffix}'; known: {', '.join((*TABLES, *MATRICES))}")
    rows, state = _table(path, cache), folder_state(path)
    if len(rows) == 0:
        raise DataError(f"{path}: is empty")
    return rows, state


def content_digest(path: Path) -> str:
    """Return a digest of a file's content; DataError if it cannot be read."""
    try:
        return file_digest(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def file_distance(path: Path) -> str | None:
    """Return the distance that the file itself names, if it does."""
    return hdf5_distance(path) if path.suffix in HDF5 and path.exists() else None


def query_part(path: Path) -> str | None:
    """Return the name of the queries in an ann-benchmarks file, if it has them."""
    return "test" if path.suffix in HDF5 and path.exists() and "test" in parts_of(path) else None


def read_matrix(path: Path) -> np.ndarray:
    """Return a whole small matrix, such as the neighbours of the queries; DataError if that is no file of one."""
    if path.suffix not in MATRICES:
        raise DataError(f"{path}: unknown format '{path.suffix}'; known: {', '.join(MATRICES)}")
    need_file(path)
    part = NEIGHBOURS if path.suffix in HDF5 else None
    return np.concatenate(list(read_blocks(path, part)))


def _table(path: Path, cache: Path) -> "Dataset":
    import datasets
    import pyarrow as pa

    hush()
    try:
        if path.is_dir():
            return _saved(path)
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty")
        if path.suffix == ".parquet" or _is_arrow_file(path):
            return _copied(path, cache)
        if TABLES[path.suffix] == "arrow":
            return datasets.Dataset.from_file(str(path))
        options: dict[str, Any] = {"sep": "\t"} if path.suffix == ".tsv" else {}
        if TABLES[path.suffix] == "csv":
            options["index_col"] = False  # pandas would take the first column for row names where rows are longer
        # A name of its own for every state of the file: by default a changed file can be found under the old one.
        folder = cache / Kind.DATASETS / folder_state(path)
        literal = escape(os.path.abspath(path))  # to `datasets` a[b].jsonl is a pattern, and another file's name
        with warnings.catch_warnings():
            warnings.filterwarnings("error", UNNAMED)
            return datasets.load_dataset(
                TABLES[path.suffix], data_files=literal, split="train", cache_dir=str(folder), **options
            )
    except (
        pa.ArrowException,
        ValueError,
        KeyError,
        OSError,
        RecursionError,
        datasets.exceptions.DatasetsError,
    ) as error:
        cause = error.__cause__ or error
        if any(words in str(cause) for words in NO_ROWS):
            raise DataError(f"{path}: is empty") from error
        raise DataError(f"{path}: cannot be read: {with_remedy(cause)}") from error


def _is_arrow_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ARROW_FILE)) == ARROW_FILE


def _copied(path: Path, cache: Path) -> "Dataset":
    """Copy a table to an Arrow stream in the cache; `load_dataset` would hold several times a Parquet file in RAM."""
    import pyarrow as pa

    target = cache / Kind.ARROW / f"{short(path.stem)}-{folder_state(path)}.arrow"

    def make() -> None:
        with _batches(path) as (whole, batches):
            typed = _typed(whole, path)
            schema = pa.schema([whole.field(number) for number in typed], whole.metadata)
            write_records(target, (batch.select(typed) for batch in batches), schema)

    return table_or_made(target, make)


@contextmanager
def _batches(path: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Yield the schema of a Parquet or Arrow file, and its record batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            yield file.schema_arrow, file.iter_batches(ROWS, use_threads=False)
    else:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
            yield file.schema, (file.get_batch(number) for number in range(file.num_record_batches))


def _typed(schema: Any, path: Path) -> list[int]:
    """Return the numbers of the columns that `datasets` has a type for; a warning names the others.

    Raises DataError for a name that two columns have.
    """
    import datasets
    import pyarrow as pa

    for name, times in Counter(schema.names).most_common(1):
        if times > 1:
            raise DataError(f"{path}: {times} columns are called '{name}'; give each a name of its own")
    kept, others = [], []
    for number, column in enumerate(schema):
        alone = pa.schema([column])
        try:
            features = datasets.Features.from_arrow_schema(alone)
            datasets.table.table_cast(alone.empty_table(), features.arrow_schema)  # as it does with what it reads
            kept.append(number)
        except (ValueError, pa.ArrowNotImplementedError):
            others.append(f"{column.name} ({column.type})")
    if others:
        log.warning("%s: left out what the library `datasets` has no type for: %s", path, ", ".join(others))
    return kept


def _saved(path: Path) -> "Dataset":
    """Load a `save_to_disk` folder of one split, all of whose rows are there that its own description counts."""
    import datasets

    if not is_file_dataset(str(path)) and not (path / "dataset_dict.json").is_file():
        raise DataError(f"{path}: no `save_to_disk` folder; for one of data files: dataset=hub dataset.path={path}")
    rows = datasets.load_from_disk(str(path))
    if isinstance(rows, datasets.DatasetDict):
        raise DataError(f"{path}: holds the splits {', '.join(rows)}; set dataset.path={path}/{next(iter(rows))}")
    splits = rows.info.splits or {}
    expected = sum(split.num_examples for split in splits.values()) if len(splits) == 1 else len(rows)
    if len(rows) < expected:
        raise DataError(f"{path}: has {len(rows)} rows, its description says {expected}: truncated?")
    return rows


def _matrix(path: Path, part: str | None, cache: Path) -> tuple["Dataset", str]:
    state = digest_of([content_digest(path), path.suffix, str(part)])
    target = cache / Kind.ARROW / f"{short(path.stem)}-{state}.arrow"
    return table_or_made(target, partial(write_arrow, target, _columns(path, part))), state


def _columns(path: Path, part: str | None) -> Iterator[dict[str, Any]]:
    """Yield batches of `vector`, and of `neighbors` for the queries of an ann-benchmarks file."""
    beside = path.suffix in HDF5 and part == "test" and NEIGHBOURS in parts_of(path)
    neighbours = read_matrix(path).astype(np.int64) if beside else None
    if neighbours is not None and len(neighbours) != (queries := sum(map(len, read_blocks(path, part)))):
        raise DataError(f"{path}: has {len(neighbours)} rows of neighbors for {queries} queries")
    progress, done = Progress(f"reading {path.name}", path.stat().st_size), 0
    for block in read_blocks(path, part):
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused by row
            columns: dict[str, Any] = {"vector": block.astype(np.float32)}
        if neighbours is not None:
            columns[NEIGHBOURS] = neighbours[done : done + len(block)]
        done += len(block)
        progress.advance(block.nbytes)
        yield columns
