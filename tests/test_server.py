"""What a server may do to us, on the wire: each fault is survived, or refused in one line that names it."""

import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from qexp.bench.blocks import timed_block
from qexp.bench.validity import check_state
from qexp.config import ServerConfig
from qexp.engine.base import build_collection, engine_version
from qexp.engine.dialect import creation, parse_version
from qexp.engine.server import ServerEngine, collection_name
from qexp.errors import BenchmarkError, ConfigError, EngineError, QexpError
from qexp.results import CollectionSpec, OperatingPoint
from tests.conftest import QUICK, Qexp
from tests.support.qdrant_rest import QdrantRest
from tests.test_edge import spec, vectors

SIZE, FEW = 32, 600
KEY = "a-key-that-must-appear-nowhere"


def asked_spec(method: str = "scalar", **more: Any) -> CollectionSpec:
    return spec(method, size=SIZE, points=FEW, **more)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QdrantRest]:
    with QdrantRest(tmp_path / "server") as running:
        yield running


def config(server: QdrantRest, **more: Any) -> ServerConfig:
    return ServerConfig("server", url=server.url, **{"patience": 20, "upload_parallel": 2, **more})


def build(server: QdrantRest, asked: CollectionSpec | None = None, **more: Any) -> ServerEngine:
    """Build a collection, and return it opened."""
    asked = asked or asked_spec()
    with closing(ServerEngine(config(server, **more))) as builder:
        build_collection(builder, asked, vectors(SIZE, FEW))
    engine = ServerEngine(config(server, **more))
    assert engine.open(asked) is not None
    return engine


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert KEY not in text
    return text


def name_of(asked: CollectionSpec) -> str:
    return collection_name("qexp", asked)


# What is survived


@pytest.mark.parametrize(
    "how",
    [{"drop": True}, *({"status": status, "message": "busy"} for status in (429, 500, 503))],
    ids=["dropped", "429", "500", "503"],
)
def test_an_upload_outlasts_a_fault(server: QdrantRest, how: dict[str, Any]) -> None:
    server.fail("PUT .*/points", times=3, **how)
    engine = build(server)
    found = engine.open(asked_spec())
    assert found is not None
    check_state(asked_spec(), found.state)
    assert len([asked for asked in server.asked if asked.endswith("/points") and "PUT" in asked]) >= 4
    engine.close()


@pytest.mark.parametrize("version", ["1.15.5", "1.19.0"])
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
        found = engine.open(asked_spec())
        assert found is not None
        check_state(asked_spec(), found.state)
        assert found.state.points == FEW
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
    assert len([asked for asked in server.asked if asked.startswith("PATCH")]) == 3
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
    with (
        closing(ServerEngine(config(server, patience=1))) as engine,
        pytest.raises(EngineError, match="overloaded") as error,
    ):
        build_collection(engine, asked_spec(), vectors(SIZE, FEW))
    one_line(error.value)
    assert not server.collections


def test_a_server_that_is_never_ready_is_refused(server: QdrantRest) -> None:
    def yellow(path: str, result: Any) -> Any:
        return {**result, "status": "yellow"} if isinstance(result, dict) and "segments_count" in result else result

    server.change = yellow
    with (
        closing(ServerEngine(config(server, ready_timeout=1))) as engine,
        pytest.raises(BenchmarkError, match=r"T02 .* not indexed .*ready_timeout=1 s \(status yellow.*; allow more"),
    ):
        build_collection(engine, asked_spec(), vectors(SIZE, FEW))
    assert not server.collections


def test_an_optimizer_that_fails_is_named(server: QdrantRest) -> None:
    failed = {"optimizer_status": {"error": "cannot allocate memory"}}
    server.change = lambda path, result: {**result, **failed} if "segments_count" in str(result) else result
    with (
        closing(ServerEngine(config(server))) as engine,
        pytest.raises(EngineError, match="cannot allocate memory"),
    ):
        build_collection(engine, asked_spec(), vectors(SIZE, FEW))


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
        check_state(asked_spec(), found.state)
    one_line(error.value)
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
            check_state(asked_spec(), engine.state())
        engine.close()


def test_a_lost_point_is_named(server: QdrantRest) -> None:
    engine = build(server)
    with pytest.raises(BenchmarkError, match=r"T12 .* no point 9999; remove the collection"):
        engine.vectors([0, 9999])
    engine.close()


def test_a_full_disk_is_not_tried_again(server: QdrantRest) -> None:
    full = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
    server.fail("PUT .*/points", times=10_000, status=500, message=full)
    with (
        closing(ServerEngine(config(server, upload_parallel=1))) as engine,
        pytest.raises(EngineError, match="the server's disk is full") as error,
    ):
        build_collection(engine, asked_spec(), vectors(SIZE, FEW))
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
    engine = build(server)
    assert engine.state().points == FEW
    engine.close()


