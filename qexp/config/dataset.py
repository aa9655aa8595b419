"""The schema of datasets and embeddings."""

import re
from dataclasses import dataclass, field
from math import inf

from qexp.config.checks import MISSING, at_least, one_of, require, server_url

DISTANCES = ("cosine", "dot", "euclid", "manhattan")
TRUTHS = ("exact", "neighbours", "engine")
PAYLOAD_INDEXES = ("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")
_FIRST_STEP = re.compile(r'^(?:"([^"]*)"|([^.\[]*))')  # of a JSON path: "a key" or a_key
MOST_BYTES = 64  # of a title and of a method: two of them name files, with host and process, and these end at 255


@dataclass(frozen=True)
class DatasetConfig:
    """What every dataset has.

    `label` names it in tables and runs, `model` names in reports what its vectors are from. `distance` null is the
    dataset's own, else cosine. `truth` is computed (`exact`), given (`neighbours`: a column of the queries, or a file
    with one row per query), or found by the engine's exact search (`engine`). `on_bad_vector: drop` leaves out rows
    without a usable vector. `matryoshka` says that the model was trained for truncation. `payload_indexes` maps payload
    fields to Qdrant's index types; empty is what the live collection has that the dataset comes from, else none.
    """

    label: str | None = None
    model: str | None = None
    distance: str | None = None
    truth: str = "exact"
    neighbours_column: str = "neighbors"
    neighbours_path: str | None = None
    on_bad_vector: str = "error"
    matryoshka: bool = False
    payload_indexes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(
            self.label is None or ("/" not in self.label and self.label == short(self.label)),
            f"dataset.label={self.label}: names files, so it must be without / and of at most {MOST_BYTES} bytes",
        )
        if self.distance is not None:
            one_of("dataset.distance", self.distance, DISTANCES)
        one_of("dataset.truth", self.truth, TRUTHS)
        require(
            self.truth == "neighbours" or self.neighbours_path is None,
            f"dataset.neighbours_path={self.neighbours_path}: is not read with dataset.truth={self.truth}; add "
            f"dataset.truth=neighbours",
        )
        one_of("dataset.on_bad_vector", self.on_bad_vector, ("error", "drop"))
        for key, kind in self.payload_indexes.items():
            one_of(f"dataset.payload_indexes.{key}", kind, PAYLOAD_INDEXES)
            remedy = self.field_missing(key)
            require(remedy is None, f"dataset.payload_indexes.{key}: no payload to index; {remedy}")

    @property
    def title(self) -> str:
        """The name shown for the dataset."""
        return self.label or "dataset"

    @property
    def has_own_ids(self) -> bool:
        """Whether points have ids that are not their row numbers."""
        return False

    def field_missing(self, key: str) -> str | None:
        """Return what to do where no point will have a payload field of this path; None where points may have it."""
        return "this dataset has none; use dataset=file, hub or qdrant_collection"


@dataclass(frozen=True)
class QueriesConfig:
    """Where queries come from.

    With a `path` (a file or a hub dataset), `name` or `split`: from there. Else with a `vector_column`: from that
    column of the points' own rows, where it is not empty; or with a `text_column`, which then has a text in every row.
    Else `held_out` points, sampled with `seed`, become queries and are no points.
    """

    path: str | None = None
    name: str | None = None
    split: str | None = None
    id_column: str | None = None
    vector_column: str | None = None
    text_column: str | None = None
    held_out: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("dataset.queries.held_out", self.held_out, 2)
        at_least("dataset.queries.seed", self.seed, 0, inf)


@dataclass(frozen=True)
class QrelsConfig:
    """Relevance labels, one row per (query id, point id, grade): a configuration `name`, or a table or TREC file."""

    path: str | None = None
    name: str | None = None
    split: str | None = None
    query_column: str = "query"
    point_column: str = "point"
    grade_column: str = "grade"


