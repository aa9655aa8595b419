"""The way to a server: what is wrong with it is said in one line that names it."""

import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from qexp.config import CollectionDataset, ServerConfig
from qexp.data.snapshot import held_datatype
from qexp.engine import wire
from qexp.engine.configured import engine_version
from qexp.engine.server import ServerEngine
from qexp.errors import ConfigError, EngineError
from qexp.results import OperatingPoint
from tests.support.on_the_wire import KEY, SIZE, asked_spec, build, config, one_line, refused
from tests.support.qdrant_rest import QdrantRest
from tests.test_edge import vectors


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


def test_a_collection_behind_a_certificate_of_ones_own(tls: tuple[ssl.SSLContext, Path], tmp_path: Path) -> None:
    with QdrantRest(tmp_path / "server", tls=tls[0]) as server, pytest.raises(EngineError) as error:
        held_datatype(CollectionDataset(url=server.url, collection="mine"))
    assert one_line(error.value).startswith(f"{server.url}: its certificate is not trusted here; name your")


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("no certificate", "no certificate or crl")])
def test_certificates_that_cannot_be_read_are_named(
    content: str | None, reason: str, server: QdrantRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.pem"
    if content:
        file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    said = refused(server.url)
    assert said.startswith(f"SSL_CERT_FILE={file}: ")
    assert reason in said


@pytest.mark.parametrize(("status", "text"), [(507, "over quota"), (429, "gRPC: Insufficient storage: over quota")])
def test_a_quota_that_is_used_up_is_no_server_that_is_busy(status: int, text: str) -> None:
    error = wire.refused(status, text, "http://here")
    assert not isinstance(error, wire.Unavailable)
    assert "the server's quota is used up" in str(error)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (403, '{"status": {"error": "Storage locked: Write operations are forbidden"}}'),
        (500, "gRPC: Storage locked: Write operations are forbidden"),
    ],
)
def test_a_server_that_is_locked_is_not_waited_for_and_needs_no_other_key(status: int, text: str) -> None:
    error = wire.refused(status, text, "http://here")
    said = one_line(error)
    assert not isinstance(error, wire.Unavailable)
    assert "QDRANT_API_KEY" not in said
    assert said.endswith('unlock it: POST /locks {"write": false}')


@pytest.mark.parametrize(
    ("status", "said"),
    [(503, "answered 503 (Service Unavailable)"), (404, ": Not Found"), (599, "answered 599 (no reason given)")],
)
def test_a_refusal_without_a_word_has_that_of_its_status(status: int, said: str) -> None:
    assert one_line(wire.refused(status, "", "http://here")).endswith(said)


def test_no_compression_is_timed(server: QdrantRest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qdrant compresses for every client that allows it, as qdrant-client does."""
    with closing(build(server)) as engine:
        search = engine.search(OperatingPoint(5))
        answer = search.call(search.prepare(vectors(SIZE, 1)[0].tolist()))
        assert len(search.ids(answer)) == 5
        assert "content-encoding" not in answer.headers
        sent: list[httpx.Request] = []
        monkeypatch.setattr(wire.Rest, "send", lambda rest, request: sent.append(request))
        engine.round_trip()
        assert {request.headers["accept-encoding"] for request in sent} == {"identity"}


def test_vectors_and_payloads_are_sent_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    def answer(rest: wire.Rest, request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"result": {}, "status": "ok"})

    monkeypatch.setattr(wire.Rest, "send", answer)
    rest = wire.Rest(httpx.Client(), "http://here:6333", None)
    rows = np.array([[0.1, -3.4e38], [1e-45, 2]], dtype=np.float32).tolist()
    payloads = [{"half a pair": "\ud83d", "ü": [10**30, None]}, None]
    rest.upsert("mine", 5, rows, payloads)
    rest.upsert("mine", 5, rows, [None, None])
    batches = [json.loads(request.content)["batch"] for request in sent]
    assert batches == [
        {"ids": [5, 6], "vectors": rows, "payloads": [payloads[0], {}]},
        {"ids": [5, 6], "vectors": rows},
    ]
    assert str(sent[0].url) == "http://here:6333/collections/mine/points?wait=true"
    assert sent[0].headers["content-type"] == "application/json"


def test_https_to_http_is_named(server: QdrantRest) -> None:
    assert "does not speak TLS; use http://" in refused(server.url.replace("http", "https"))


def test_a_proxy_that_sends_to_https_is_named() -> None:
    moved = httpx.MockTransport(lambda asked: httpx.Response(301, headers={"location": "https://here/"}))
    rest = wire.Rest(httpx.Client(transport=moved), "http://here:80", None)
    with pytest.raises(EngineError, match=r"^engine.url=http://here:80: sends to https://here/; use that address$"):
        rest.ask("GET", "/")


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


def test_grpc_to_a_port_that_is_not_open_is_named_before_any_work(server: QdrantRest) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = refused(server.url, prefer_grpc=True, grpc_port=port)
    assert said.startswith(f"engine.url={server.url} (gRPC port {port}): cannot be reached (")
    assert said.endswith("correct engine.grpc_port")
    with closing(ServerEngine(config(server, prefer_grpc=True, grpc_port=port, patience=0))) as engine:
        engine.create(asked_spec())
        with pytest.raises(EngineError, match=f"gRPC port {port}"):
            engine.upload(vectors(SIZE, 10))
        engine.drop()


@contextmanager
def grpc_without_qdrant(key: bytes = b"", certificate: bytes = b"") -> Iterator[int]:
    """Serve nothing over gRPC, with TLS if there is a key; yield the port."""
    with ThreadPoolExecutor(1) as pool:
        other = grpc.server(pool)
        port = (
            other.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
            if key
            else other.add_insecure_port("127.0.0.1:0")
        )
        other.start()
        try:
            yield port
        finally:
            other.stop(None).wait()


def test_grpc_that_is_not_qdrants_is_named_before_any_work(server: QdrantRest) -> None:
    with grpc_without_qdrant() as port:
        said = refused(server.url, prefer_grpc=True, grpc_port=port)
    assert said.startswith(f"engine.url={server.url} (gRPC port {port}): something answers there, but it is not Qdrant")
    assert said.endswith("correct engine.grpc_port")


def test_grpc_with_a_certificate_of_ones_own(
    tls: tuple[ssl.SSLContext, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    key, certificate = ((tmp_path / file).read_bytes() for file in ("key.pem", "certificate.pem"))
    with QdrantRest(tmp_path / "server", tls=tls[0]) as server, grpc_without_qdrant(key, certificate) as port:
        said = refused(server.url, prefer_grpc=True, grpc_port=port)
    assert said.endswith("not trusted here; name your authority's file in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")


def test_replicas_need_nodes(server: QdrantRest) -> None:
    assert "is 1 node(s); add nodes or ask for less" in refused(server.url, replicas=2)
    server.change = lambda path, result: {"peers": {"1": {}, "2": {}}} if path == "/cluster" else result
    assert engine_version(config(server, replicas=2)) == "server-1.19.0"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": ":memory:"}, "T01 .*local mode"),
        ({"url": "./collections"}, "T01 .*local mode"),
        ({"url": "localhost:6333"}, "must be http://host:port or https://host:port"),
        ({"url": "http://host:port"}, "engine.url=http://host:port"),
        ({"url": "http://a host:6333"}, "^engine.url=http://a host:6333: has a space in it; leave that out$"),
        ({"url": "http://a..b:6333"}, "engine.url=http://a..b:6333"),
        ({"url": "http://[::1]x:6333"}, "engine.url="),
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
