"""A live Qdrant collection as a local dataset: read once, page by page, resumable; the collection is only read."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.cache import Kind, lock_name, locked
from qexp.config import CollectionDataset
from qexp.config.dataset import short
from qexp.data.kept import digest_of, whole, write_arrow
from qexp.data.live import ask
from qexp.data.untaken import RATE, hindrances, is_tuned, limits, untaken, warnings
from qexp.errors import DataError, near_miss
from qexp.progress import Progress
from qexp.results import evenly, shard_kib

if TYPE_CHECKING:
    from datasets import Dataset
    from qdrant_client import QdrantClient

log = logging.getLogger(__name__)

PAGE_BYTES = 4 * 2**20  # of vectors in one answer
PAGES_A_PART = 8  # a part that is written stays when the run is interrupted
MOST_IN_PAGE = 2000
COMPARED = 100  # points read again at the end, to see whether the collection has changed
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class About:
    """What identifies the state of a collection, as far as Qdrant tells; a snapshot is only resumed on the same."""

    url: str
    collection: str
    vector: str | None
    payload: bool
    points: int
    size: int
    distance: str
    datatype: str
    m: int | None
    ef_construct: int | None
    full_scan_threshold: int | None
    payload_indexes: dict[str, str]
    tuned_indexes: list[str]
    untaken: list[str]
    limits: dict[str, float]


@dataclass(frozen=True)
class Snapshot:
    """The points as columns `id`, `vector` and `payload` (JSON), what the collection is, what is to be said of it."""

    rows: "Dataset"
    state: str
    about: About
    warnings: list[str]


def take_snapshot(config: CollectionDataset, cache: Path) -> Snapshot:
    """Return the local copy of a collection, reading what of it is not there yet.

    Raises EngineError if the collection cannot be reached, DataError if it has no such dense vector, is empty, or
    changes while it is read.
    """
    import datasets

    with closing(_connect(config)) as client:
        about = _about(client, config)
        folder = cache / Kind.SNAPSHOTS / f"{short(config.collection)}-{digest_of([json.dumps(asdict(about))])}"
        with locked(cache, lock_name(folder), alone=True):  # parts of two readers would mix
            if (folder / "complete").exists():
                log.info("snapshot of %s found in the cache; delete %s to read it again", config.collection, folder)
                os.utime(folder)  # it is used now
            else:
                _read(client, config, about, folder)
                _compare(client, config, about, folder)
                (folder / "complete").touch()
            parts = [datasets.Dataset.from_file(str(part)) for part in _parts(folder)]
            names, found = [part.name for part in _parts(folder)], sum(map(len, parts))
            if found != about.points:
                shutil.rmtree(folder)
                raise DataError(
                    f"{folder}: holds {found} points, {config.url} {config.collection} has {about.points}; it was "
                    "removed: run again to read it anew"
                )
    rows = datasets.concatenate_datasets(parts)
    state = digest_of([*names, json.dumps(asdict(about)), rows._fingerprint])
    tuned = [] if config.payload_indexes else about.tuned_indexes
    return Snapshot(rows, state, about, warnings(config.collection, tuned, about.untaken, about.limits))


def held_datatype(config: CollectionDataset) -> str:
    """Return the datatype of a collection's vectors, of which nothing is read for that; EngineError, DataError."""
    with closing(_connect(config)) as client:
        return _about(client, config).datatype


def _connect(config: CollectionDataset) -> "QdrantClient":
    """Make the client that reads; the key comes from `QDRANT_API_KEY`."""
    from qexp.engine.connection import client_of

    return client_of(config.url, timeout=TIMEOUT_SECONDS)


def _about(client: "QdrantClient", config: CollectionDataset) -> About:
    info = ask(config, partial(client.get_collection, config.collection))
    vectors = info.config.params.vectors
    named = vectors if isinstance(vectors, dict) else {None: vectors}
    known = [name for name in named if name]
    where = f"{config.url} {config.collection}"
    if config.vector is None and known:
        raise DataError(f"{where}: its vectors have names ({', '.join(known)}); set dataset.vector=…")
    if config.vector not in named or named[config.vector] is None:
        asked = f" '{config.vector}'" if config.vector else ""
        unnamed = "; its vector has no name: leave dataset.vector out" if named.get(None) else ""
        raise DataError(f"{where}: no dense vector{asked}{near_miss(config.vector or '', known)}{unnamed}")
    params = named[config.vector]
    if params.multivector_config is not None:
        raise DataError(f"{where}: vector '{config.vector}' is a multivector, which has no single embedding per point")
    strict = info.config.strict_mode_config
    exact = not (strict and strict.enabled and strict.search_allow_exact is False)  # it refuses exact counts then too
    points = ask(config, partial(client.count, config.collection, exact=exact)).count
    if not points:
        raise DataError(f"{where}: the collection is empty")
    own, general = params.hnsw_config, info.config.hnsw_config
    m = general.m if own is None or own.m is None else own.m
    if not m:
        raise DataError(
            f"{where}: has no graph over all points (m: 0), and qexp measures no other; set dataset.vector=…"
        )
    indexes = dict(sorted(info.payload_schema.items())) if config.payload else {}
    datatype = params.datatype.value if params.datatype else "float32"
    kib = shard_kib(points, info.config.params.shard_number or 1, params.size, datatype, params.distance.value.lower())
    return About(
        url=config.url,
        collection=config.collection,
        vector=config.vector,
        payload=config.payload,
        points=points,
        size=params.size,
        distance=params.distance.value.lower(),
        datatype=datatype,
        m=m,
        ef_construct=(own and own.ef_construct) or general.ef_construct,
        full_scan_threshold=(own and own.full_scan_threshold) or general.full_scan_threshold,
        payload_indexes={key: index.data_type.value for key, index in indexes.items()},
        tuned_indexes=[key for key, index in indexes.items() if is_tuned(index)],
        untaken=[*untaken(info.config, params), *hindrances(info.config.optimizer_config, kib, bool(config.vector))],
        limits=limits(strict),
    )


