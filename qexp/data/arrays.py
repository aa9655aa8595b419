"""Matrices in files: .npy, .npz, HDF5 of ann-benchmarks, .fvecs and .ivecs, .fbin and .ibin, read block by block."""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tokenize import TokenError  # numpy's, of a header that is cut off
from typing import IO, Any

import numpy as np

from qexp.config.dataset import DISTANCES
from qexp.errors import DataError, in_one_line, near_miss
from qexp.paths import install

BLOCK_BYTES = 8 * 2**20
HDF5 = (".hdf5", ".h5")
MATRICES = (".npy", ".npz", ".fvecs", ".ivecs", ".fbin", ".ibin", *HDF5)

Blocks = Iterator[np.ndarray]


def read_blocks(path: Path, part: str | None) -> Blocks:
    """Yield blocks [rows, columns] of the matrix in a file; `part` is the array inside an .npz or HDF5 file.

    Raises DataError if the file is truncated, is another format, or holds no matrix of numbers.
    """
    reader: Callable[[Path, str | None], Blocks] = {
        ".npy": _npy,
        ".npz": _npz,
        ".fvecs": _vecs,
        ".ivecs": _vecs,
        ".fbin": _bin,
        ".ibin": _bin,
    }.get(path.suffix, _hdf5)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty")
        yield from reader(path, part)
    except (OSError, ValueError, EOFError, TokenError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {in_one_line(error)}") from error


def parts_of(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz or HDF5 file, of two dimensions where known; DataError if broken."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        with _open_hdf5(path) as file:
            return [name for name, item in file.items() if getattr(item, "ndim", 0) == 2]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {in_one_line(error)}") from error


def hdf5_distance(path: Path) -> str | None:
    """Return the distance that an ann-benchmarks file names, in qexp's words; DataError if Qdrant has not that one."""
    names = {"angular": "cosine", "euclidean": "euclid", "dot": "dot", "ip": "dot"}
    with _open_hdf5(path) as file:
        named = file.attrs.get("distance", "")
    named = named.decode() if isinstance(named, bytes) else str(named)
    if named and named not in (*names, *DISTANCES):
        raise DataError(f"{path}: names the distance '{named}', which Qdrant has not; set dataset.distance=…")
    return names.get(named, named or None)


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{path}: HDF5 needs h5py; run {install('hdf5')}") from error
    return h5py.File(path, "r")


def _hdf5(path: Path, part: str | None) -> Blocks:
    with _open_hdf5(path) as file:
        array = file[_part(path, part, parts_of(path), "train")]
        rows = _rows(array.shape, array.dtype, path)
        for start in range(0, len(array), rows):
            yield array[start : start + rows]


def _npz(path: Path, part: str | None) -> Blocks:
    name = _part(path, part, parts_of(path), "vectors")
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        yield from _npy_stream(file, path)


def _npy(path: Path, part: str | None) -> Blocks:
    with path.open("rb") as file:
        yield from _npy_stream(file, path)


def _npy_stream(file: IO[bytes], path: Path) -> Blocks:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    rows = _rows(shape, dtype, path)
    if fortran:
        raise DataError(f"{path}: stored column by column (Fortran order); save numpy.ascontiguousarray of it")
    for start in range(0, shape[0], rows):
        yield _exactly(file, min(rows, shape[0] - start), shape[1], dtype, f"{shape[0]} rows")


def _vecs(path: Path, part: str | None) -> Blocks:
    """Every row is its length as an int32, then its components (TEXMEX)."""
    kind = np.dtype("<f4" if path.suffix == ".fvecs" else "<i4")
    total = os.path.getsize(path)
    with path.open("rb") as file:
        size = int(np.frombuffer(file.read(4).ljust(4, b"\0"), "<i4")[0])
        if size <= 0 or total % (4 * (size + 1)):
            raise DataError(f"{path}: {total} bytes are no whole number of rows of {size} components: truncated?")
        file.seek(0)
        count, rows = total // (4 * (size + 1)), _rows((1, size), kind, path)
        for start in range(0, count, rows):
            block = _exactly(file, min(rows, count - start), size + 1, np.dtype("<i4"), f"{count} rows")
            other = np.flatnonzero(block[:, 0] != size)
            if other.size:
                row = int(other[0])
                raise DataError(f"{path} row {start + row}: {block[row, 0]} dimensions; row 0 has {size}")
            yield block[:, 1:].view(kind)


def _bin(path: Path, part: str | None) -> Blocks:
    """Two int32, rows and components, then the matrix; exact neighbours of big-ann have as many distances after it."""
    kind = np.dtype("<f4" if path.suffix == ".fbin" else "<i4")
    with path.open("rb") as file:
        header = np.frombuffer(file.read(8).ljust(8, b"\0"), "<u4")
        count, size = int(header[0]), int(header[1])
        wanted, total = 8 + 4 * count * size, os.path.getsize(path)
        if size == 0 or total not in (wanted, 2 * wanted - 8):
            raise DataError(f"{path}: {total} bytes, but {count} rows of {size} components need {wanted}: truncated?")
        rows = _rows((count, size), kind, path)
        for start in range(0, count, rows):
            yield _exactly(file, min(rows, count - start), size, kind, f"{count} rows")


def _exactly(file: IO[bytes], rows: int, columns: int, dtype: Any, whole: str) -> np.ndarray:
    wanted = rows * columns * dtype.itemsize
    raw = file.read(wanted)
    if len(raw) < wanted:
        raise EOFError(f"the file ends before its {whole}: truncated")
    return np.frombuffer(raw, dtype).reshape(rows, columns)


def _rows(shape: tuple[int, ...], dtype: Any, path: Path) -> int:
    """Return the rows of one block; refuse what is no matrix of numbers."""
    if len(shape) != 2 or dtype.kind not in "fiu":
        raise DataError(f"{path}: holds an array of shape {shape} and type {dtype}, not a matrix of numbers")
    if not shape[0] or not shape[1]:
        raise DataError(f"{path}: is empty, shape {shape}")
    return max(1, BLOCK_BYTES // (shape[1] * int(dtype.itemsize)))


def _part(path: Path, asked: str | None, known: list[str], usual: str) -> str:
    """Return the array to read: the asked one, else the usual one, else the only one."""
    if asked is None and (usual in known or len(known) == 1):
        return usual if usual in known else known[0]
    if asked in known:
        return str(asked)
    if not known:
        raise DataError(f"{path}: holds no array{' of two dimensions at its top level' if path.suffix in HDF5 else ''}")
    several = "several arrays; set dataset.split=… (of queries: dataset.queries.split=…)"
    wanted = f"no array '{asked}'" if asked else several
    raise DataError(f"{path}: {wanted}{near_miss(asked or usual, known)}")