def test_a_build_that_was_replaced_meanwhile_is_not_sealed_and_the_other_is_not_dropped(server: QdrantRest) -> None:
    with closing(ServerEngine(config(server))) as slow:
        slow.create(asked_spec())
        build(server).close()
        slow.upload(vectors(SIZE, 10))
        with pytest.raises(EngineError, match="another process rebuilt it"):
            slow.seal(None)  # type: ignore[arg-type]
        slow.drop()
    assert name_of(asked_spec()) in server.collections


@pytest.mark.parametrize("keep", [True, False])
def test_keep_decides_what_stays(server: QdrantRest, keep: bool) -> None:
    build(server, keep=keep).close()
    assert (name_of(asked_spec()) in server.collections) is keep


def test_names_are_what_qdrant_allows_and_end_in_the_digest() -> None:
    asked = asked_spec(dataset="Qdrant/dbpedia: ü" + "x" * 300)
    name = collection_name("qexp", asked)
    assert len(name) <= 201
    assert name.endswith(asked.name[-12:])
    assert name.replace("-", "").replace("_", "").replace(".", "").isascii()
    assert "/" not in name


# Versions


@pytest.mark.parametrize(
    ("version", "storage"),
    [
        ("1.15.5", ("cached", "pinned", "cached")),
        ("1.15.5", ("cold", "cold", "cold")),
        ("1.16.3", ("cold", "pinned", "cached")),
        ("1.17.1", ("cached", "cached", "cached")),
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
        check_state(asked, found.state)
        assert (found.upload_seconds is None) is (version < "1.16")
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
    assert "on_disk" not in json.dumps(new)
    assert "metadata" not in creation(asked_spec(), (1, 15), {"qexp": {}})


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        (asked_spec("turbo_1"), "'turbo' needs Qdrant 1.18, the server is 1.17"),
        (asked_spec(hnsw="pinned"), "hnsw=pinned needs Qdrant 1.19"),
        (asked_spec(quantized="cached"), "quantized=cached hnsw=cached needs Qdrant 1.19"),
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
    assert parse_version("1.20.0-dev", "") == (1, 20)
    with pytest.raises(EngineError, match="none of Qdrant's"):
        parse_version("unknown", "")


def test_shards_and_replicas_are_asked_for_and_compared(server: QdrantRest) -> None:
    asked = asked_spec(shards=2)
    engine = build(server, asked)
    found = engine.open(asked)
    assert found is not None
    assert (found.state.shards, found.state.segments) == (2, 1)
    check_state(asked, found.state)
    queries = vectors(SIZE, 10, seed=1)
    ids = timed_block(engine.search(OperatingPoint(10, 128, True, 4.0)), queries.tolist(), 10, 0, True).ids
    exact = np.argsort(-(queries @ vectors(SIZE, FEW).T), axis=1)[:, :10]
    assert ids is not None
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, exact, strict=True)]) > 0.95
    with pytest.raises(BenchmarkError, match="shards=3"):
        check_state(replace(asked, shards=3), found.state)
    engine.close()


def test_replicas_need_nodes(server: QdrantRest) -> None:
    assert "is 1 node(s); add nodes or ask for less" in refused(server.url, replicas=2)
    server.change = lambda path, result: {"peers": {"1": {}, "2": {}}} if path == "/cluster" else result
    assert engine_version(config(server, replicas=2)) == "server-1.19.0"


def test_a_replica_that_is_not_there_is_refused(server: QdrantRest) -> None:
    engine = build(server)
    found = engine.open(asked_spec())
    assert found is not None
    with pytest.raises(BenchmarkError, match=r"T05 .* replicas=2 was asked for, the engine built 1"):
        check_state(replace(asked_spec(), replicas=2), found.state)
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


