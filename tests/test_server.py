"""What a server may do to us, on the wire: each fault is survived, or refused in one line that names it."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qexp.bench.blocks import timed_block
from qexp.bench.checks import Checks
from qexp.bench.validity import check_state
from qexp.engine.base import build_collection
from qexp.engine.dialect import creation
from qexp.engine.server import ServerEngine
from qexp.errors import BenchmarkError, EngineError
from qexp.results import CollectionSpec, OperatingPoint
from tests.support.on_the_wire import FEW, SIZE, asked_spec, build, config, name_of, one_line
from tests.support.qdrant_grpc import QdrantGrpc
from tests.support.qdrant_rest import QdrantRest
from tests.test_edge import vectors

# What is survived


@pytest.mark.parametrize(
    "how",
    [{"drop": True}, *({"status": status, "message": "busy"} for status in (429, 500, 503))],
    ids=["dropped", "429", "500", "503"],
)
def test_an_upload_outlasts_a_fault(server: QdrantRest, how: dict[str, Any]) -> None:
    server.fail("PUT .*/points", times=3, **how)
    engine = build(server)
    check_state(asked_spec(), engine.state(), Checks())
    assert len([asked for asked in server.asked if asked.endswith("/points") and "PUT" in asked]) >= 4
    engine.close()


@pytest.mark.parametrize("status", [412, 499, 503])
def test_an_upload_over_grpc_outlasts_a_fault(server: QdrantRest, status: int) -> None:
    server.fail("gRPC Upsert", times=3, status=status, message="busy")
    with QdrantGrpc(server) as grpc:
        engine = build(server, prefer_grpc=True, grpc_port=grpc.port)
        assert engine.state().points == FEW
        assert server.asked.count("gRPC Upsert") == 4
        engine.close()


def test_a_build_says_how_far_it_is(
    server: QdrantRest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("qexp.progress.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("qexp.engine.server.UPLOAD_BATCH", 100)
    with caplog.at_level("INFO", "qexp"), closing(ServerEngine(config(server, upload_parallel=1))) as builder:
        build_collection(builder, asked_spec(), vectors(SIZE, FEW))
    said = list(dict.fromkeys(message.partition(",")[0] for message in caplog.messages))
    uploaded = [f"scalar: upload: {done} of 600" for done in (100, 200, 300, 400)]
    assert said == [*uploaded, "scalar: indexed: 600 of 600"]


@pytest.mark.parametrize("version", ["1.15.3", "1.19.0"])
def test_a_build_outlasts_a_restart_of_the_server(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexp.engine.server.UPLOAD_BATCH", 100)
    with QdrantRest(tmp_path / "server", version) as server:
        restarted = threading.Event()
        store = server.answer

        def answer(method: str, path: str, query: Any, body: Any) -> Any:
            if "points" in path and method == "PUT" and body["batch"]["ids"][0] >= 300 and not restarted.is_set():
                restarted.set()
                threading.Thread(target=server.restart).start()
            return store(method, path, query, body)

        server.answer = answer  # type: ignore[method-assign]
        engine = build(server)
        assert restarted.is_set()
        check_state(asked_spec(), engine.state(), Checks())
        engine.close()


def test_optimizers_that_wait_after_a_restart_are_woken(server: QdrantRest) -> None:
    engine = ServerEngine(config(server))
    engine.create(asked_spec())
    engine.upload(vectors(SIZE, FEW))
    greys = iter(["grey", "grey"])

    def change(path: str, result: Any) -> Any:
        return {**result, "status": next(greys, result["status"])} if "segments_count" in str(result) else result

    server.change = change
    engine.wait_until_indexed()
    assert len([asked for asked in server.asked if asked.startswith("PATCH")]) == 2  # to index, and once to wake them
    assert engine.state().indexed_vectors == FEW
    engine.drop()
    engine.close()


def test_a_moment_of_green_before_the_optimizer_is_not_ready(server: QdrantRest) -> None:
    """Green with nothing indexed, then yellow, then done: what a server shows after an upload."""
    shown: list[tuple[str, int]] = []
    early = iter([("green", 0), ("yellow", 100), ("green", FEW - 1)])

    def change(path: str, result: Any) -> Any:
        if isinstance(result, dict) and "segments_count" in result:
            status, indexed = next(early, (result["status"], result["indexed_vectors_count"]))
            shown.append((status, indexed))
            return {**result, "status": status, "indexed_vectors_count": indexed}
        return result

    engine = ServerEngine(config(server))
    engine.create(asked_spec())
    engine.upload(vectors(SIZE, FEW))
    server.change = change
    engine.wait_until_indexed()
    assert shown[:3] == [("green", 0), ("yellow", 100), ("green", FEW - 1)]
    assert shown[-2:] == [("green", FEW)] * 2
    engine.drop()
    engine.close()


# What is refused, by name


@pytest.mark.parametrize("rescore", [False, True])
def test_t03_rescoring_is_said_with_every_search(server: QdrantRest, rescore: bool) -> None:
    engine = build(server, asked_spec("binary"))
    asked: list[Any] = []
    answer = server.answer

    def listen(method: str, path: str, query: Any, body: Any) -> Any:
        asked.append(body)
        return answer(method, path, query, body)

    server.answer = listen  # type: ignore[method-assign]
    timed_block(
        engine.search(OperatingPoint(5, rescore=rescore, oversampling=2.0)), vectors(SIZE, 3).tolist(), 5, 0, True
    )
    sent = [body["params"]["quantization"] for body in asked if body and "query" in body]
    assert sent == [{"ignore": False, "rescore": rescore, "oversampling": 2.0}] * 3
    engine.close()


def test_nothing_is_tried_again_while_timed(server: QdrantRest) -> None:
    engine = build(server)
    search = engine.search(OperatingPoint(5))
    server.fail("POST .*/points/query", status=503, message="overloaded")
    before = len(server.asked)
    with pytest.raises(EngineError, match=r"503 .overloaded."):
        timed_block(search, vectors(SIZE, 5).tolist(), 5, 0, True)
    assert len(server.asked) == before + 1
    engine.close()


def test_a_server_that_stays_away_ends_the_build_and_nothing_is_left(server: QdrantRest) -> None:
    server.fail("PUT .*/points", times=10_000, status=503, message="overloaded")
    with pytest.raises(EngineError, match="overloaded") as error:
        build(server, patience=1)
    one_line(error.value)
    assert not server.collections


def _unlike(path: str, result: Any, **shown: Any) -> Any:
    """Return what is shown instead of a collection's description."""
    return {**result, **shown} if isinstance(result, dict) and "segments_count" in result else result


