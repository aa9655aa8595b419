"""A collection in the words of a Qdrant version."""

import re
from typing import Any

from qexp.errors import EngineError
from qexp.results import CollectionSpec, method_of, most_segment_kib

Version = tuple[int, ...]  # as many numbers as are known, or needed

OLDEST: Version = (1, 15)
METADATA: Version = (1, 15, 4)  # collections carry metadata
OPTIMIZATIONS: Version = (1, 17)  # GET /collections/{name}/optimizations
MEMORY_REPORT: Version = (1, 18)  # GET /collections/{name}/memory
MEMORY_WORDS: Version = (1, 19)  # memory: cold|cached|pinned instead of on_disk and always_ram
METHODS: dict[str, Version] = {"turbo": (1, 18)}
BITS: dict[str, Version] = {"bits8": (1, 20)}  # of TurboQuant
DATATYPES: dict[str, Version] = {"turbo4": (1, 19), "turbo8": (1, 20), "turbo16": (1, 20)}

LONGEST_NAME = 200
INDEX_NEVER = 0
MARK = "qexp"  # the key in a collection's metadata that makes it ours


def parse_version(text: str, url: str) -> Version:
    """Return the version's numbers; raise EngineError if it is too old."""
    found = re.match(r"\d+\.\d+(\.\d+)?", text)
    if not found:
        raise EngineError(f"engine.url={url}: answers with version '{text}', which is none of Qdrant's")
    version = tuple(map(int, found[0].split(".")))
    if version < OLDEST:
        raise EngineError(
            f"engine.url={url}: is Qdrant {text}; qexp needs {_dotted(OLDEST)} or newer: update the server"
        )
    return version


def collection_name(prefix: str, spec: CollectionSpec) -> str:
    """Return the prefix and the spec's name, in characters that Qdrant allows in a collection's name."""
    name = re.sub(r"[^\w.-]", "-", spec.name, flags=re.ASCII)
    return f"{prefix}-{name[-(LONGEST_NAME - len(prefix)) :]}"


def creation(spec: CollectionSpec, version: Version, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the body that creates the collection, indexing deferred; EngineError if the version cannot say it."""
    asked = f"{spec.name}: storage.datatype={spec.datatype}"
    _need(DATATYPES.get(spec.datatype, OLDEST), version, asked, "update it or choose another datatype")
    vectors: dict[str, Any] = {"size": spec.size, "distance": spec.distance.capitalize(), "datatype": spec.datatype}
    hnsw: dict[str, Any] = {name: getattr(spec, name) for name in ("m", "ef_construct", "full_scan_threshold")}
    # Whatever the server's defaults are: with inline storage every search of codes rescores.
    hnsw |= {"payload_m": spec.m, "inline_storage": False}
    codes: dict[str, Any] = {}
    # Beside `memory` too: 1.19 rebuilds without end what `memory` wants in RAM and a default of the server's on disk.
    vectors["on_disk"] = spec.vectors == "cold"
    if version >= MEMORY_WORDS:
        vectors["memory"], hnsw["memory"], codes["memory"] = spec.vectors, spec.hnsw, spec.quantized
    else:
        _refuse_unspeakable(spec, version)
        hnsw["on_disk"] = spec.hnsw == "cold"
        codes["always_ram"] = spec.quantized == "pinned"
    body: dict[str, Any] = {
        "vectors": vectors,
        "hnsw_config": hnsw,
        "optimizers_config": {
            "default_segment_number": spec.segments,
            "max_segment_size": most_segment_kib(spec.segment_kib, spec.segments),
            "indexing_threshold": INDEX_NEVER,
        },
        "shard_number": spec.shards,
        "replication_factor": spec.replicas,
        "write_consistency_factor": spec.write_consistency,
        "on_disk_payload": True,  # whatever the server's default is
        "strict_mode_config": {"enabled": False},  # likewise: it may refuse batches, or searches to be measured
    }
    method, given = method_of(spec.quantization)
    if method:
        body["quantization_config"] = {method: given | codes}
    if version >= METADATA:
        body["metadata"] = metadata
    return body


def check_quantization(quantization: dict[str, Any] | None, version: Version, where: str) -> None:
    """Raise EngineError for a quantization method, or bits of it, that the version does not know."""
    method, given = method_of(quantization)
    bits = given.get("bits", "")
    needed = max(METHODS.get(method, OLDEST), BITS.get(bits, OLDEST))
    asked = f"{where}: quantization '{method}'{f' of {bits}' if bits in BITS else ''}"
    _need(needed, version, asked, "update it or choose another quantization")


def codes_beside(vectors: str) -> str:
    """Return where codes of which nothing is said are kept, by the placement of the vectors."""
    return "cold" if vectors == "cold" else "pinned"


def _refuse_unspeakable(spec: CollectionSpec, version: Version) -> None:
    """Raise EngineError for what on_disk and always_ram cannot express."""
    placed_alone = spec.quantization and spec.quantized not in ("pinned", codes_beside(spec.vectors))
    if spec.hnsw == "pinned" or placed_alone:
        asked = f"{spec.name}: storage vectors={spec.vectors} quantized={spec.quantized} hnsw={spec.hnsw}"
        before = "before, codes are pinned, or cold beside cold vectors, and the graph is cold or cached"
        _need(MEMORY_WORDS, version, asked, before)


def _need(needed: Version, version: Version, asked: str, remedy: str) -> None:
    """Raise EngineError for what is asked of a version before the one needed."""
    if needed > version:
        raise EngineError(f"{asked} needs Qdrant {_dotted(needed)}, the server is {_dotted(version)}: {remedy}")


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
