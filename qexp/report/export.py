"""What was recommended, as files that Qdrant takes: request bodies, search parameters, Python, and the evidence."""

import json
import re
import shlex
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from qexp.report.record import CollectionRecord, Record
from qexp.results import Row

Body = dict[str, Any]

LINE = 100  # characters in a line of deploy.py

_DISTANCE = {"cosine": "Cosine", "dot": "Dot", "euclid": "Euclid", "manhattan": "Manhattan"}


def create_body(collection: CollectionRecord, quantized: bool) -> Body:
    """Return the body of `PUT /collections/{name}` for servers from 1.19, as the collection was measured."""
    config = collection.config
    body: Body = {
        "vectors": {
            "size": collection.dataset["size"],
            "distance": _DISTANCE[collection.dataset["distance"]],
            "datatype": config["storage.datatype"],
            "memory": config["storage.vectors"],
        },
        "hnsw_config": {
            "m": collection.built("m"),
            "ef_construct": collection.built("ef_construct"),
            "full_scan_threshold": config["index.full_scan_threshold"],
            "memory": config["storage.hnsw"],
        },
        "optimizers_config": {"default_segment_number": config["index.segments"]},
    }
    if "engine.shards" in config:  # Edge has none of them
        body["shard_number"] = config["engine.shards"]
        body["replication_factor"] = config["engine.replicas"]
        body["write_consistency_factor"] = config["engine.write_consistency"]
    if quantized:
        method, given = next(iter(_nested(config, "quantization.config").items()))
        body["quantization_config"] = {method: {**given, "memory": config["storage.quantized"]}}
    return body


def update_body(create: Body, vector: str = "") -> Body:
    """Return the body of `PATCH /collections/{name}`: size, distance and datatype of a collection cannot change.

    `vector` names the vector that is meant. The others, and what all share, like the number of segments, keep what
    they have; without a name there are no others.
    """
    settings = {
        "hnsw_config": create["hnsw_config"],
        "quantization_config": create.get("quantization_config", "Disabled"),
    }
    # What a vector sets for itself wins over what is set for the collection, so it is set there too.
    vectors = {vector: {"memory": create["vectors"]["memory"], **settings}}
    if vector:
        return {"vectors": vectors}
    return {"vectors": vectors, "optimizers_config": create["optimizers_config"], **settings}


def patch_line(collection: CollectionRecord, row: Row) -> list[str]:
    """Return the line that says how to apply a row to `engine.source_collection`; none if nothing is advised."""
    name = collection.config.get("engine.source_collection")
    if not name:
        return []
    return [
        f"{name} is as it was. To apply this to it: {_patch_command(collection, shlex.quote(_patch(collection, row)))}"
    ]


def _patch(collection: CollectionRecord, row: Row) -> str:
    update = update_body(create_body(collection, _quantized(collection, row)), _vector(collection))
    return json.dumps(before_1_19(update) if _is_old(collection) else update)


def _patch_command(collection: CollectionRecord, data: str) -> str:
    config = collection.config
    url = f"{config['engine.url'].rstrip('/')}/collections/{quote(config['engine.source_collection'], safe='')}"
    key = '-H "api-key: $QDRANT_API_KEY"'
    return f"curl -X PATCH {shlex.quote(url)} {key} -H 'Content-Type: application/json' -d {data}"


def _vector(collection: CollectionRecord) -> str:
    """Return the name of the vector that was read from a collection; nothing if it has none."""
    return collection.config.get("dataset.vector") or ""


def _is_old(collection: CollectionRecord) -> bool:
    """Whether it was measured on a server that does not know `memory`."""
    found = re.match(r"server-(\d+)\.(\d+)", collection.tags.get("qexp.engine", ""))
    return found is not None and (int(found[1]), int(found[2])) < (1, 19)


def before_1_19(body: Body) -> Body:
    """Return a body with the flags of servers before 1.19: `on_disk` and `always_ram` instead of `memory`."""
    old: Body = {}
    for key, value in body.items():
        if isinstance(value, dict):
            old[key] = before_1_19(value)
        elif key == "memory":
            continue
        else:
            old[key] = value
        if key == "quantization_config" and isinstance(value, dict):
            for method, given in value.items():
                old[key][method]["always_ram"] = given["memory"] == "pinned"
                old[key][method].pop("on_disk", None)
    if "memory" in body:
        old["on_disk"] = body["memory"] == "cold"
    return old


def search_body(row: Row) -> Body:
    """Return the `params` of a search request: what was measured, nothing left to defaults."""
    params: Body = {}
    if row.params["hnsw_ef"] != "default":
        params["hnsw_ef"] = int(row.params["hnsw_ef"])
    if row.params.get("role") != "baseline":
        params["quantization"] = {
            "ignore": False,
            "rescore": row.params["rescore"] == "true",
            "oversampling": float(row.params["oversampling"]),
        }
    return params


