"""Bodies of Qdrant's requests that make a collection, or change one, to what was measured."""

import json
import re
import shlex
from typing import Any
from urllib.parse import quote, urlsplit

from qexp.report.record import CollectionRecord
from qexp.results import INDEXED_FROM, SEGMENT_KIB, Row, method_of, most_segment_kib, shard_kib

Body = dict[str, Any]

REST_PORT = 6333
_PAYLOAD_INDEXES = "dataset.payload_indexes."


def create_body(collection: CollectionRecord, quantized: bool) -> Body:
    """Return the body of `PUT /collections/{name}` for servers from 1.19, as the collection was measured."""
    config = collection.config
    body: Body = {
        "vectors": {
            "size": collection.dataset["size"],
            "distance": collection.dataset["distance"].capitalize(),
            "datatype": config["storage.datatype"],
            **_vectors_memory(config["storage.vectors"]),
        },
        "hnsw_config": {
            "m": collection.built("m"),
            "ef_construct": collection.built("ef_construct"),
            "full_scan_threshold": collection.built("full_scan_threshold"),
            "memory": config["storage.hnsw"],
        },
        "optimizers_config": {"default_segment_number": config["index.segments"]},
        "on_disk_payload": True,
    }
    if "engine.shards" in config:  # Edge has none of them
        body["shard_number"] = config["engine.shards"]
        body["replication_factor"] = config["engine.replicas"]
        body["write_consistency_factor"] = config["engine.write_consistency"]
    if quantized:
        method, given = method_of(_nested(config, "quantization.config"))
        body["quantization_config"] = {method: {**given, "memory": config["storage.quantized"]}}
    kib = segment_vectors_kib(collection)
    if kib < INDEXED_FROM:  # by default nothing would be indexed, nor quantized
        body["optimizers_config"]["indexing_threshold"] = create_threshold(collection)
    if may_split(collection) or config["index.segments"] > 1:
        body["optimizers_config"]["max_segment_size"] = most_segment_kib(kib, config["index.segments"])
    return body


def update_body(create: Body, kib: int, vector: str = "") -> Body:
    """Return the body of `PATCH /collections/{name}`: size, distance and datatype of a collection cannot change.

    A segment had `kib` KiB of vectors. `vector` names the vector that is meant. The others, and what all share, like
    the number of segments, keep what they have; without a name there are no others.
    """
    settings = {
        "hnsw_config": create["hnsw_config"],
        "quantization_config": create.get("quantization_config", "Disabled"),
    }
    # What a vector sets for itself wins over what is set for the collection, so it is set there too.
    vectors = {vector: {**_vectors_memory(create["vectors"]["memory"]), **settings}}
    if vector:
        return {"vectors": vectors}
    optimizers = create["optimizers_config"] | {"indexing_threshold": update_threshold(create, kib)}
    return {"vectors": vectors, "optimizers_config": optimizers, **settings}


def create_threshold(collection: CollectionRecord) -> int:
    """Return the `indexing_threshold` of a collection that is created, in KiB: every segment is indexed, as measured.

    With `validity=warn` the threshold below which searches scan may exceed what a segment has.
    """
    kib = segment_vectors_kib(collection)
    least = kib if _segments(collection) == 1 else kib // 2  # points are dealt by hash: some get fewer
    return INDEXED_FROM if kib >= INDEXED_FROM else max(1, min(least, collection.built("full_scan_threshold")))


