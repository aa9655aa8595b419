"""A collection that is advised in place: read, never written to, and told how to become the winner."""

import json
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import models

from qexp.config import (
    CollectionDataset,
    EmbeddingConfig,
    ExperimentConfig,
    ServerConfig,
    StorageConfig,
    SyntheticDataset,
)
from qexp.data.vectors import load_data
from qexp.engine.dialect import collection_name
from qexp.engine.server import ServerEngine
from qexp.errors import ConfigError, EngineError
from qexp.report.bodies import before_1_19, update_body
from qexp.usage import QUIET_WORDS, expanded
from tests.conftest import Qexp
from tests.support import reports
from tests.support.qdrant_rest import QdrantRest
from tests.support.running import ran
from tests.test_edge import spec, vectors

SIZE, POINTS = 64, 2000
WORDS = ["quantization=scalar", "search=quick", "search.rounds=2", "search.warmup=5", "slo.min_accuracy=0.5"]


def used(server: QdrantRest, vector: str) -> None:
    """Give the server a collection `mine` that someone else made and uses."""
    params = {"size": SIZE, "distance": "Cosine", "on_disk": True}
    body = {
        "vectors": {vector: params} if vector else params,
        "hnsw_config": {"m": 12, "ef_construct": 80, "full_scan_threshold": 100},
        "optimizers_config": {"default_segment_number": 1, "indexing_threshold": 1},
        "metadata": {"owner": "someone else"},
    }
    server.answer("PUT", "/collections/mine", {}, body)
    mine = server.collections["mine"]
    mine.index({"field_name": "row", "field_schema": "integer"})
    mine.upsert(list(range(POINTS)), vectors(SIZE, POINTS).tolist(), [{"row": row} for row in range(POINTS)])
    mine._optimize()


def everything(server: QdrantRest) -> tuple[Any, ...]:
    """Return all that can be known of `mine`: configuration, counts, metadata, bytes of every point, operations."""
    mine = server.collections["mine"]
    points = mine.scroll(models.ScrollRequest(limit=POINTS + 1, with_vector=True, with_payload=True))
    return reports.info(mine).model_dump_json(), points.model_dump_json(), mine.count(), mine.operations


def settled(server: QdrantRest) -> None:
    while server.collections["mine"].optimizer:
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("vector", "version"), [("", "1.19.0"), ("title", "1.17.1")])
def test_it_stays_as_it_was_and_the_patch_makes_it_the_winner(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path, vector: str, version: str
) -> None:
    with QdrantRest(tmp_path / "server", version) as server:
        used(server, vector)
        before = everything(server)
        named = [f"dataset.vector={vector}"] if vector else []
        done = qexp("engine=server", f"engine.url={server.url}", "engine.source_collection=mine", *named, *WORDS)
        assert done.returncode == 0, done.stderr
        assert everything(server) == before
        to_it = {asked for asked in server.asked if asked.partition(" ")[2].startswith("/collections/mine")}
        assert to_it == {
            "GET /collections/mine",
            "POST /collections/mine/points/count",
            "POST /collections/mine/points/scroll",
            "POST /collections/mine/points",
        }
        ours = [name for name in server.collections if name != "mine"]
        assert len(ours) == 2
        assert all(name.startswith("qexp-mine-") for name in ours)
        assert {server.collections[name].asked.hnsw_config.m for name in ours} == {12}
        assert all(set(server.collections[name].payload_schema) == {"row"} for name in ours)

        (line,) = [line for line in done.stdout.splitlines() if line.startswith("mine is as it was. To apply this")]
        curl = shlex.split(line.partition(": ")[2])
        url, body = curl[curl.index("PATCH") + 1], json.loads(curl[curl.index("-d") + 1])
        assert url == f"{server.url}/collections/mine"
        assert ("memory" in line) is (version == "1.19.0")
        exporting = "from qexp.commands import export; export()"
        exported = ran(environment, tmp_path, "-c", exporting, "--out", "d")
        assert line in exported.stdout
        folder = tmp_path / "d" if version == "1.19.0" else tmp_path / "d" / "before_1_19"
        assert json.loads((folder / "update_collection.json").read_text()) == body
        assert f"curl -X PATCH {url}" in (tmp_path / "d" / "README.md").read_text()

        assert httpx.patch(url, json=body).status_code == 200
        settled(server)
        mine = server.collections["mine"]
        quantization = mine.quantization()
        assert quantization is not None
        assert quantization["scalar"]["type"] == "int8"
        assert (mine.count(), mine.asked.metadata) == (POINTS, {"owner": "someone else"})
        assert reports.memory(mine)["vectors"][0]["quantized"]["disk_bytes"] >= POINTS * SIZE


