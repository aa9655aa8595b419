"""What was recommended, as files that Qdrant takes: request bodies, search parameters, Python, and the evidence."""

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from pprint import pformat
from textwrap import indent

from pydantic import BaseModel

from qexp.report.bodies import (
    SEGMENT_KIB,
    Body,
    before_1_19,
    create_body,
    filter_body,
    is_old,
    is_quantized,
    may_split,
    patch_command,
    search_body,
    segment_vectors_kib,
    told_before_1_19,
    update_body,
    update_threshold,
    vector_name,
)
from qexp.report.record import CollectionRecord, Record, warnings
from qexp.report.words import notes
from qexp.results import INDEXED_FROM, Row

LINE = 100  # characters in a line of deploy.py

_PAYLOAD_INDEXES = "dataset.payload_indexes."
_REQUEST = "$QDRANT_URL/collections/NAME"
_LATER = (
    "The `PATCH` sets HNSW and quantization for the vector itself, which wins over what is set for the collection: one "
    "that changes them later has to say it there too, in `vectors`, also to take the quantization back.\n\n"
)
_GROWING = (
    "Each time so many have come, the smallest segment is built anew with them, as long as both fit into one: all of "
    "the points where it is the only one. Where points keep coming, leave `default_segment_number` and "
    "`max_segment_size` out, for several segments by the machine's CPUs (2 to 8), and measure `index.segments=…`."
)
_HEADERS = """-H "api-key: $QDRANT_API_KEY" -H 'Content-Type: application/json'"""


def export(folder: Path, record: Record, row: Row, why: list[str]) -> list[Path]:
    """Write the files for one row into `folder`, each body checked by Qdrant's own models; return their paths.

    `why` are sentences for the evidence.
    """
    from qdrant_client import models

    collection = record.collection_of(row)
    create, condition = create_body(collection, is_quantized(collection, row)), filter_body(collection)
    update = update_body(create, segment_vectors_kib(collection), vector_name(collection))
    bodies: dict[str, tuple[type[BaseModel], Body]] = {
        "create_collection.json": (models.CreateCollection, create),
        "update_collection.json": (models.UpdateCollection, update),
    }
    old = told_before_1_19(create)
    if old:
        bodies |= {f"before_1_19/{name}": (kind, before_1_19(body)) for name, (kind, body) in bodies.items()}
    bodies["search_params.json"] = (models.SearchParams, search_body(row))
    for number, body in enumerate(_payload_indexes(collection), 1):
        bodies[f"payload_index_{number}.json"] = (models.CreateFieldIndex, body)
    checked = {name: kind.model_validate(body) for name, (kind, body) in bodies.items()}
    models.Filter.model_validate(condition)
    texts = {name: _json(body) for name, (_, body) in bodies.items()} | {
        "deploy.py": python_source(checked, row.point.limit, condition, bool(vector_name(collection))),
        "evidence.json": _json(evidence(record, collection, row, why)),
        "README.md": _readme(collection, row, [*why, *notes(warnings([collection]))], old),
    }
    paths = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def _payload_indexes(collection: CollectionRecord) -> list[Body]:
    """Return the bodies of `PUT /collections/{name}/index` for every payload index."""
    asked = {
        key.removeprefix(_PAYLOAD_INDEXES): kind
        for key, kind in collection.config.items()
        if key.startswith(_PAYLOAD_INDEXES)
    }
    built = asked or collection.dataset.get("payload_indexes", {})
    return [{"field_name": key, "field_schema": kind} for key, kind in built.items()]


def evidence(record: Record, collection: CollectionRecord, row: Row, why: list[str]) -> Body:
    """Return what the recommendation rests on: runs, figures with their intervals, data, machine."""
    return {
        "recommendation": why,
        "notes": warnings([collection]),
        "runs": {"record": record.run_id, "collection": collection.run_id, "trial": row.run_id or None},
        "reproduce": collection.tags.get("qexp.reproduce"),
        "dataset": collection.dataset,
        "parameters": row.params,
        "metrics": row.metrics,
        "environment": collection.environment,
    }


