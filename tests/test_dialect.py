"""A collection in the words of the server's version."""

import json
from pathlib import Path

import pytest

from qexp.bench.checks import Checks
from qexp.bench.validity import check_state
from qexp.engine.configured import engine_version
from qexp.engine.dialect import collection_name, creation, parse_version
from qexp.errors import EngineError
from qexp.results import CollectionSpec
from tests.support.on_the_wire import asked_spec, build, config
from tests.support.qdrant_rest import QdrantRest


@pytest.mark.parametrize(
    ("version", "storage"),
    [
        ("1.15.3", ("cached", "pinned", "cached")),
        ("1.15.5", ("cold", "cold", "cold")),
        ("1.16.3", ("cold", "pinned", "cached")),
        ("1.17.1", ("cached", "pinned", "cold")),
        ("1.18.0", ("cold", "pinned", "cached")),
        ("1.18.0", ("cold", "cold", "cold")),
        ("1.20.0", ("cold", "pinned", "pinned")),
    ],
)
def test_placements_are_said_and_read_in_the_words_of_the_version(
    tmp_path: Path, version: str, storage: tuple[str, str, str]
) -> None:
    asked = asked_spec(**dict(zip(("vectors", "quantized", "hnsw"), storage, strict=True)))
    with QdrantRest(tmp_path / "server", version) as server:
        engine = build(server, asked)
        found = engine.open(asked)
        assert found is not None
        check_state(asked, found.state, Checks())
        assert (found.upload_seconds is None) is (version < "1.15.4")
        assert (engine.memory() is None) is (version < "1.18")
        engine.close()


def test_old_servers_are_told_on_disk_and_always_ram() -> None:
    body = creation(asked_spec(), (1, 18), {"qexp": {}})
    assert body["vectors"]["on_disk"] is True
    assert body["hnsw_config"]["on_disk"] is False
    assert body["quantization_config"]["scalar"]["always_ram"] is True
    assert "memory" not in json.dumps(body)
    new = creation(asked_spec(), (1, 19), {"qexp": {}})
    assert (new["vectors"]["memory"], new["quantization_config"]["scalar"]["memory"]) == ("cold", "pinned")
    assert new["vectors"].pop("on_disk") is True
    assert creation(asked_spec(vectors="cached"), (1, 19), {})["vectors"]["on_disk"] is False
    assert '"on_disk"' not in json.dumps(new)
    assert body["on_disk_payload"] is new["on_disk_payload"] is True
    assert "metadata" not in creation(asked_spec(), (1, 15), {"qexp": {}})


@pytest.mark.parametrize("shards", [1, 3])
def test_no_two_of_several_segments_fit_into_one(shards: int) -> None:
    def most(segments: int) -> int:
        asked = asked_spec(points=120_000, size=256, segments=segments, shards=shards)
        body = creation(asked, (1, 19), {"qexp": {}})
        return int(body["optimizers_config"]["max_segment_size"])

    assert most(1) > 2 * 120_000 // shards
    for segments in (2, 4, 8):
        each = 120_000 // segments // shards
        assert each < most(segments) < 2 * each


def test_a_method_that_the_server_does_not_know_is_refused_before_any_work(server: QdrantRest) -> None:
    server.version = "1.17.0"
    with pytest.raises(EngineError, match=r"^engine.url=http://\S+: quantization 'turbo' needs Qdrant 1.18"):
        engine_version(config(server), {"turbo": {}})
    assert engine_version(config(server), {"binary": {}}) == "server-1.17.0"
    server.version = "1.19.0"
    assert engine_version(config(server), {"turbo": {"bits": "bits4"}}) == "server-1.19.0"
    with pytest.raises(EngineError, match=r"quantization 'turbo' of bits8 needs Qdrant 1.20, the server is 1.19"):
        engine_version(config(server), {"turbo": {"bits": "bits8"}})


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        (asked_spec(datatype="turbo4"), "storage.datatype=turbo4 needs Qdrant 1.19, the server is 1.17"),
        (asked_spec(hnsw="pinned"), "hnsw=pinned needs Qdrant 1.19"),
        (asked_spec(quantized="cached"), "quantized=cached hnsw=cached needs Qdrant 1.19"),
        (asked_spec(vectors="cached", quantized="cached"), "vectors=cached quantized=cached hnsw=cached needs Qdrant"),
    ],
)
def test_what_an_old_server_cannot_do_is_refused_with_the_version_it_needs(asked: CollectionSpec, needs: str) -> None:
    with pytest.raises(EngineError, match=needs):
        creation(asked, (1, 17), {})


def test_a_server_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with (
        QdrantRest(tmp_path / "server", "1.14.1") as server,
        pytest.raises(EngineError, match=r"is Qdrant 1\.14\.1; qexp needs 1\.15 or newer"),
    ):
        engine_version(config(server))
    assert parse_version("1.20.0-dev", "") == (1, 20, 0)
    assert parse_version("1.20", "") == (1, 20)
    with pytest.raises(EngineError, match="none of Qdrant's"):
        parse_version("unknown", "")


def test_names_are_what_qdrant_allows_and_end_in_the_digest() -> None:
    asked = asked_spec(dataset="Qdrant/dbpedia: ü" + "x" * 300)
    name = collection_name("qexp", asked)
    assert len(name) <= 201
    assert name.endswith(asked.name[-12:])
    assert name.replace("-", "").replace("_", "").replace(".", "").isascii()
    assert "/" not in name
