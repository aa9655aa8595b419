"""What a server says it built is compared with what was asked, and waited for."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from qexp.bench.blocks import timed_block
from qexp.bench.checks import Checks
from qexp.bench.validity import check_state
from qexp.engine.dialect import Version
from qexp.engine.readback import Readback, read_state, report_files, report_memory
from qexp.engine.wire import Rest
from qexp.errors import BenchmarkError, EngineError
from qexp.results import OperatingPoint
from tests.support.on_the_wire import FEW, SIZE, asked_spec, build, name_of, one_line
from tests.support.qdrant_rest import QdrantRest
from tests.test_edge import vectors


@pytest.mark.parametrize(
    ("where", "value", "trap"),
    [
        (("hnsw_config", "m"), 8, "T05 .* m=16 was asked for, the engine built 8"),
        (("hnsw_config", "memory"), "cold", "T05 .* placements"),
        (("params", "vectors", "memory"), "cached", "T05 .* placements"),
        (("params", "vectors", "datatype"), "float16", "T05 .* datatype=float32"),
        (("params", "shard_number"), 2, "T05 .* shards=1"),
        (("hnsw_config", "inline_storage"), True, 'T05 .* the graph with {"inline_storage": true}'),
        (("hnsw_config", "payload_m"), 4, 'T05 .* the graph with {"payload_m": 4}'),
        (("quantization_config",), None, "T05 .* placements"),
        (("quantization_config", "scalar", "quantile"), 0.5, "T05 .* quantization"),
    ],
)
def test_another_configuration_is_refused(server: QdrantRest, where: tuple[str, ...], value: object, trap: str) -> None:
    engine = build(server)

    def change(path: str, result: Any) -> Any:
        if isinstance(result, dict) and "config" in result:
            inner = result["config"]
            for key in where[:-1]:
                inner = inner[key]
            inner[where[-1]] = value
        return result

    server.change = change
    found = engine.open(asked_spec())
    assert found is not None
    with pytest.raises(BenchmarkError, match=trap) as error:
        check_state(asked_spec(), found.state, Checks())
    assert "remove the collection from the server and build it again" in one_line(error.value)
    server.change = lambda path, result: result
    engine.close()
    assert name_of(asked_spec()) in server.collections


@pytest.mark.parametrize("version", ["1.15.5", "1.17.1", "1.19.0"])
def test_lost_codes_are_refused(tmp_path: Path, version: str) -> None:
    with QdrantRest(tmp_path / "server", version) as server:
        engine = build(server)

        def change(path: str, result: Any) -> Any:
            if path.endswith("/memory"):
                result["vectors"][0].pop("quantized")
            if path == "/telemetry":
                for segment in result["collections"]["collections"][0]["shards"][0]["local"]["segments"]:
                    segment["config"]["vector_data"][""]["quantization_config"] = None
            return result

        server.change = change
        with pytest.raises(BenchmarkError, match=r"T06 .*; remove the collection .*and build it"):
            check_state(asked_spec(), engine.state(), Checks())
        engine.close()


def test_shards_and_replicas_are_asked_for_and_compared(server: QdrantRest) -> None:
    asked = asked_spec(shards=2)
    engine = build(server, asked)
    state = engine.state()
    assert (state.shards, state.segments) == (2, 1)
    check_state(asked, state, Checks())
    queries = vectors(SIZE, 10, seed=1)
    ids = timed_block(engine.search(OperatingPoint(10, 128, True, 4.0)), queries.tolist(), 10, 0, True).ids
    exact = np.argsort(-(queries @ vectors(SIZE, FEW).T), axis=1)[:, :10]
    assert ids is not None
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, exact, strict=True)]) > 0.95
    with pytest.raises(BenchmarkError, match="shards=3"):
        check_state(replace(asked, shards=3), state, Checks())
    engine.close()


def test_a_replica_that_is_not_there_is_refused(server: QdrantRest) -> None:
    engine = build(server)
    with pytest.raises(BenchmarkError, match=r"T05 .* replicas=2 was asked for, the engine built 1"):
        check_state(replace(asked_spec(), replicas=2), engine.state(), Checks())
    engine.close()


def test_a_replica_that_is_not_active_is_waited_for(server: QdrantRest) -> None:
    states = iter(["Initializing", "Partial"])

    def change(path: str, result: Any) -> Any:
        if path.endswith("/cluster"):
            result["local_shards"][0]["state"] = next(states, "Active")
        return result

    server.change = change
    engine = build(server)
    assert next(states, None) is None
    engine.close()


def test_a_replica_that_only_listens_is_not_waited_for(server: QdrantRest) -> None:
    """On a node of the type Listener it is never Active, and never asked by a search."""

    def change(path: str, result: Any) -> Any:
        if path.endswith("/cluster"):
            result["remote_shards"].append({"shard_id": 0, "peer_id": 7, "state": "Listener"})
        return result

    server.change = change
    engine = build(server, asked_spec(replicas=2), ready_timeout=30)
    assert engine.state().idle
    assert engine.state().replicas == 2
    engine.close()


def test_a_replica_that_stays_dead_ends_the_build(server: QdrantRest) -> None:
    def change(path: str, result: Any) -> Any:
        if path.endswith("/cluster"):
            result["remote_shards"].append({"shard_id": 0, "peer_id": 7, "state": "Dead"})
        return result

    server.change = change
    with pytest.raises(EngineError, match="a replica of shard 0 is dead, on peer 7; start that node") as error:
        build(server, patience=1)
    one_line(error.value)
    assert not server.collections


def test_a_dead_replica_is_waited_for_while_its_node_is_brought_back(server: QdrantRest) -> None:
    states = iter(["Dead", "Dead", "Partial"])

    def change(path: str, result: Any) -> Any:
        if path.endswith("/cluster"):
            result["local_shards"][0]["state"] = next(states, "Active")
            result["shard_transfers"] = [{"shard_id": 1, "from": 1, "to": 2}]
        return result

    server.change = change
    engine = build(server, patience=0)
    assert next(states, None) is None
    engine.close()


def test_payload_indexes_are_one_component_of_a_report() -> None:
    def usage(size: int) -> dict[str, int]:
        return {"disk_bytes": size, "ram_bytes": size // 2, "cached_bytes": 4, "expected_cache_bytes": 0}

    report = {
        "total": usage(1000),
        "vectors": [{"name": "", "storage": usage(600), "index": usage(200)}],
        "payload": usage(100),
        "payload_index": [{"name": "city", "usage": usage(60)}, {"name": "year", "usage": usage(20)}],
        "other": {"id_tracker": usage(20)},
    }
    assert report_files(report, 2)["payload indexes"] == 40
    memory = report_memory(report, 2)
    assert (memory.mapped["payload indexes"], memory.heap_parts["payload indexes"]) == (4, 20)
    assert "payload indexes" not in report_files(report | {"payload_index": []}, 1)


INFO: dict[str, Any] = {
    "status": "green",
    "optimizer_status": "ok",
    "indexed_vectors_count": FEW,
    "config": {
        "params": {"vectors": {"size": SIZE, "distance": "Cosine"}, "shard_number": 2},
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10},
        "quantization_config": {"scalar": {"type": "int8", "always_ram": None}},
    },
}
ANSWERS: dict[str, Any] = {
    "": INFO,
    "/cluster": {"local_shards": [{"state": "Active"}] * 2, "remote_shards": [{"state": "Active"}] * 2},
    "/optimizations": {
        "running": [],
        "summary": {"queued_optimizations": 0},
        "idle_segments": [{"points_count": count} for count in (9, 0, 9, 9, 0, 9, 9)],
    },
    "/points/count": {"count": FEW},
}


@pytest.mark.parametrize(("on_disk", "codes"), [(True, "cold"), (False, "pinned"), (None, "pinned")])
def test_codes_that_an_old_server_was_told_nothing_of_are_pinned_beside_vectors_in_ram(
    on_disk: bool | None, codes: str
) -> None:
    params = {**INFO["config"]["params"], "vectors": {"size": SIZE, "distance": "Cosine", "on_disk": on_disk}}
    info = {**INFO, "config": {**INFO["config"], "params": params}}
    for version in ((1, 15), (1, 18)):
        assert read_state(info, FEW, 2, 1, {}, version).placements["quantized"] == codes


def segment(points: int, codes: dict[str, Any] | None) -> dict[str, Any]:
    return {"info": {"num_points": points}, "config": {"vector_data": {"": {"quantization_config": codes}}}}


def readback(answers: dict[str, Any], version: Version = (1, 17), **more: Any) -> Readback:
    class Told:
        url = "http://told"

        def ask(self, method: str, path: str, body: Any = None, params: Any = None) -> Any:
            assert (body == {"exact": True}) == path.endswith("/points/count")
            return answers[path.removeprefix("/collections/mine")]

    return Readback(cast(Rest, Told()), version, "mine", asked_spec(**more))


def telemetry(*segments: dict[str, Any]) -> dict[str, Any]:
    shards = [{"local": {"segments": list(segments)}}]
    return {"/telemetry": {"collections": {"collections": [{"id": "mine", "shards": shards}, {"id": "other"}]}}}


@pytest.mark.parametrize(
    ("path", "where", "value"),
    [
        ("", ("status",), "yellow"),
        ("", ("optimizer_status",), {"error": "no space left"}),
        ("", ("update_queue",), {"length": 1}),
        ("/cluster", ("local_shards", 1, "state"), "Partial"),
        ("/cluster", ("remote_shards", 1, "state"), "Dead"),
        ("/optimizations", ("running",), [{"optimizer": "indexing"}]),
        ("/optimizations", ("summary", "queued_optimizations"), 1),
    ],
)
def test_what_is_under_way_is_waited_for(path: str, where: tuple[Any, ...], value: Any) -> None:
    answers = deepcopy(ANSWERS)
    assert readback(answers).idle(answers[""])
    *outer, last = where
    inner = answers[path]
    for key in outer:
        inner = inner[key]
    inner[last] = value
    assert not readback(answers).idle(answers[""])


@pytest.mark.parametrize(("indexed", "ready"), [(FEW, True), (FEW - 1, False), (None, False)])
def test_every_point_is_waited_for(indexed: int | None, ready: bool) -> None:
    answers = ANSWERS | {"": INFO | {"indexed_vectors_count": indexed}}
    assert readback(answers, method="none", quantization=None).ready(answers[""]) == ready


def test_every_segment_with_points_needs_codes() -> None:
    codes = {"scalar": {"type": "int8"}}
    for segments, ready in (
        ([segment(9, codes), segment(9, codes), segment(0, None)], True),
        ([segment(9, codes), segment(9, None)], False),
    ):
        assert readback(ANSWERS | telemetry(*segments)).ready(INFO) == ready


def test_segments_with_points_are_counted_by_copy_and_rounded_up() -> None:
    told = ANSWERS | telemetry(segment(9, {"scalar": {}}), segment(9, {"scalar": {}}), segment(0, None))
    assert readback(told, shards=2, replicas=2).state().segments == 2  # five of four copies
    assert readback(told, shards=5).state().segments == 1
    assert readback(told, (1, 16)).state().segments == 2
    assert readback(told, (1, 16), shards=2).state().segments is None


def test_replicas_are_copies_of_each_shard() -> None:
    told = ANSWERS | telemetry(segment(9, {"scalar": {}}))
    state = readback(told, shards=2, replicas=2).state()
    assert (state.shards, state.replicas, state.points, state.indexed_vectors) == (2, 2, FEW, FEW)
    assert (state.distance, state.datatype, state.write_consistency, state.idle) == ("cosine", "float32", 1, True)
    assert state.quantization == {"scalar": {"type": "int8"}}


def test_a_collection_with_the_mark_of_another_is_left_alone() -> None:
    asked = asked_spec()
    config = INFO["config"] | {"metadata": {"qexp": {"spec": asked.name}}}
    assert readback(ANSWERS).mark(INFO | {"config": config}) == {"spec": asked.name}
    for mark in (None, {"spec": "another"}):
        with pytest.raises(EngineError, match="is not qexp's; it is left alone"):
            readback(ANSWERS).mark(INFO | {"config": config | {"metadata": {"qexp": mark}}})


def test_bytes_of_a_report_are_those_of_one_copy() -> None:
    def usage(disk: int, ram: int, cached: int) -> dict[str, int]:
        return {"disk_bytes": disk, "ram_bytes": ram, "cached_bytes": cached}

    vector = {"storage": usage(600, 60, 6), "quantized": usage(300, 30, 3), "index": usage(900, 90, 9)}
    other = {"id_tracker": usage(120, 12, 1)}
    report = {"total": usage(0, 240, 0), "vectors": [vector], "payload": usage(150, 15, 3), "other": other}
    files = {"vectors": 200, "codes": 100, "graph": 300, "id tracker": 40, "payload": 50}
    assert report_files(report, 3) == files
    memory = report_memory(report, 3)
    assert memory.mapped == {"vectors": 2, "codes": 1, "graph": 3, "id tracker": 0, "payload": 1}
    assert memory.heap_parts == {"vectors": 20, "codes": 10, "graph": 30, "id tracker": 4, "payload": 5}
    assert memory.heap == 80


def test_the_empty_segment_is_not_taken_for_vectors(server: QdrantRest) -> None:
    """Else a small collection would seem half read, and have no measured RAM."""
    engine = build(server, asked_spec("none"))
    state, memory = engine.state(), engine.memory()
    engine.close()
    assert 0 <= state.files["vectors"] - FEW * SIZE * 4 < 2000
    assert state.files["other"] == 2**20
    assert memory is not None
