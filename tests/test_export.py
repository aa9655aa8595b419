"""What is exported is what Qdrant takes, and gives the recommended accuracy again."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from qexp.bench.blocks import timed_block
from qexp.config import ExperimentConfig, FileDataset, SearchConfig
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.report.bodies import before_1_19, create_body, segment_vectors_kib
from qexp.report.export import export
from qexp.report.recommend import recommend
from qexp.report.record import warnings
from qexp.results import CollectionSpec, OperatingPoint
from tests.test_retention import overlap


@pytest.fixture
def deployed(recorded, tmp_path):
    choice = recommend(recorded.rows, replace(recorded.slo, min_accuracy=0.9)).choice
    assert not choice.baseline
    export(tmp_path / "deploy", recorded, choice.row, ["because"])
    return tmp_path / "deploy", choice


def load(folder: Path, name: str):
    return json.loads((folder / name).read_text())


def test_every_body_is_one_that_qdrant_takes(deployed):
    folder, _ = deployed
    for place in ("", "before_1_19/"):
        models.CreateCollection.model_validate(load(folder, f"{place}create_collection.json"))
        models.UpdateCollection.model_validate(load(folder, f"{place}update_collection.json"))
    models.SearchParams.model_validate(load(folder, "search_params.json"))


def test_older_servers_get_flags_instead_of_memory(deployed):
    folder, _ = deployed
    new, old = load(folder, "create_collection.json"), load(folder, "before_1_19/create_collection.json")
    assert new["vectors"]["memory"] == "cold"
    assert old["vectors"]["on_disk"] is True
    assert old["hnsw_config"]["on_disk"] is False
    assert next(iter(old["quantization_config"].values()))["always_ram"] is True
    assert "memory" not in json.dumps(old)


def called(folder: Path) -> dict:
    """Run `deploy.py`; return with what it creates and searches."""
    scope: dict = {}
    exec((folder / "deploy.py").read_text(), scope)
    given = {}

    class Client(QdrantClient):
        def __init__(self):
            pass

        def create_collection(self, name, **create):
            given["create"] = create

        def create_payload_index(self, name, field, schema):
            given.setdefault("indexes", []).append((field, schema))

        def query_points(self, name, **search):
            given["search"] = search
            return SimpleNamespace(points=[])

    scope["create"](Client(), "words")
    scope["search"](Client(), "words", [0.0])
    return given


def test_python_makes_the_same_requests(deployed):
    folder, choice = deployed
    given = called(folder)
    asked = models.CreateCollection.model_validate(load(folder, "create_collection.json"))
    assert given["create"].pop("vectors_config") == asked.vectors
    assert given["create"] == {name: getattr(asked, name) for name in given["create"]}
    assert given["search"]["search_params"] == models.SearchParams.model_validate(load(folder, "search_params.json"))
    assert given["search"]["limit"] == int(choice.row.params["limit"])
    assert "query_filter" not in given["search"]
    assert "filter" not in (folder / "README.md").read_text()


def test_a_search_names_the_vector_that_has_a_name(recorded, tmp_path):
    first = recorded.collections[0]
    for config, row, said in (
        (first.config, recorded.rows[1], None),
        (first.config | {"dataset.vector": "title"}, recorded.rows[1], '"query": VECTOR, "using": "title", "limit": '),
        (first.config | {"dataset.vector": "title"}, recorded.rows[0], "`using`, in `deploy.py` too, is `title`."),
    ):
        export(tmp_path, replace(recorded, collections=(replace(first, config=config),)), row, [])
        readme = (tmp_path / "README.md").read_text()
        assert said in readme if said else "using" not in readme
        assert called(tmp_path)["search"].get("using", "unsaid") == (None if said else "unsaid")


@pytest.mark.parametrize(
    "condition",
    [
        {"must": [{"key": "city", "match": {"value": 'Rome "Roma"\n'}}, {"key": "year", "range": {"gte": 2001.0}}]},
        {"must": {"key": "a.b", "match": {"except": ["x"]}}, "must_not": [{"has_id": [*range(40)]}]},
        {"should": [{"key": "at", "range": {"gt": "2002-01-01T00:00:00Z"}}, {"is_empty": {"key": "at"}}]},
    ],
)
def test_the_filter_it_was_measured_with_is_in_the_files(recorded, tmp_path, condition):
    first = recorded.collections[0]
    dataset = FileDataset(path="mine.parquet", payload_columns=["city", "year", "a", "at"])
    asked = ExperimentConfig(dataset=dataset, search=SearchConfig(filter=condition)).flat()
    searched = {key: value for key, value in asked.items() if key.startswith("search.filter")}
    filtered = replace(first, config=first.config | searched)
    export(tmp_path, replace(recorded, collections=(filtered,)), recorded.rows[1], [])
    expected = models.Filter.model_validate(condition)
    assert called(tmp_path)["search"]["query_filter"] == expected
    text = (tmp_path / "README.md").read_text()
    assert json.loads(text.partition("```json\n")[2].partition("```")[0]) == condition
    assert "Send this as `filter`, beside `params`" in text
    assert max(map(len, (tmp_path / "deploy.py").read_text().splitlines())) <= 120


def test_an_edge_collection_made_from_it_gives_the_accuracy_again(deployed, recorded, swept, tmp_path):
    folder, choice = deployed
    body, params = load(folder, "create_collection.json"), load(folder, "search_params.json")
    source = next((swept.folder / "cache" / "vectors").iterdir())
    points, queries = np.load(source / "vectors.npy"), np.load(source / "queries.npy")
    quantization = {name: dict(given) for name, given in body["quantization_config"].items()}
    spec = CollectionSpec(
        dataset="deployed",
        digest="0",
        points=len(points),
        size=body["vectors"]["size"],
        distance=body["vectors"]["distance"].lower(),
        datatype=body["vectors"]["datatype"],
        quantized=next(iter(quantization.values())).pop("memory"),
        quantization=quantization,
        method="deployed",
        vectors=body["vectors"]["memory"],
        hnsw=body["hnsw_config"].pop("memory"),
        **body["hnsw_config"],
        segments=body["optimizers_config"]["default_segment_number"],
        engine="edge",
    )
    quantized = params["quantization"]
    asked = OperatingPoint(10, params.get("hnsw_ef"), quantized["rescore"], quantized["oversampling"])

    def results(of: CollectionSpec, point: OperatingPoint):
        engine = EdgeEngine(tmp_path / "collections")
        build_collection(engine, of, points)
        engine.open(of)
        found = timed_block(engine.search(point), queries.tolist(), 10, 0, with_ids=True).ids
        engine.close()
        return found

    again = overlap(results(spec, asked), results(spec.unquantized(), OperatingPoint(10))).mean()
    highest = max(half.high for half in choice.accuracy_halves)
    assert choice.floor - 0.01 <= again <= highest + 0.01  # another build finds slightly other lists


def test_payload_indexes_are_exported(recorded, tmp_path):
    first = recorded.collections[0]
    indexed = replace(first, config=first.config | {"dataset.payload_indexes.colour": "keyword"})
    record = replace(recorded, collections=(indexed,))
    export(tmp_path, record, record.rows[1], [])
    assert load(tmp_path, "payload_index_1.json") == {"field_name": "colour", "field_schema": "keyword"}
    assert called(tmp_path)["indexes"] == [("colour", models.PayloadSchemaType.KEYWORD)]
    readme = (tmp_path / "README.md").read_text()
    # The graph that a PATCH builds has links for filters only if the payload index is there.
    assert "Before any point is uploaded, or before the `PATCH`, `PUT` each `payload_index_*.json`" in readme
    assert readme.index("-d @create_c") < readme.index("-d @payload_index_1.json") < readme.index("-d @update_c")
    taken_over = replace(first, dataset=first.dataset | {"payload_indexes": {"row": "integer"}})
    export(tmp_path, replace(recorded, collections=(taken_over,)), record.rows[1], [])
    assert load(tmp_path, "payload_index_1.json") == {"field_name": "row", "field_schema": "integer"}


def test_the_files_say_what_the_run_warns_of(recorded, tmp_path):
    first = recorded.collections[0]
    noisy = replace(first, tags=first.tags | {"qexp.warnings": "T14 the machine was not steady"})
    export(tmp_path, replace(recorded, collections=(noisy,)), recorded.rows[1], ["Deploy it."])
    assert "- Deploy it.\n- Note: T14 the machine was not steady.\n" in (tmp_path / "README.md").read_text()
    assert load(tmp_path, "evidence.json")["notes"] == ["T14 the machine was not steady"]


def test_the_evidence_is_what_was_recorded(recorded, tmp_path):
    collection, row = recorded.collections[0], recorded.rows[1]
    export(tmp_path, recorded, row, ["because"])
    assert load(tmp_path, "evidence.json") == {
        "recommendation": ["because"],
        "notes": warnings([collection]),
        "runs": {"record": recorded.run_id, "collection": collection.run_id, "trial": row.run_id},
        "reproduce": collection.tags["qexp.reproduce"],
        "engine": collection.tags["qexp.engine"],
        "dataset": collection.dataset,
        "parameters": row.params,
        "metrics": row.metrics,
        "environment": collection.environment,
    }


def test_what_was_written_is_told_and_nothing_for_servers_that_cannot_keep_it(recorded, tmp_path):
    first = recorded.collections[0]
    for hnsw, older in (("cached", 2), ("pinned", 0)):
        placed = replace(first, config=first.config | {"storage.hnsw": hnsw})
        paths = export(tmp_path / hnsw, replace(recorded, collections=(placed,)), recorded.rows[1], [])
        assert set(paths) == {path for path in (tmp_path / hnsw).rglob("*") if path.is_file()}
        assert sum(path.parent.name == "before_1_19" for path in paths) == older


def test_what_few_points_need_is_in_the_files(deployed):
    folder, _ = deployed
    body = json.loads((folder / "create_collection.json").read_text())
    assert body["optimizers_config"]["indexing_threshold"] == body["hnsw_config"]["full_scan_threshold"]
    assert "max_segment_size" not in body["optimizers_config"]
    assert "hence `indexing_threshold`" in (folder / "README.md").read_text()


def test_what_many_points_need_is_in_the_files(recorded, tmp_path):
    first = recorded.collections[0]
    many = replace(first, dataset=first.dataset | {"points": 256_000 * 1024 // 4 // first.dataset["size"] + 1024})
    export(tmp_path, replace(recorded, collections=(many,)), recorded.rows[1], [])
    body = load(tmp_path, "create_collection.json")
    assert body["optimizers_config"].keys() == {"default_segment_number", "max_segment_size"}
    assert body["optimizers_config"]["max_segment_size"] > 2 * 256_000
    assert "hence `max_segment_size`" in (tmp_path / "README.md").read_text()
    models.CreateCollection.model_validate(before_1_19(body))
    two = replace(many, config=many.config | {"index.segments": 2})
    body = create_body(two, quantized=True)
    each = segment_vectors_kib(two)
    assert each < body["optimizers_config"]["max_segment_size"] < 2 * each
    assert body["on_disk_payload"] is True
    export(tmp_path, replace(recorded, collections=(two,)), recorded.rows[1], [])
    assert f"There were 2 segments of {each:,} KiB of vectors in each shard" in (tmp_path / "README.md").read_text()


def test_what_vectors_must_be_is_said(recorded, tmp_path):
    first = recorded.collections[0]
    size = first.dataset["size"]

    def readme(dataset=first.dataset, config=first.config):
        changed = replace(recorded, collections=(replace(first, dataset=dataset, config=config),))
        export(tmp_path, changed, recorded.rows[1], [])
        return (tmp_path / "README.md").read_text()

    assert f"yours must have {size} dimensions, {first.dataset['distance'].lower()} and float32." in readme()
    assert "components" not in readme()
    assert "leave `optimizers_config` out of it" in readme()
    assert "`optimizers_config` out of it" not in readme(config=first.config | {"dataset.vector": "title"})
    assert "has to say it there too, in `vectors`, also to take the quantization back." in readme()
    cut = {**first.dataset, "native_size": 2 * size, "distance": "dot"}
    assert f"the first {size} of {2 * size} components: cut the vectors of points and of queries" in readme(cut)
    assert "normalises" not in readme(cut)
    assert "for cosine Qdrant normalises them again" in readme({**cut, "distance": "cosine"})
    live = {"engine.source_collection": "mine", "engine.url": "http://localhost:6333"}
    assert "yours must have" not in readme(config=first.config | live)
    eight = {**first.config, "quantization.config.turbo.bits": "bits8"}
    del eight["quantization.config.scalar.type"], eight["quantization.config.scalar.quantile"]
    assert "For Qdrant 1.20 or newer; older ones cannot keep it as it was." in readme(config=eight)