def _read(client: "QdrantClient", config: CollectionDataset, about: About, folder: Path) -> None:
    """Scroll from where the last part ended; each part is a file that knows the offset behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    most = min(MOST_IN_PAGE, int(about.limits.get("max_query_limit", MOST_IN_PAGE)))
    page = max(1, min(most, PAGE_BYTES // (4 * about.size)))
    done, offset = _resume(folder)
    if done:
        log.info("snapshot of %s: resumed behind %s points", config.collection, f"{done:,}")
    progress = Progress(f"reading {config.collection}", about.points, done)
    wanted = [config.vector or ""]  # none of the others
    scroll = partial(client.scroll, config.collection, limit=page, with_payload=config.payload, with_vectors=wanted)
    while done == 0 or offset is not None:
        batches: list[dict[str, Any]] = []
        for _ in range(PAGES_A_PART):
            records, offset = ask(config, partial(scroll, offset=offset), done)
            if records:
                batches.append(_columns(records, config, about))
                progress.advance(len(records))
            if offset is None:
                break
        if not batches:
            break
        count = sum(len(batch["id"]) for batch in batches)
        path = folder / f"{len(_parts(folder)):06d}.arrow"
        write_arrow(path, iter(batches))
        with whole(path.with_suffix(".json")) as note:
            note.write_text(json.dumps({"points": count, "offset": offset}), encoding="utf-8")
        done += count
    if done != about.points:
        _changed(folder, config, f"{done} points were read, it had {about.points}")


def _columns(records: list[Any], config: CollectionDataset, about: About) -> dict[str, Any]:
    vectors = [_vector(record, config) for record in records]
    wrong = next((n for n, vector in enumerate(vectors) if len(vector) != about.size), None)
    if wrong is not None:
        raise DataError(
            f"{config.url} {config.collection} point {records[wrong].id}: {len(vectors[wrong])} components, not "
            f"{about.size}; every point needs the vector '{config.vector or ''}'"
        )
    columns: dict[str, Any] = {
        "id": [str(record.id) for record in records],
        "vector": np.array(vectors, dtype=np.float32),
    }
    if config.payload:
        columns["payload"] = [json.dumps(record.payload or {}) for record in records]
    return columns


def _vector(record: Any, config: CollectionDataset) -> list[float]:
    vector = record.vector.get(config.vector or "") if isinstance(record.vector, dict) else record.vector
    return list(vector or [])


def _compare(client: "QdrantClient", config: CollectionDataset, about: About, folder: Path) -> None:
    """Look at the collection again: as many points as before, and a sample of them unchanged."""
    if _about(client, config) != about:
        _changed(folder, config, "its size or configuration is another one now")
    retrieve = partial(client.retrieve, config.collection, with_payload=False, with_vectors=[config.vector or ""])
    most = int(about.limits.get(RATE, COMPARED))  # every id counts as a read
    for ids, vectors in _sample(folder):
        keys = [int(key) if key.isdigit() else key for key in ids]
        batches = [keys[first : first + most] for first in range(0, len(keys), most)]
        pages = [ask(config, partial(retrieve, batch), about.points) for batch in batches]
        now = {str(record.id): _vector(record, config) for page in pages for record in page}
        for key, vector in zip(ids, vectors, strict=True):
            if key not in now or not np.array_equal(np.array(now[key], dtype=np.float32), vector):
                _changed(folder, config, f"point {key} is gone or has another vector now")


def _sample(folder: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield ids and vectors of about `COMPARED` points, evenly over the parts."""
    import datasets

    parts = _parts(folder)
    for part in parts[:: max(1, len(parts) // COMPARED)]:
        rows = datasets.Dataset.from_file(str(part)).with_format("numpy")
        few = rows[evenly(len(rows), max(1, COMPARED // len(parts)))]
        yield [str(key) for key in few["id"]], np.stack(few["vector"])


def _resume(folder: Path) -> tuple[int, Any]:
    """Return how many points are there and the offset behind them; a part without its note is read again."""
    for part in folder.glob("*.arrow"):
        if not part.with_suffix(".json").exists():
            part.unlink()
    notes = [json.loads(part.with_suffix(".json").read_text(encoding="utf-8")) for part in _parts(folder)]
    return sum(note["points"] for note in notes), notes[-1]["offset"] if notes else None


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow"))


def _changed(folder: Path, config: CollectionDataset, how: str) -> None:
    shutil.rmtree(folder)
    raise DataError(
        f"{config.url} {config.collection}: the collection changed while it was read ({how}); nothing of it was kept; "
        "run again while nobody writes to it"
    )