def export(folder: Path, record: Record, row: Row, why: list[str]) -> list[Path]:
    """Write the files for one row into `folder`, each body checked by Qdrant's own models; return their paths.

    `why` are sentences for the evidence.
    """
    from qdrant_client import models

    collection = record.collection_of(row)
    create = create_body(collection, _quantized(collection, row))
    update, params = update_body(create, _vector(collection)), search_body(row)
    old_create, old_update = before_1_19(create), before_1_19(update)
    checked = models.CreateCollection.model_validate(create)
    models.CreateCollection.model_validate(old_create)
    models.UpdateCollection.model_validate(update)
    models.UpdateCollection.model_validate(old_update)
    search = models.SearchParams.model_validate(params)
    texts = {
        "create_collection.json": _json(create),
        "update_collection.json": _json(update),
        "search_params.json": _json(params),
        "before_1_19/create_collection.json": _json(old_create),
        "before_1_19/update_collection.json": _json(old_update),
        "deploy.py": python_source(checked, search, int(row.params["limit"])),
        **_payload_indexes(collection),
        "evidence.json": _json(evidence(record, collection, row, why)),
        "README.md": _readme(collection, row, why),
    }
    paths = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        paths.append(path)
    return paths


def _payload_indexes(collection: CollectionRecord) -> dict[str, str]:
    """Return one body of `PUT /collections/{name}/index` for every payload index, by file name."""
    from qdrant_client import models

    prefix = "dataset.payload_indexes."
    texts: dict[str, str] = {}
    for key, kind in collection.config.items():
        if key.startswith(prefix):
            body = {"field_name": key.removeprefix(prefix), "field_schema": kind}
            models.CreateFieldIndex.model_validate(body)
            texts[f"payload_index_{len(texts) + 1}.json"] = _json(body)
    return texts


def evidence(record: Record, collection: CollectionRecord, row: Row, why: list[str]) -> Body:
    """Return what the recommendation rests on: runs, figures with their intervals, data, machine."""
    return {
        "recommendation": why,
        "runs": {"record": record.run_id, "collection": collection.run_id, "trial": row.run_id or None},
        "reproduce": collection.tags.get("qexp.reproduce"),
        "dataset": collection.dataset,
        "parameters": row.params,
        "metrics": row.metrics,
        "environment": collection.environment,
    }


def python_source(create: BaseModel, search: BaseModel, limit: int) -> str:
    """Return a script that creates the collection and searches it as measured, with qdrant_client's models."""
    renamed = {"vectors": "vectors_config"}
    arguments = [
        f"{renamed.get(name, name)}={_source(value, 8)}"
        for name in type(create).model_fields
        if (value := getattr(create, name)) is not None
    ]
    return f'''"""Create the collection, and search it as it was measured. Written by qexp."""

from qdrant_client import QdrantClient, models


def create(client: QdrantClient, name: str) -> None:
    client.create_collection(
        name,
        {f",{chr(10)}        ".join(arguments)},
    )


def search(client: QdrantClient, name: str, vector: list[float]) -> list[models.ScoredPoint]:
    params = {_source(search, 4)}
    return client.query_points(name, query=vector, search_params=params, limit={limit}).points
'''


def _source(value: object, indent: int) -> str:
    """Return the Python expression that makes a model, an enum member or a plain value."""
    if isinstance(value, Enum):
        return f"models.{type(value).__name__}.{value.name}"
    if not isinstance(value, BaseModel):
        return repr(value)
    fields = [
        f"{name}={_source(inner, indent + 4)}"
        for name in type(value).model_fields
        if name in value.model_fields_set and (inner := getattr(value, name)) is not None
    ]
    inline = f"models.{type(value).__name__}({', '.join(fields)})"
    if len(inline) + indent < LINE:
        return inline
    lines = "".join(f"{' ' * (indent + 4)}{field},\n" for field in fields)
    return f"models.{type(value).__name__}(\n{lines}{' ' * indent})"


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


def _quantized(collection: CollectionRecord, row: Row) -> bool:
    return "quantization.config" not in collection.config and row.params.get("role") != "baseline"


def _json(body: Body) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _readme(collection: CollectionRecord, row: Row, why: list[str]) -> str:
    turbo = " TurboQuant needs 1.18 or newer." if "turbo" in row.params["quantization"] else ""
    patch = "curl -X PATCH $QDRANT_URL/collections/NAME -H 'Content-Type: application/json' -d @update_collection.json"
    if collection.config.get("engine.source_collection"):
        file = f"@{'before_1_19/' if _is_old(collection) else ''}update_collection.json"
        patch = _patch_command(collection, file)
    return f"""# What to deploy

{chr(10).join(f"- {line}" for line in why)}

For Qdrant 1.19 or newer; for older servers there is `before_1_19/`.{turbo}

```bash
curl -X PUT   $QDRANT_URL/collections/NAME -H 'Content-Type: application/json' -d @create_collection.json  # a new one
{patch}  # or yours
```

If there are `payload_index_*.json`, `PUT` each to `/collections/NAME/index`: filters were measured with them.

Send `search_params.json` as `params` with every search (limit {row.params["limit"]}). `deploy.py` does both in Python.
`evidence.json` holds the runs, figures and intervals. Measured on {collection.dataset["points"]:,} points; measure
again when your data changes.
"""
