"""Bodies of requests, from a record made by hand: exactly what was measured, and nothing left to defaults."""

import json
import shlex

import pytest
from qdrant_client import QdrantClient, models

from qexp.bench.notes import notes
from qexp.report.bodies import (
    Body,
    before_1_19,
    create_body,
    filter_body,
    is_quantized,
    patch_line,
    payload_index_bodies,
    search_body,
    segment_vectors_kib,
    told_before_1_19,
    update_body,
    update_threshold,
)
from qexp.report.deploy_readme import indexing
from qexp.report.record import CollectionRecord
from qexp.results import Row
from tests.test_edge import spec

CONFIG: Body = {
    "quantization.config.scalar.type": "int8",
    "quantization.config.scalar.quantile": 0.99,
    "storage.datatype": "float16",
    "storage.vectors": "cold",
    "storage.quantized": "pinned",
    "storage.hnsw": "cached",
    "index.segments": 1,
}
FACTS: Body = {
    "points": 20_000,
    "size": 384,
    "distance": "cosine",
    "m": 12,
    "ef_construct": 80,
    "full_scan_threshold": 9000,
}
BASELINE, TRIAL = (Row({"limit": "10", "hnsw_ef": "default", **role}, {}) for role in ({"role": "baseline"}, {}))


def made(config: Body | None = None, facts: Body | None = None, engine: str = "") -> CollectionRecord:
    return CollectionRecord("", CONFIG | (config or {}), {}, {"qexp.engine": engine}, FACTS | (facts or {}), {}, ())


def test_a_collection_is_made_as_it_was_measured() -> None:
    assert create_body(made(), quantized=True) == {
        "vectors": {"size": 384, "distance": "Cosine", "datatype": "float16", "memory": "cold", "on_disk": True},
        "hnsw_config": {"m": 12, "ef_construct": 80, "full_scan_threshold": 9000, "memory": "cached"},
        "optimizers_config": {"default_segment_number": 1},
        "on_disk_payload": True,
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "memory": "pinned"}},
    }


def test_older_servers_get_the_same_collection_in_flags() -> None:
    assert before_1_19(create_body(made(), quantized=True)) == {
        "vectors": {"size": 384, "distance": "Cosine", "datatype": "float16", "on_disk": True},
        "hnsw_config": {"m": 12, "ef_construct": 80, "full_scan_threshold": 9000, "on_disk": False},
        "optimizers_config": {"default_segment_number": 1},
        "on_disk_payload": True,
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
    }


@pytest.mark.parametrize(
    ("points", "segments", "sent"),
    [
        (10_000, 2, {"indexing_threshold": 2500, "max_segment_size": 7501}),  # 5,000 KiB each, or as little as half
        (3, 2, {"indexing_threshold": 1, "max_segment_size": 2}),
        (256_000, 1, {}),
        (256_001, 1, {"max_segment_size": 512_004}),
    ],
)
def test_there_are_as_many_segments_as_were_measured_and_all_are_indexed(
    points: int, segments: int, sent: dict[str, int]
) -> None:
    asked = made({"storage.datatype": "float32", "index.segments": segments}, {"points": points, "size": 256})
    optimizers = create_body(asked, quantized=True)["optimizers_config"]
    assert optimizers == {"default_segment_number": segments, **sent}


@pytest.mark.parametrize(
    ("new", "kib", "threshold"),
    [({}, 100_000, 10_000), ({}, 39_999, 9_999), ({"indexing_threshold": 400}, 8_000, 400), ({}, 3, 1)],
)
def test_a_patch_has_segments_of_a_quarter_indexed_too(new: dict[str, int], kib: int, threshold: int) -> None:
    assert update_threshold({"optimizers_config": new}, kib) == threshold


def test_payloads_are_indexed_and_filtered_as_they_were() -> None:
    clause = [{"key": "city", "match": {"value": "Rome"}}]
    assert filter_body(made({"search.filter.must": clause, "search.limit": 10})) == {"must": clause}
    assert filter_body(made()) == {}
    found = {"payload_indexes": {"year": "integer"}}
    assert payload_index_bodies(made({}, found)) == [{"field_name": "year", "field_schema": "integer"}]
    asked = made({"dataset.payload_indexes.city": "keyword"}, found)
    assert payload_index_bodies(asked) == [{"field_name": "city", "field_schema": "keyword"}]
    assert payload_index_bodies(made()) == []


def test_a_collection_that_was_measured_by_scans_is_indexed_all_the_same() -> None:
    config = {"storage.datatype": "float32"}
    for threshold, sent in ((400, 400), (1_000, 1_000), (1_001, 1_000), (10_000, 1_000)):
        scanned = made(config, {"points": 1_000, "size": 256, "full_scan_threshold": threshold})
        body = create_body(scanned, quantized=True)
        assert body["optimizers_config"]["indexing_threshold"] == sent
        assert f'{{"indexing_threshold": {sent}}}' in indexing(scanned)


def test_a_collection_of_a_cluster_is_exported_as_it_was_measured() -> None:
    layout = ("shard_number", "replication_factor", "write_consistency_factor")
    priced = {"cost.replication": 3}
    assert not set(layout) & set(create_body(made(priced), quantized=True))  # a price is no property of a collection
    measured = {"engine.shards": 6, "engine.replicas": 2, "engine.write_consistency": 1}
    create = create_body(made(priced | measured), quantized=True)
    assert [create[name] for name in layout] == [6, 2, 1]
    models.CreateCollection.model_validate(before_1_19(create))
    assert not set(layout) & set(update_body(create, segment_vectors_kib(made())))


