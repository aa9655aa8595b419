"""The folder of an Edge collection: the shard, and a manifest that says that it is complete; it needs no engine."""

import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from socket import gethostname
from typing import Any

from qexp.engine.base import described
from qexp.engine.process import files_below
from qexp.results import PAYLOAD_INDEXES, Build, CollectionSpec, CollectionState, method_of

SHARD = "shard"
MANIFEST = "complete.json"
JOURNAL = "tracker_journal.dat"  # of the payload storage; gone after the first loading
UNFINISHED = ".atomicwrite"  # the configuration, which every process that loads the shard writes anew
_MANIFEST_KEYS = {"upload_seconds", "index_seconds", "sizes"}
_COMPONENTS = (  # the first that a path below a segment has in it
    ("vectors", "vector_storage/matrix.dat"),
    ("vectors", "vector_storage/tq_vectors.dat"),  # of TurboQuant as a datatype
    ("codes", "vector_storage/quantized.data"),
    ("graph", "vector_index/"),
    ("id tracker", "id_tracker."),
    ("payload", "payload_index/config.json"),  # there without any index too
    (PAYLOAD_INDEXES, "payload_index/"),
    ("payload", "payload_"),
)


def begin(home: Path, name: str) -> Path:
    """Return an empty folder that is not known by its name yet.

    What builds of this machine left whose process is gone is removed; other machines may share the cache.
    """
    home.mkdir(parents=True, exist_ok=True)
    mark = f".partial-{gethostname()}-"
    _remove_abandoned(home, mark)
    return Path(tempfile.mkdtemp(prefix=name, suffix=f"{mark}{os.getpid()}", dir=home))


def complete(folder: Path, spec: CollectionSpec, build: Build) -> Path:
    """Write the manifest and rename the folder after its spec, unless another process did so first; return it."""
    manifest = {
        "spec": asdict(spec),
        "upload_seconds": build.upload_seconds,
        "index_seconds": build.index_seconds,
        "sizes": _sizes(folder / SHARD),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    target = folder.parent / spec.name
    if target.exists():
        shutil.rmtree(folder)
    else:
        folder.rename(target)
    return target


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a complete folder.

    Raises FileNotFoundError or ValueError if it is not complete, or has changed since; other OSErrors say that it
    cannot be read.
    """
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not manifest.keys() >= _MANIFEST_KEYS:
        raise ValueError(f"{MANIFEST} is not complete")
    if _sizes(folder / SHARD) != manifest["sizes"]:
        raise ValueError("files changed since the collection was built")
    return manifest


def read_state(folder: Path, points: int, indexed_vectors: int) -> CollectionState:
    """Read the configuration files, and the sizes of the shard's files by component, beside what the engine counts.

    The shard's has what was asked for, and where vectors are; what was built is in that of the indexed segment.
    """
    shard = folder / SHARD
    config = json.loads((shard / "edge_config.json").read_text(encoding="utf-8"))
    indexed = indexed_segments(shard)
    vectors, hnsw, codes = config["vectors"][""], config["hnsw_config"], config.get("quantization_config")
    for segment in indexed:  # one, else T05
        own = json.loads((segment / "segment.json").read_text(encoding="utf-8"))["config"]["vector_data"][""]
        vectors |= {name: own[name] for name in ("size", "distance", "datatype")}
        hnsw, codes = own["index"]["options"], own.get("quantization_config")
    method, inner = method_of(codes)
    quantized = inner.pop("memory", None)
    return CollectionState(
        points=points,
        indexed_vectors=indexed_vectors,
        segments=len(indexed),
        **described(vectors, hnsw),
        quantization={method: inner} if method else None,
        placements={"vectors": vectors.get("memory"), "hnsw": hnsw.get("memory"), "quantized": quantized},
        files=_component_bytes(shard, indexed),
    )


def indexed_segments(shard: Path) -> list[Path]:
    """Return the segments with a graph; the one beside them waits for new points."""
    return [s for s in shard.glob("segments/*") if (s / "vector_index" / "hnsw_config.json").exists()]


def component(file: Path, indexed: list[Path]) -> str:
    """Return which component a file is part of; what is outside of the indexed segments is `other`."""
    below = next((str(file.relative_to(segment)) for segment in indexed if file.is_relative_to(segment)), "")
    return next((name for name, part in _COMPONENTS if below and part in below), "other")


def _component_bytes(shard: Path, indexed: list[Path]) -> dict[str, int]:
    total: dict[str, int] = {}
    for file in files_below(shard):
        with suppress(FileNotFoundError):
            size = file.stat().st_size
            if UNFINISHED not in str(file):
                part = component(file, indexed)
                total[part] = total.get(part, 0) + size
    return total


def _sizes(shard: Path) -> dict[str, int]:
    """Return the size of every file of every segment; the files above them, and journals, change with loading."""
    files = sorted(file for file in (shard / "segments").rglob("*") if file.is_file() and file.name != JOURNAL)
    return {str(file.relative_to(shard)): file.stat().st_size for file in files}


def _remove_abandoned(home: Path, mark: str) -> None:
    import psutil

    for folder in home.glob("*.partial-*"):
        _, marked, builder = folder.name.rpartition(mark)
        if marked and builder.isdecimal() and not psutil.pid_exists(int(builder)):
            shutil.rmtree(folder, ignore_errors=True)