@dataclass(frozen=True)
class TableDataset(DatasetConfig):
    """Rows with a column of vectors or text; without `vector_column` the only column of vectors is taken.

    Without `id_column` points are known by row number.
    """

    path: str = MISSING
    split: str | None = None
    id_column: str | None = None
    vector_column: str | None = None
    text_column: str | None = None
    payload_columns: list[str] = field(default_factory=list)
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    qrels: QrelsConfig = field(default_factory=QrelsConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.path), "dataset.path=: must name a file, a folder or a dataset of the hub")

    @property
    def title(self) -> str:
        """The label, else the last part of the path without its suffixes."""
        return self.label or short(self.path.rstrip("/").rsplit("/", 1)[-1].split(".")[0]) or "dataset"

    @property
    def has_own_ids(self) -> bool:
        """Whether a column has them."""
        return self.id_column is not None

    def field_missing(self, key: str) -> str | None:
        """Return which column to add where none has the field, or how to write one whose name is taken for a path."""
        quoted, plain = _FIRST_STEP.findall(key)[0]
        column = quoted or plain
        if column in self.payload_columns:
            return None
        if key in self.payload_columns:
            return f"""write '"{key}"', for Qdrant takes {key} for a path that begins at '{column}'"""
        return f"add '{column}' to dataset.payload_columns"


@dataclass(frozen=True)
class HubDataset(TableDataset):
    """Anything `datasets.load_dataset(path, name, split=…, revision=…)` loads, with a column of vectors or text."""

    name: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class FileDataset(TableDataset):
    """A local file or `save_to_disk` folder; `split` is the array inside an `.npz` or HDF5 file."""


@dataclass(frozen=True)
class CollectionDataset(DatasetConfig):
    """A live Qdrant collection, which is only read; `vector` names one of its named vectors."""

    url: str = MISSING
    collection: str = MISSING
    vector: str | None = None
    payload: bool = True
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    qrels: QrelsConfig = field(default_factory=QrelsConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        server_url("dataset.url", self.url)

    @property
    def title(self) -> str:
        """The label, else the collection's name."""
        return self.label or short(self.collection)

    @property
    def has_own_ids(self) -> bool:
        """Every live collection has."""
        return True

    def field_missing(self, key: str) -> str | None:
        """Return how to read payload where it is left out."""
        return None if self.payload else "add dataset.payload=true"


@dataclass(frozen=True)
class SyntheticDataset(DatasetConfig):
    """Gaussian clusters on the unit sphere; queries are drawn from the same clusters."""

    points: int = 10_000
    size: int = 128
    clusters: int = 100
    spread: float = 0.5
    queries: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("points", 1), ("size", 1), ("clusters", 1), ("queries", 2), ("spread", 0)):
            at_least(f"dataset.{key}", getattr(self, key), least)
        at_least("dataset.seed", self.seed, 0, inf)

    @property
    def title(self) -> str:
        """The label, else `synthetic`."""
        return self.label or "synthetic"


def short(name: str) -> str:
    """Return the beginning of a name, of `MOST_BYTES` at most: it names files."""
    return name.encode(errors="ignore")[:MOST_BYTES].decode(errors="ignore")


@dataclass(frozen=True)
class EmbeddingConfig:
    """Where vectors come from, and their size: native (null), or the first `size` components, normalised again.

    `kind` is `column` (the dataset has vectors), `fastembed` (`model` names a fastembed model or a local folder) or
    `callable` (`function` is `module:function` or `file.py:function`, a list of texts in, [n, size] out).
    """

    name: str = "native"
    size: int | None = None
    kind: str = "column"
    model: str | None = None
    function: str | None = None
    pooling: str = "mean"

    def __post_init__(self) -> None:
        at_least("embedding.size", self.size, 2)
        one_of("embedding.kind", self.kind, ("column", "fastembed", "callable"))
        one_of("embedding.pooling", self.pooling, ("mean", "cls"))
        require(self.kind != "fastembed" or bool(self.model), "embedding.model: must be given; add embedding.model=…")
        require(
            self.kind != "callable" or (self.function or "").count(":") == 1,
            f"embedding.function={self.function}: must be module:function or file.py:function; "
            "add embedding.function=…",
        )