def update_threshold(create: Body, kib: int) -> int:
    """Return the `indexing_threshold` of a collection that is patched, in KiB.

    It may have had indexing off, or two segments of which neither is large enough for an index; those are not merged.
    """
    new: int = create["optimizers_config"].get("indexing_threshold", INDEXED_FROM)
    return max(1, min(new, kib // 4))


def _vectors_memory(placement: str) -> Body:
    """Return a placement of vectors, and the old flag that agrees with it.

    A collection in use may have the flag, or `memmap_threshold`. Where they want vectors on disk and `memory` does not,
    Qdrant 1.19 rebuilds them without end; the flag wins over the threshold.
    """
    return {"memory": placement, "on_disk": placement == "cold"}


def told_before_1_19(create: Body) -> bool:
    """Whether servers before 1.19 can be told where the collection is kept.

    There codes are pinned, or cold beside cold vectors, and have at most 4 bits by TurboQuant, the graph is cold or
    cached, and no datatype is TurboQuant's (`engine/dialect.py`).
    """
    allowed = ("pinned", "cold") if create["vectors"]["memory"] == "cold" else ("pinned",)
    codes = create.get("quantization_config", {}).values()
    turbo = create["vectors"].get("datatype", "").startswith("turbo")
    known = create["hnsw_config"]["memory"] != "pinned" and not turbo
    return known and all(given["memory"] in allowed and given.get("bits") != "bits8" for given in codes)


def before_1_19(body: Body) -> Body:
    """Return a body with the flags of servers before 1.19: `on_disk` and `always_ram` instead of `memory`."""
    old: Body = {}
    for key, value in body.items():
        if key != "memory":
            old[key] = before_1_19(value) if isinstance(value, dict) else value
        if key == "quantization_config" and isinstance(value, dict):
            for method, given in value.items():
                old[key][method]["always_ram"] = given["memory"] == "pinned"
                old[key][method].pop("on_disk", None)
    if "memory" in body:
        old["on_disk"] = body["memory"] == "cold"
    return old


def search_body(row: Row) -> Body:
    """Return the `params` of a search request: what was measured, nothing left to defaults."""
    point = row.point
    params: Body = {} if point.hnsw_ef is None else {"hnsw_ef": point.hnsw_ef}
    if not row.baseline:
        params["quantization"] = {"ignore": False, "rescore": point.rescore, "oversampling": point.oversampling}
    return params


def filter_body(collection: CollectionRecord) -> Body:
    """Return the `filter` of a search request: the one that every search was measured with, empty without one."""
    return _nested(collection.config, "search.filter")


def patch_line(collection: CollectionRecord, row: Row) -> list[str]:
    """Return the line that says how to apply a row to `engine.source_collection`; none if nothing is advised."""
    name = collection.config.get("engine.source_collection")
    if not name:
        return []
    return [
        f"{name} is as it was. To apply this to it: {patch_command(collection, shlex.quote(_patch(collection, row)))}"
    ]


def _patch(collection: CollectionRecord, row: Row) -> str:
    create = create_body(collection, is_quantized(collection, row))
    update = update_body(create, segment_vectors_kib(collection), vector_name(collection))
    return json.dumps(before_1_19(update) if is_old(collection) else update)


def patch_command(collection: CollectionRecord, data: str) -> str:
    """Return the command that sends a body to `engine.source_collection`."""
    config = collection.config
    url = f"{_with_port(config['engine.url'])}/collections/{quote(config['engine.source_collection'], safe='')}"
    key = '-H "api-key: $QDRANT_API_KEY"'
    return f"curl -X PATCH {shlex.quote(url)} {key} -H 'Content-Type: application/json' -d {data}"


def _with_port(url: str) -> str:
    """Return the address of a server as qdrant-client takes it, which without a port means Qdrant's own."""
    parts = urlsplit(url.rstrip("/"))
    return url.rstrip("/") if parts.port else parts._replace(netloc=f"{parts.netloc}:{REST_PORT}").geturl()


def is_quantized(collection: CollectionRecord, row: Row) -> bool:
    """Whether a row is of the quantized collection of its job."""
    return "quantization.config" not in collection.config and not row.baseline


def vector_name(collection: CollectionRecord) -> str:
    """Return the name of the vector that was read from a collection; nothing if it has none."""
    return collection.config.get("dataset.vector") or ""


def is_old(collection: CollectionRecord) -> bool:
    """Whether it was measured on a server that does not know `memory`."""
    found = re.match(r"server-(\d+)\.(\d+)", collection.tags.get("qexp.engine", ""))
    return found is not None and (int(found[1]), int(found[2])) < (1, 19)


def segment_vectors_kib(collection: CollectionRecord) -> int:
    """Return the KiB of vectors of one segment, which Qdrant compares with its thresholds."""
    config, facts = collection.config, collection.dataset
    segments = _segments(collection)
    return shard_kib(facts["points"], segments, facts["size"], config["storage.datatype"], facts["distance"])


def _segments(collection: CollectionRecord) -> int:
    """Return how many segments were asked for, in all shards together."""
    shards: int = collection.config.get("engine.shards", 1)
    segments: int = collection.config["index.segments"]
    return shards * segments


def may_split(collection: CollectionRecord) -> bool:
    """Whether by default a machine with few CPUs makes more segments of a shard than were measured."""
    return segment_vectors_kib(collection) > SEGMENT_KIB


def payload_index_bodies(collection: CollectionRecord) -> list[Body]:
    """Return the bodies of `PUT /collections/{name}/index` for every payload index."""
    asked = {
        key.removeprefix(_PAYLOAD_INDEXES): kind
        for key, kind in collection.config.items()
        if key.startswith(_PAYLOAD_INDEXES)
    }
    built = asked or collection.dataset.get("payload_indexes", {})
    return [{"field_name": key, "field_schema": kind} for key, kind in built.items()]


def as_json(body: Body) -> str:
    """Return a body as a file has it."""
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _nested(config: dict[str, Any], prefix: str) -> Body:
    """Return the part of a flattened config below `prefix` as it was written."""
    nested: Body = {}
    for key, value in config.items():
        if key.startswith(f"{prefix}."):
            *path, last = key.removeprefix(f"{prefix}.").split(".")
            place = nested
            for step in path:
                place = place.setdefault(step, {})
            place[last] = value
    return nested
