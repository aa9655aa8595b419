"""What was recommended, as files that Qdrant takes: request bodies, search parameters, Python, and the evidence."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from pprint import pformat
from textwrap import indent

from pydantic import BaseModel

from qexp.report.bodies import (
    Body,
    as_json,
    before_1_19,
    create_body,
    filter_body,
    is_quantized,
    payload_index_bodies,
    search_body,
    segment_vectors_kib,
    told_before_1_19,
    update_body,
    vector_name,
)
from qexp.report.deploy_readme import readme
from qexp.report.record import CollectionRecord, Record, warnings
from qexp.report.words import notes
from qexp.results import Row

LINE = 100  # characters in a line of deploy.py


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
    for number, body in enumerate(payload_index_bodies(collection), 1):
        bodies[f"payload_index_{number}.json"] = (models.CreateFieldIndex, body)
    checked = {name: kind.model_validate(body) for name, (kind, body) in bodies.items()}
    models.Filter.model_validate(condition)
    texts = {name: as_json(body) for name, (_, body) in bodies.items()} | {
        "deploy.py": python_source(checked, row.point.limit, condition, bool(vector_name(collection))),
        "evidence.json": as_json(evidence(record, collection, row, why)),
        "README.md": readme(collection, row, [*why, *notes(warnings([collection]))], old),
    }
    paths = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def evidence(record: Record, collection: CollectionRecord, row: Row, why: list[str]) -> Body:
    """Return what the recommendation rests on: runs, figures with their intervals, engine, data, machine."""
    return {
        "recommendation": why,
        "notes": warnings([collection]),
        "runs": {"record": record.run_id, "collection": collection.run_id, "trial": row.run_id or None},
        "reproduce": collection.tags.get("qexp.reproduce"),
        "engine": collection.tags.get("qexp.engine"),
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