def python_source(bodies: Mapping[str, BaseModel], limit: int, condition: Body, named: bool) -> str:
    """Return a script that creates the collection and searches it as measured, with qdrant_client's models.

    `bodies` are those of the files by their names. Where the vector has a name in the collection that was read
    (`named`), its search can be told: `create` gives none.
    """
    create, search = bodies["create_collection.json"], bodies["search_params.json"]
    indexes = [body for name, body in bodies.items() if name.startswith("payload_index_")]
    fields = [", ".join(_source(getattr(one, name), 8) for name in ("field_name", "field_schema")) for one in indexes]
    indexing = "".join(f"\n    client.create_payload_index(name, {field})" for field in fields)
    renamed = {"vectors": "vectors_config"}
    arguments = [
        f"{renamed.get(name, name)}={_source(value, 8)}"
        for name in type(create).model_fields
        if (value := getattr(create, name)) is not None
    ]
    only, sent = "", ""
    if condition:  # verbatim, because the models rename some keys and turn times into objects
        given = indent(pformat(condition, width=LINE - 8, sort_dicts=False), " " * 8)
        only, sent = f"\n    only = models.Filter.model_validate(\n{given}\n    )", ", query_filter=only"
    using, by_name = (", using: str | None = None", ", using=using") if named else ("", "")
    return f'''"""Create the collection, and search it as it was measured. Written by qexp."""

from qdrant_client import QdrantClient, models


def create(client: QdrantClient, name: str) -> None:
    client.create_collection(
        name,
        {f",{chr(10)}        ".join(arguments)},
    ){indexing}


def search(client: QdrantClient, name: str, vector: list[float]{using}) -> list[models.ScoredPoint]:
    params = {_source(search, 4)}{only}
    return client.query_points(
        name, query=vector{by_name}{sent}, search_params=params, limit={limit}, with_payload=False
    ).points
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


def _json(body: Body) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _vectors(collection: CollectionRecord) -> str:
    """Return what vectors must be for the figures to hold: paragraphs for the README; nothing of a live collection."""
    if collection.config.get("engine.source_collection"):
        return ""
    facts, datatype = collection.dataset, collection.config["storage.datatype"]
    size, native, distance = facts["size"], facts.get("native_size", facts["size"]), facts["distance"].lower()
    cut = ""
    if native != size:
        again = "; for cosine Qdrant normalises them again" if distance == "cosine" else ""
        cut = (
            f"What was measured are the first {size:,} of {native:,} components: cut the vectors of points and of "
            f"queries alike before they are sent{again}.\n\n"
        )
    unnamed = (
        "The `PATCH` has indexed segments built anew, and those beyond the number that was measured merged (none is "
        "split); leave `optimizers_config` out of it to keep the number that you have, and when they are indexed. "
        'Where it says `""`, put the name of your vector if it has one. '
    )
    return (
        f"{cut}{'' if vector_name(collection) else unnamed}The `PATCH` leaves size, distance and datatype of vectors "
        f"as they are, which no collection can change: yours must have {size:,} dimensions, {distance} and "
        f"{datatype}.\n\n"
    )


def _indexing(collection: CollectionRecord) -> str:
    """Return what is to be known where payload indexes or few points need it: paragraphs for the README."""
    paragraphs = []
    if _payload_indexes(collection):
        paragraphs.append(
            "Before any point is uploaded, or before the `PATCH`, `PUT` each `payload_index_*.json` to "
            "`/collections/NAME/index`, unless the collection has an index on that field: the graph has the links for "
            "searches with a filter, as measured, only if it is built when the payload indexes are there."
        )
    kib = segment_vectors_kib(collection)
    if kib < INDEXED_FROM:
        paragraphs.append(
            f"By default a segment of less than {INDEXED_FROM:,} KiB of vectors has no index and no scalar or product "
            f"codes, and one of these has {kib:,} KiB: hence `indexing_threshold`. Leave it out where many more points "
            "come."
        )
    if (segments := collection.config["index.segments"]) > 1:
        paragraphs.append(
            f"There were {segments} segments of {kib:,} KiB of vectors in each shard: hence `max_segment_size`, in "
            "which two of them do not fit, for Qdrant would index two as one. Raise it where many more points come."
        )
    elif may_split(collection):
        paragraphs.append(
            f"By default a machine with few CPUs makes no segment of more than {SEGMENT_KIB:,} KiB of vectors, so more "
            f"of them than were measured; one of these has {kib:,} KiB: hence `max_segment_size`, room for twice as "
            "many."
        )
    threshold = collection.built("full_scan_threshold") if kib < INDEXED_FROM else INDEXED_FROM
    patched = threshold if vector_name(collection) else update_threshold(create_body(collection, False), kib)
    after = f" ({patched:,} where the `PATCH` was sent)" if patched != threshold else ""
    paragraphs.append(
        "All points were in the index when it was measured. Points that are uploaded later wait outside of it until "
        f"they are {threshold:,} KiB of vectors{after}, and every search scans those that wait. To have a new "
        "collection as it was measured, create it with `indexing_threshold` 0 in `optimizers_config`, upload all "
        "points, and only then `PATCH` "
        f'`{{"optimizers_config": {{"indexing_threshold": {threshold}}}}}`. To have all of yours in it, `PATCH` that '
        "threshold to 1 once it is green after the other `PATCH`, and once it is green again, back."
    )
    return "".join(f"{paragraph}\n\n" for paragraph in [*paragraphs, _GROWING])


def _params(collection: CollectionRecord, row: Row) -> str:
    """Return what a search has to send, with an example: paragraphs for the README."""
    params, limit, name = search_body(row), row.point.limit, vector_name(collection)
    using = (
        f"\n\nIn your collection a search names the vector: `using`, in `deploy.py` too, is `{name}`." if name else ""
    )
    if not params:
        return f"A search sends no `params` (limit {limit}).{using}"
    sent = json.dumps({**({"using": name} if name else {}), "limit": limit, "params": params}, ensure_ascii=False)
    return (
        f"Send `search_params.json` as `params` with every search (limit {limit}):\n\n```bash\n"
        f"curl -X POST {_REQUEST}/points/query {_HEADERS} "
        f"-d '{{\"query\": VECTOR, {sent[1:]}'\n```{using}"
    )


def _filtered(collection: CollectionRecord) -> str:
    """Return what is to be known of the filter that every search was measured with: a paragraph for the README."""
    condition = filter_body(collection)
    if not condition:
        return ""
    return (
        "Send this as `filter`, beside `params`, too: every search was measured with it, and the figures hold for "
        f"searches with it alone.\n\n```json\n{_json(condition)}```\n\n"
    )


def _readme(collection: CollectionRecord, row: Row, why: list[str], has_old: bool) -> str:
    quantized = not row.baseline
    turbo = quantized and any(key.startswith("quantization.config.turbo") for key in collection.config)
    older = (
        f"for older servers there is `before_1_19/`.{' TurboQuant needs 1.18 or newer.' if turbo else ''}"
        if has_old
        else "older ones cannot keep it as it was."
    )
    patch = f"curl -X PATCH {_REQUEST} {_HEADERS} -d @update_collection.json"
    if collection.config.get("engine.source_collection"):
        file = f"@{'before_1_19/' if is_old(collection) else ''}update_collection.json"
        patch = patch_command(collection, file)
    put = f"curl -X PUT {_REQUEST}/index {_HEADERS} -d @payload_index"
    indexes = "".join(f"{put}_{number}.json\n" for number, _ in enumerate(_payload_indexes(collection), 1))
    newest = collection.config["storage.datatype"] in ("turbo16", "turbo8") or (
        quantized and collection.config.get("quantization.config.turbo.bits") == "bits8"
    )
    since = "1.20" if newest else "1.19"
    before = _vectors(collection) + _LATER + _indexing(collection)
    return f"""# What to deploy

{chr(10).join(f"- {line}" for line in why)}

For Qdrant {since} or newer; {older}

```bash
curl -X PUT {_REQUEST} {_HEADERS} -d @create_collection.json  # a new one
{indexes}{patch}  # or yours
```

{before}{_params(collection, row)}

{_filtered(collection)}`deploy.py` has the same in Python, as functions `create` and `search`.
It wants `qdrant-client` {since} or newer, and such a server: older ones ignore `memory`.
`evidence.json` holds the runs, figures and intervals. Measured on {collection.dataset["points"]:,} points; measure
again when your data changes.
"""