def test_a_server_that_is_never_ready_is_refused(server: QdrantRest) -> None:
    server.change = partial(_unlike, status="yellow")
    never = r"T02 .* not indexed, .*ready_timeout=1 s \(status yellow.*; allow more"
    with pytest.raises(BenchmarkError, match=never):
        build(server, ready_timeout=1)
    assert not server.collections


def _partial(path: str, result: Any) -> Any:
    if not path.endswith("/cluster"):
        return result
    return {**result, "local_shards": [{**shard, "state": "Partial"} for shard in result["local_shards"]]}


def _optimizing(path: str, result: Any) -> Any:
    if not path.endswith("/optimizations"):
        return result
    return {**result, "summary": {**result["summary"], "queued_optimizations": 3}}


@pytest.mark.parametrize("change", [partial(_unlike, status="yellow"), _partial, _optimizing])
def test_a_collection_that_the_server_still_works_on_is_waited_for(
    server: QdrantRest, change: Callable[[str, Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(build(server)) as engine:
        idle = engine.state()
        assert idle.idle
        server.change = change
        assert engine.state() == replace(idle, idle=False)
    with (
        closing(ServerEngine(config(server, ready_timeout=1))) as engine,
        caplog.at_level(logging.INFO),
        pytest.raises(BenchmarkError, match=r"^T02 .* not indexed, quantized and idle after engine\.ready_timeout=1 s"),
    ):
        engine.open(asked_spec())
    said = [record.getMessage() for record in caplog.records if record.name.startswith("qexp")]
    assert said == [f"{name_of(asked_spec())}: waiting until the server has ended its work on it"]
    server.change = lambda path, result: result
    with closing(ServerEngine(config(server))) as engine:
        assert engine.open(asked_spec()) is not None


def test_a_complete_collection_whose_optimizer_failed_since_is_refused(server: QdrantRest) -> None:
    build(server).close()
    server.change = partial(_unlike, status="red", optimizer_status={"error": "No space left on device"})
    with (
        closing(ServerEngine(config(server))) as engine,
        pytest.raises(EngineError, match=r"the server's optimizer failed: .*No space left on device"),
    ):
        engine.open(asked_spec())


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (
            {"optimizer_status": {"error": "Not enough space\navailable"}},
            r"optimizer failed: Not enough space available;",
        ),
        ({"status": "red"}, r"could not apply an update \(status red\)"),
    ],
    ids=["optimizer", "update"],
)
def test_what_fails_on_the_server_is_named(server: QdrantRest, shown: dict[str, Any], said: str) -> None:
    server.change = partial(_unlike, **shown)
    with pytest.raises(EngineError, match=said) as error:
        build(server)
    one_line(error.value)


def test_a_server_that_leaves_the_quantization_out_is_refused_before_the_upload(server: QdrantRest) -> None:
    answer = server.answer

    def forgetful(method: str, path: str, query: Any, body: Any) -> Any:
        (body or {}).pop("quantization_config", None)
        return answer(method, path, query, body)

    server.answer = forgetful  # type: ignore[method-assign]
    with pytest.raises(BenchmarkError, match=r"^T06 .* without quantization 'scalar' .*; update it or choose") as error:
        build(server, ready_timeout=1)
    one_line(error.value)
    assert not server.collections
    assert not [asked for asked in server.asked if asked.endswith("/points")]


def test_a_full_disk_is_not_tried_again(server: QdrantRest) -> None:
    full = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
    server.fail("PUT .*/points", times=10_000, status=500, message=full)
    with pytest.raises(EngineError, match="the server's disk is full") as error:
        build(server, upload_parallel=1)
    one_line(error.value)
    assert len([asked for asked in server.asked if asked.startswith("PUT") and asked.endswith("/points")]) == 1
    assert not server.collections


def test_another_dimension_is_refused_in_the_servers_words(server: QdrantRest) -> None:
    with (
        closing(ServerEngine(config(server))) as engine,
        pytest.raises(EngineError, match=f"expected dim: {SIZE}, got {SIZE + 1}"),
    ):
        build_collection(engine, asked_spec(), vectors(SIZE + 1, FEW))


# Whose a collection is


def foreign(server: QdrantRest, asked: CollectionSpec) -> None:
    """Let someone else have made a collection of our name."""
    body = {**creation(asked, (1, 19), {}), "metadata": {"owner": "someone else"}}
    server.answer("PUT", f"/collections/{name_of(asked)}", {}, body)


def test_someone_elses_collection_is_left_alone(server: QdrantRest) -> None:
    foreign(server, asked_spec())
    with closing(ServerEngine(config(server, keep=False))) as engine:
        for attempt in (engine.open, engine.create):
            with pytest.raises(EngineError, match=r"is not qexp's; it is left alone: set engine\.prefix") as error:
                attempt(asked_spec())
            one_line(error.value)
        engine.drop()
    assert name_of(asked_spec()) in server.collections
    assert not [asked for asked in server.asked if asked.startswith(("DELETE", "PATCH", "PUT"))]


def test_an_incomplete_collection_of_ours_is_built_again(server: QdrantRest) -> None:
    with closing(ServerEngine(config(server))) as killed:
        killed.create(asked_spec())
        killed.upload(vectors(SIZE, 100))
    with closing(build(server)) as engine:
        assert engine.state().points == FEW


def test_a_build_that_was_replaced_meanwhile_is_not_sealed_and_the_other_is_not_dropped(server: QdrantRest) -> None:
    with closing(ServerEngine(config(server))) as slow:
        slow.create(asked_spec())
        build(server).close()
        slow.upload(vectors(SIZE, 10))
        with pytest.raises(EngineError, match="another process rebuilt it"):
            slow.seal(None)  # type: ignore[arg-type]
        slow.drop()
    assert name_of(asked_spec()) in server.collections


@pytest.mark.parametrize(
    "default",
    [
        {"quantization_config": {"binary": {"always_ram": True}}},
        {"strict_mode_config": {"enabled": True, "upsert_max_batchsize": FEW // 2}},
        {"hnsw_config": {"payload_m": 4, "inline_storage": True}},
        {"optimizers_config": {"max_optimization_threads": 0}},
    ],
    ids=str,
)
def test_what_a_server_has_for_new_collections_is_not_for_ours(server: QdrantRest, default: dict[str, Any]) -> None:
    server.defaults = default
    bare = asked_spec().unquantized()
    for asked in (bare, asked_spec("scalar")):
        engine = build(server, asked, ready_timeout=30)
        check_state(asked, engine.state(), Checks())
        graph = server.collections[name_of(asked)].asked.hnsw_config
        assert (graph.payload_m, graph.inline_storage) == (asked.m, False)
        engine.close()


def test_points_with_long_payloads_come_in_requests_that_the_server_takes(server: QdrantRest, tmp_path: Path) -> None:
    path = tmp_path / "payload.jsonl"
    path.write_text(f'{{"text": "{"x" * 50_000}"}}\n' * FEW)  # 30 MB
    with closing(ServerEngine(config(server))) as engine:
        build_collection(engine, asked_spec(), vectors(SIZE, FEW), path)
    assert sum(asked.startswith("PUT") and asked.endswith("/points") for asked in server.asked) >= 15