def test_a_patch_of_a_named_vector_leaves_the_others_alone() -> None:
    create = {
        "vectors": {"size": 8, "distance": "Dot", "memory": "cold"},
        "hnsw_config": {"m": 16, "memory": "cached"},
        "optimizers_config": {"default_segment_number": 1},
        "quantization_config": {"scalar": {"type": "int8", "memory": "pinned"}},
    }
    named, unnamed = update_body(create, 80_000, "title"), update_body(create, 80_000)
    assert set(named) == {"vectors"}
    assert unnamed["optimizers_config"] == create["optimizers_config"] | {"indexing_threshold": 10_000}
    few = update_body(create, 13_500)["optimizers_config"]["indexing_threshold"]
    assert few < 13_500 // 2  # so that the larger of two segments, which are not merged as they are, is indexed
    assert named["vectors"]["title"] == unnamed["vectors"][""]
    assert unnamed["quantization_config"] == named["vectors"]["title"]["quantization_config"]
    old = before_1_19(named)["vectors"]["title"]
    assert old["quantization_config"] == {"scalar": {"type": "int8", "always_ram": True}}
    assert (old["on_disk"], old["hnsw_config"]["on_disk"]) == (True, False)
    hot = update_body(create | {"vectors": {"memory": "cached"}}, 80_000)["vectors"][""]
    assert (hot["memory"], hot["on_disk"]) == ("cached", False)  # whatever the collection had
    for body in (named, unnamed, before_1_19(named), before_1_19(unnamed)):
        models.UpdateCollection.model_validate(body)


def test_what_the_vector_sets_for_itself_is_changed_too(tmp_path: Path) -> None:
    with QdrantRest(tmp_path / "server") as server:
        used(server, "")
        mine = server.collections["mine"]
        own = {"vectors": {"": {"quantization_config": {"binary": {}}}}}
        server.answer("PATCH", "/collections/mine", {}, own)
        settled(server)
        assert "binary" in (mine.quantization() or {})
        create = {
            "vectors": {"memory": "cached"},
            "hnsw_config": {"m": 12, "ef_construct": 80, "full_scan_threshold": 100, "memory": "cached"},
            "optimizers_config": {"default_segment_number": 1},
        }
        for wanted in ({"scalar": {"type": "int8"}}, None):
            body = update_body(create | ({"quantization_config": wanted} if wanted else {}), 500)
            server.answer("PATCH", "/collections/mine", {}, body)
            settled(server)
            assert mine.quantization() == wanted


def test_what_qexp_would_build_is_no_source(tmp_path: Path) -> None:
    asked = spec("scalar", size=32, points=600)
    with QdrantRest(tmp_path / "server") as server:
        config = ServerConfig("server", url=server.url, source_collection=collection_name("qexp", asked))
        with closing(ServerEngine(config)) as engine:
            for attempt in (engine.open, engine.create):
                with pytest.raises(EngineError, match=r"is what qexp would build; set engine\.prefix"):
                    attempt(asked)
        assert not [asked for asked in server.asked if not asked.startswith("GET")]


def test_it_is_the_dataset_unless_one_is_given() -> None:
    words = ["-m", "engine=server", "engine.source_collection=a,b", "--quiet"]
    named = ["engine=server", "dataset=source_collection", "engine.source_collection=a,b"]
    assert expanded(words) == ["-m", *QUIET_WORDS, *named]
    given = ["dataset=wordnet", "engine.source_collection=a"]
    assert expanded(given) == given


URL = "http://localhost:6333"


def advised(**more: Any) -> ExperimentConfig:
    engine = ServerConfig("server", url=URL, source_collection="mine")
    return ExperimentConfig(**{"engine": engine, "dataset": CollectionDataset(url=URL, collection="mine"), **more})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"dataset": SyntheticDataset()}, "not from the dataset 'synthetic'; use dataset=source_collection"),
        ({"dataset": CollectionDataset(url=URL, collection="other")}, "not from the dataset 'other'"),
        ({"dataset": CollectionDataset(url="http://elsewhere:6333", collection="mine")}, "at engine.url"),
        ({"dataset": CollectionDataset(url=URL, collection="mine", distance="dot")}, "dataset.distance=dot cannot be"),
        ({"embedding": EmbeddingConfig(size=32)}, "embedding.size=32 cannot be applied"),
    ],
)
def test_what_contradicts_it_is_refused(more: dict[str, Any], says: str) -> None:
    advised()
    with pytest.raises(ConfigError, match=says) as error:
        advised(**more)
    assert "\n" not in str(error.value)


def test_another_datatype_is_refused_before_a_point_is_read(tmp_path: Path) -> None:
    with QdrantRest(tmp_path / "server") as server:
        used(server, "")
        engine = ServerConfig("server", url=server.url, source_collection="mine")
        dataset = CollectionDataset(url=server.url, collection="mine")
        config = advised(engine=engine, dataset=dataset, storage=StorageConfig("s", datatype="float16"))
        with pytest.raises(ConfigError, match=r"mine holds float32, .* add storage\.datatype=float32"):
            load_data(config, tmp_path / "cache")
        assert server.asked == ["GET /collections/mine", "POST /collections/mine/points/count"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["engine=edge", "engine.source_collection=mine"], "the engine that is chosen has no 'source_collection'"),
        (["engine=server", "engine.source_collection=other"], "no collection 'other' (404)"),
        (["dataset=source_collection"], "names no collection; add engine=server engine.source_collection=NAME"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(qexp: Qexp, tmp_path: Path, words: list[str], says: str) -> None:
    with QdrantRest(tmp_path / "server") as server:
        url = [f"engine.url={server.url}"] if "engine=server" in words else []
        done = qexp(*words, *url)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("qexp: ")]
    assert says in line
    assert "Traceback" not in done.stderr
