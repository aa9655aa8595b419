"""What a server says it built is compared with what was asked, and waited for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexp.bench.blocks import timed_block
from qexp.bench.checks import Checks
from qexp.bench.validity import check_state
from qexp.engine.readback import report_files, report_memory
from qexp.errors import BenchmarkError
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
    found = engine.open(asked)
    assert found is not None
    assert (found.state.shards, found.state.segments) == (2, 1)
    check_state(asked, found.state, Checks())
    queries = vectors(SIZE, 10, seed=1)
    ids = timed_block(engine.search(OperatingPoint(10, 128, True, 4.0)), queries.tolist(), 10, 0, True).ids
    exact = np.argsort(-(queries @ vectors(SIZE, FEW).T), axis=1)[:, :10]
    assert ids is not None
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, exact, strict=True)]) > 0.95
    with pytest.raises(BenchmarkError, match="shards=3"):
        check_state(replace(asked, shards=3), found.state, Checks())
    engine.close()


def test_a_replica_that_is_not_there_is_refused(server: QdrantRest) -> None:
    engine = build(server)
    found = engine.open(asked_spec())
    assert found is not None
    with pytest.raises(BenchmarkError, match=r"T05 .* replicas=2 was asked for, the engine built 1"):
        check_state(replace(asked_spec(), replicas=2), found.state, Checks())
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