def test_what_has_no_quantization_is_exported_without() -> None:
    bare = made({"quantization.config": {}})  # quantization=none, say with another datatype
    del bare.config["quantization.config.scalar.type"], bare.config["quantization.config.scalar.quantile"]
    asked = [is_quantized(one, row) for one in (made(), bare) for row in (BASELINE, TRIAL)]
    assert asked == [False, True, False, False]
    create = create_body(made(), quantized=False)
    assert "quantization_config" not in create
    assert update_body(create, segment_vectors_kib(made()))["quantization_config"] == "Disabled"
    models.UpdateCollection.model_validate(before_1_19(update_body(create, segment_vectors_kib(made()))))


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({"role": "baseline"}, {}),
        ({"role": "baseline", "hnsw_ef": "64"}, {"hnsw_ef": 64}),
        ({"rescore": "false"}, {"quantization": {"ignore": False, "rescore": False, "oversampling": 1.0}}),
        (
            {"rescore": "true", "oversampling": "2.5", "hnsw_ef": "64"},
            {"hnsw_ef": 64, "quantization": {"ignore": False, "rescore": True, "oversampling": 2.5}},
        ),
    ],
)
def test_a_search_says_all_that_was_measured(params: dict[str, str], body: Body) -> None:
    assert search_body(Row(TRIAL.params | params, {})) == body


@pytest.mark.parametrize("version", ["1.18.2", "1.19.0"])
def test_the_patch_is_a_command_for_a_shell(version: str) -> None:
    live = {"engine.url": "http://localhost:6333/", "engine.source_collection": "our a/b"}
    collection = made(live, engine=f"server-{version}")
    (line,) = patch_line(collection, TRIAL)
    said, _, command = line.partition(": ")
    assert said == "our a/b is as it was. To apply this to it"
    update = update_body(create_body(collection, quantized=True), segment_vectors_kib(collection))
    body = update if version == "1.19.0" else before_1_19(update)
    headers = ["-H", "api-key: $QDRANT_API_KEY", "-H", "Content-Type: application/json"]
    url = "http://localhost:6333/collections/our%20a%2Fb"
    assert shlex.split(command) == ["curl", "-X", "PATCH", url, *headers, "-d", json.dumps(body)]
    assert '"api-key: $QDRANT_API_KEY"' in command  # for the shell to put the key in
    assert '"quantization_config": "Disabled"' in patch_line(collection, BASELINE)[0]
    named = json.loads(shlex.split(patch_line(made({**live, "dataset.vector": "title"}), TRIAL)[0])[-1])
    assert named["vectors"].keys() == {"title"}
    assert patch_line(made(), TRIAL) == []


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://localhost", "http://localhost:6333"),
        ("https://[::1]/behind/", "https://[::1]:6333/behind"),
        ("https://here:443", "https://here:443"),
    ],
)
def test_the_patch_goes_to_the_port_that_was_measured(url: str, sent: str) -> None:
    collection = made({"engine.url": url, "engine.source_collection": "mine"})
    asked = QdrantClient(url=url, check_compatibility=False).http.client.host
    assert asked.rstrip("/") == sent
    assert f"curl -X PATCH {shlex.quote(f'{sent}/collections/mine')} " in patch_line(collection, TRIAL)[0]


@pytest.mark.parametrize(("points", "segments", "told"), [(10_000, 1, False), (19_999, 2, True), (20_000, 2, False)])
def test_segments_that_qdrant_would_not_index_are_told_apart_from_their_shard(
    points: int, segments: int, told: bool
) -> None:
    asked = made({"storage.datatype": "float32", "index.segments": segments}, {"points": points, "size": 256})
    assert ("indexing_threshold" in create_body(asked, quantized=True)["optimizers_config"]) is told
    corpus = spec(points=points, size=256, segments=segments)
    assert bool(notes(corpus, [])) is told  # the run says the same
    assert all(": 9,999 KiB of vectors in a segment are" in note for note in notes(corpus, []))


@pytest.mark.parametrize(
    ("vectors", "hnsw", "codes", "told"),
    [
        ("cold", "cached", "pinned", True),
        ("cached", "cold", "pinned", True),
        ("cached", "cold", "cached", False),
        ("cached", "cold", "cold", False),
        ("cold", "cached", "cold", True),
        ("cold", "cached", "cached", False),
        ("cold", "pinned", "pinned", False),
        ("cold", "cached", None, True),
    ],
)
def test_old_servers_get_no_body_for_what_they_cannot_be_told(
    vectors: str, hnsw: str, codes: str | None, told: bool
) -> None:
    body: Body = {"vectors": {"memory": vectors}, "hnsw_config": {"memory": hnsw}}
    if codes:
        body["quantization_config"] = {"scalar": {"memory": codes}}
    assert told_before_1_19(body) is told
    if told and codes:
        assert not told_before_1_19({**body, "quantization_config": {"turbo": {"memory": codes, "bits": "bits8"}}})
    body["vectors"]["datatype"] = "turbo4"
    assert not told_before_1_19(body)
