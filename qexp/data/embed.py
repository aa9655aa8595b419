"""Texts to vectors, by a fastembed model or the user's own function, cached by text and model."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.cache import Kind
from qexp.config import EmbeddingConfig
from qexp.data.kept import digest_of, file_digest, table_or_made, write_arrow
from qexp.errors import ConfigError, DataError, in_one_line, near_miss
from qexp.paths import install
from qexp.progress import Progress
from qexp.results import Vectors

if TYPE_CHECKING:
    from datasets import Dataset


SHARD = 1024  # texts; a shard that is done stays done when the run is interrupted
COLUMN = "embedding of text"

Encode = Callable[[list[str]], Any]


@dataclass(frozen=True)
class Encoder:
    """A function from texts to a matrix, and a word that changes when the model does."""

    encode: Encode
    identity: str


def embedded(rows: "Dataset", place: str, column: str, config: EmbeddingConfig, role: str, cache: Path) -> "Dataset":
    """Return the rows with the embedding of a text column beside; `role` is `passage` or `query`.

    Each shard of texts is a file named after its texts and the model. Equal texts of a shard are embedded once.
    Raises ConfigError if the encoder cannot be had, DataError for rows without text and for what it returns that is no
    matrix.
    """
    import datasets

    encoder = _callable(config.function or "") if config.kind == "callable" else _fastembed(config, role, cache)
    folder = cache / Kind.EMBEDDINGS / digest_of([encoder.identity, role])
    progress, files, size = Progress(f"embedding {place}", len(rows)), [], None
    texts_only = rows.select_columns([column]).with_format("arrow")
    for start in range(0, len(rows), SHARD):
        texts = texts_only[start : start + SHARD].column(0).to_pylist()
        _check_texts(texts, start, place, column)
        path = folder / f"{digest_of(texts)}.arrow"
        files.append(table_or_made(path, partial(_embed, path, texts, encoder, config)))
        width = files[-1].features[COLUMN].length
        if size not in (None, width):
            raise DataError(f"{place} row {start}: the encoder made {width} dimensions; before it made {size}")
        size = width
        progress.advance(len(texts))
    return datasets.concatenate_datasets([rows, datasets.concatenate_datasets(files)], axis=1)


def _embed(path: Path, texts: list[str], encoder: Encoder, config: EmbeddingConfig) -> None:
    unique = list(dict.fromkeys(texts))
    matrix = _matrix(encoder.encode(unique), len(unique), config)
    index = {text: row for row, text in enumerate(unique)}
    write_arrow(path, iter([{COLUMN: matrix[[index[text] for text in texts]]}]))


def _callable(name: str) -> Encoder:
    module_name, _, attribute = name.rpartition(":")
    file = Path(module_name).expanduser().absolute() if module_name.endswith(".py") else None
    folder, module_name = (str(file.parent), file.stem) if file else (os.getcwd(), module_name)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a user's queue.py must not stand for Python's
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        where = ""
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            where = f"; looked in {folder} and in what is installed"
            if not file:
                path = module_name.replace(".", "/")
                where += f"; name its file: embedding.function=FOLDER/{path}.py:{attribute}"
        raise ConfigError(f"embedding.function={name}: cannot import {module_name}: {_reason(error)}{where}") from error
    source = getattr(module, "__file__", None)
    if file and source != str(file):
        raise ConfigError(f"embedding.function={name}: {source} has the same name; rename your file")
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ConfigError(f"embedding.function={name}: no function '{attribute}'{near_miss(attribute, known)}")

    def encode(texts: list[str]) -> Any:
        try:
            return function(texts)
        except Exception as error:
            frame = extract_tb(error.__traceback__)[-1]
            raise ConfigError(
                f"embedding.function={name}: fails at {frame.filename}:{frame.lineno}: {_reason(error)}"
            ) from error

    return Encoder(encode, f"{module_name}:{attribute} {file_digest(Path(source)) if source else ''}")


def _fastembed(config: EmbeddingConfig, role: str, cache: Path) -> Encoder:
    try:
        import fastembed
    except ImportError as error:
        raise ConfigError(f"embedding=fastembed needs the package fastembed; run {install('embed')}") from error
    assert config.model is not None
    folder = Path(config.model).expanduser()
    identity = f"{config.model} {fastembed.__version__}"
    options: dict[str, Any] = {"cache_dir": os.environ.get("FASTEMBED_CACHE_PATH", str(cache / Kind.FASTEMBED))}
    name = config.model
    if folder.is_dir():
        name, identity = _register(fastembed, folder, config.pooling)
        options["specific_model_path"] = str(folder)
    else:
        known = [model["model"] for model in fastembed.TextEmbedding.list_supported_models()]
        if name.lower() not in {one.lower() for one in known}:
            hint = near_miss(name, known)
            raise ConfigError(f"embedding.model={name}: neither a folder nor a model of fastembed's{hint}")
    model: Any = None

    def encode(texts: list[str]) -> Any:
        nonlocal model  # loaded when the first text is not in the cache
        try:
            model = model or fastembed.TextEmbedding(name, **options)
            embed = model.query_embed if role == "query" else model.passage_embed
            return np.stack(list(embed(texts)))
        except Exception as error:
            hint = "" if folder.is_dir() else "; a folder with model.onnx and its tokenizer needs no network"
            raise ConfigError(
                f"embedding.model={config.model}: cannot be loaded or run: {_reason(error)}{hint}"
            ) from error

    return Encoder(encode, identity)


def _register(fastembed: Any, folder: Path, pooling: str) -> tuple[str, str]:
    """Make a local folder a model of fastembed's; return its name there and an identity of its content."""
    from fastembed.common.model_description import ModelSource, PoolingType

    onnx = [folder / name for name in ("model.onnx", "onnx/model.onnx", "model_optimized.onnx")]
    found = next((file for file in onnx if file.is_file()), None)
    if found is None:
        raise ConfigError(f"embedding.model={folder}: no model.onnx or onnx/model.onnx in the folder")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix in (".onnx", ".json"))
    identity = digest_of([*(f"{file.name} {file_digest(file)}" for file in files), pooling, fastembed.__version__])
    name = f"local/{identity}"
    if name not in {model["model"] for model in fastembed.TextEmbedding.list_supported_models()}:
        fastembed.TextEmbedding.add_custom_model(
            model=name,
            pooling=PoolingType.MEAN if pooling == "mean" else PoolingType.CLS,
            normalization=True,
            sources=ModelSource(url="file://local"),
            dim=1,  # not known before the model runs, and not looked at
            model_file=str(found.relative_to(folder)),
        )
    return name, identity


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {in_one_line(error)[:300]}"


def _check_texts(texts: list[Any], start: int, place: str, column: str) -> None:
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            what = "no text" if text is None else f"{type(text).__name__}, not text,"
            raise DataError(f"{place} row {start + row}: {what} in column '{column}'")


def _matrix(made: Any, rows: int, config: EmbeddingConfig) -> Vectors:
    name = config.function or config.model
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused by row
            matrix: Vectors = np.asarray(made, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"embedding {name}: returned no matrix of numbers: {error}") from error
    if matrix.ndim != 2 or len(matrix) != rows or not matrix.shape[1]:
        raise DataError(f"embedding {name}: returned shape {matrix.shape} for {rows} texts; must be [{rows}, size]")
    return matrix