# The way there


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A context with a self-signed certificate of 127.0.0.1, and the certificate's file."""
    cryptography = pytest.importorskip("cryptography.x509")
    from ipaddress import ip_address

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = cryptography.Name([cryptography.NameAttribute(cryptography.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    names = cryptography.SubjectAlternativeName([cryptography.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        cryptography.CertificateBuilder(name, name, key.public_key(), cryptography.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private)
    return context, file


def refused(url: str, **more: Any) -> str:
    with pytest.raises(QexpError) as error:
        engine_version(ServerConfig("server", url=url, **more))
    return one_line(error.value)


def test_tls_with_a_certificate_of_ones_own(
    tls: tuple[ssl.SSLContext, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with QdrantRest(tmp_path / "server", tls=tls[0]) as server:
        assert "SSL_CERT_FILE" in refused(server.url)
        assert "https://" in refused(server.url.replace("https", "http"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
        monkeypatch.setenv("QDRANT_API_KEY", KEY)
        server.api_key = KEY
        assert engine_version(config(server)) == "server-1.19.0"


def test_https_to_http_is_named(server: QdrantRest) -> None:
    assert "does not speak TLS; use http://" in refused(server.url.replace("http", "https"))


def test_nobody_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be reached" in refused(f"http://127.0.0.1:{port}")
    assert "cannot be reached" in refused("http://no-such-host.invalid:6333")


def test_someone_who_does_not_answer_is_named() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "no answer in time" in refused(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)


@pytest.mark.parametrize("about", [{"title": "Elasticsearch"}, "It works!", [1]])
def test_something_that_is_not_qdrant_is_named(server: QdrantRest, about: object) -> None:
    server.change = lambda path, result: about
    assert "is not Qdrant" in refused(server.url)


def test_grpc_to_a_port_that_is_not_open_is_named(server: QdrantRest) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = ServerEngine(config(server, prefer_grpc=True, grpc_port=port, patience=0))
    engine.create(asked_spec())
    with pytest.raises(EngineError, match=f"gRPC port {port}"):
        engine.upload(vectors(SIZE, 10))
    engine.drop()
    engine.close()


# The key


@pytest.mark.parametrize(("key", "says"), [(None, "Must provide an API key"), ("wrong", "Invalid API key")])
def test_a_missing_or_wrong_key_is_named(
    server: QdrantRest, key: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.api_key = KEY
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("QDRANT_API_KEY", key)
    said = refused(server.url)
    assert says in said
    assert "set QDRANT_API_KEY" in said


def test_a_read_only_key_is_named(server: QdrantRest, monkeypatch: pytest.MonkeyPatch) -> None:
    server.api_key, server.read_only_key = KEY, "only-reading"
    monkeypatch.setenv("QDRANT_API_KEY", "only-reading")
    with closing(ServerEngine(config(server))) as engine:
        assert engine.open(asked_spec()) is None
        with pytest.raises(EngineError, match=r"does not allow this .*Global manage access"):
            engine.create(asked_spec())
    assert not server.collections


def test_a_key_that_travels_unencrypted_is_said_once(
    server: QdrantRest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    with caplog.at_level(logging.WARNING):
        engine_version(config(server))
        assert not caplog.records
        refused("http://no-such-host.invalid:6333")
    assert ["travels unencrypted" in record.getMessage() for record in caplog.records] == [True]
    assert KEY not in caplog.text


@pytest.mark.slow
def test_the_key_is_sent_and_appears_nowhere(
    server: QdrantRest, qexp: Qexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the command with a key: nothing it prints, writes or shows as a process has it."""
    server.api_key = KEY
    lines: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            lines.update(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    words = ["engine=server", f"engine.url={server.url}", "quantization=binary", *QUICK]
    try:
        done = qexp(*words, QDRANT_API_KEY=KEY)
        failed = qexp(*words, "engine.prefix=other", QDRANT_API_KEY=f"{KEY}-wrong")
    finally:
        ended.set()
        watcher.join()
    assert done.returncode == 0, done.stderr
    assert failed.returncode == 2
    assert "server" in done.stdout
    assert server.keys == {KEY, f"{KEY}-wrong"}
    assert any(server.url in line for line in lines)
    assert not [line for line in lines if KEY in line]
    for text in (done.stdout, done.stderr, failed.stdout, failed.stderr):
        assert KEY not in text
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(".hydra" in str(file) for file in written)
    assert any(file.suffix == ".db" for file in written)
    assert not [file for file in written if KEY.encode() in file.read_bytes()]


# Configuration


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": ":memory:"}, "T01 .*local mode"),
        ({"url": "./collections"}, "T01 .*local mode"),
        ({"url": "localhost:6333"}, "must be http://host:port or https://host:port"),
        ({"url": "http://host:port"}, "engine.url=http://host:port"),
        ({"url": "http://:6333"}, "must be http://"),
        ({"prefix": "a/b"}, "engine.prefix=a/b"),
        ({"shards": 0}, "engine.shards=0: must be at least 1"),
        ({"replicas": 2, "write_consistency": 3}, "must not exceed engine.replicas=2"),
        ({"timeout": 0}, "engine.timeout=0"),
    ],
)
def test_bad_configuration_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        ServerConfig("server", **{"url": "http://localhost:6333", **given})
    one_line(error.value)


def test_a_key_in_the_url_is_refused_and_not_repeated() -> None:
    for url in (f"https://{KEY}@host:6333", f"https://user:{KEY}@host", f"https://host?api_key={KEY}"):
        with pytest.raises(ConfigError, match="belongs into QDRANT_API_KEY") as error:
            ServerConfig("server", url=url)
        one_line(error.value)


def test_a_key_as_an_override_is_refused_and_not_repeated(qexp: Qexp, tmp_path: Path) -> None:
    done = qexp("engine=server", f"engine.api_key={KEY}")
    assert done.returncode == 2
    assert KEY not in done.stdout + done.stderr
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert not any(name.startswith("QDRANT") for name in os.environ)
