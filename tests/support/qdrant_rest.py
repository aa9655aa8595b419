"""A small HTTP server that speaks the part of Qdrant's REST API that qexp needs, with faults on request."""

import contextlib
import gzip
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, ValidationError
from qdrant_client import models
from qdrant_client.http.models import QueryResponse

from tests.support import reports
from tests.support.collections import Collection, Refusal

OPEN_TO_ALL = ("/", "/healthz")


@dataclass
class Fault:
    """What befalls the next `times` requests whose `METHOD path` matches: a status, no answer at all, or a wait.

    Waiting happens on the way: the server does not count it as its own time.
    """

    pattern: str
    times: int
    status: int = 0
    message: str = ""
    drop: bool = False
    seconds: float = 0.0


class QdrantRest:
    """A server of collections below `home`; it can be restarted with its data. Use it as a context manager."""

    def __init__(self, home: Path, version: str = "1.19.0", tls: ssl.SSLContext | None = None) -> None:
        self.home = home
        self.version = version
        self.tls = tls
        self.api_key: str | None = None
        self.read_only_key: str | None = None
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.keys: set[str | None] = set()
        self.change: Callable[[str, Any], Any] = lambda path, result: result  # what it reports instead
        self.defaults: dict[str, Any] = {}  # of new collections
        self.port = 0
        self.away = False

    def __enter__(self) -> "QdrantRest":
        self.home.mkdir(parents=True, exist_ok=True)
        self.known = tuple(map(int, self.version.split(".")))
        self.collections = {f.name: Collection(f.name, f, self.known) for f in self.home.iterdir()}
        self.connections: list[Any] = []
        self.away = False
        self.http = _Server(("127.0.0.1", self.port), _handler(self))
        if self.tls:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening, break every connection, keep the data."""
        self.away = True
        self.http.shutdown()
        self.http.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for collection in self.collections.values():
            collection.close()
        self.collections = {}

    def restart(self) -> None:
        """Come back on the same port with the same data."""
        self.stop()
        self.__enter__()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def fail(self, pattern: str, times: int = 1, **how: Any) -> None:
        self.faults.append(Fault(pattern, times, **how))

    def fault(self, asked: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, asked):
                fault.times -= 1
                return fault
        return None

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """Return the result of a request; raise Refusal as Qdrant would."""
        if method == "GET" and path == "/collections":
            named = [models.CollectionDescription(name=name) for name in self.collections]
            return models.CollectionsResponse(collections=named)
        if method == "GET" and path == "/telemetry":
            shown = [reports.telemetry(collection) for collection in self.collections.values()]
            return {"id": "0", "collections": {"number_of_collections": len(shown), "collections": shown}}
        if method == "GET" and path == "/cluster":
            return {"status": "disabled"}
        found = re.fullmatch(r"/collections/([^/]+)(/.*)?", path)
        if not found:
            raise Refusal(404, "")
        name, below = unquote(found[1]), found[2] or ""
        if method == "PUT" and not below:
            if name in self.collections:
                raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
            merged = [part for part in ("hnsw_config", "optimizers_config") if part in self.defaults]
            asked = {**self.defaults, **body, **{part: {**self.defaults[part], **body[part]} for part in merged}}
            self.collections[name] = Collection.create(name, self.home / name, self.known, asked)
            return True
        if method == "DELETE" and not below:
            if name in self.collections:
                self.collections.pop(name).drop()
            return True
        if name not in self.collections:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._about(self.collections[name], f"{method} {below}", query, body)

    def _about(self, collection: Collection, what: str, query: dict[str, list[str]], body: Any) -> Any:
        if what == "GET ":
            return reports.info(collection)
        if what == "PATCH ":
            collection.update(body)
            return True
        if what == "PUT /points":
            batch = models.PointsBatch.model_validate(body).batch
            assert query["wait"] == ["true"]
            operation = collection.upsert(batch.ids, batch.vectors, batch.payloads)
            return models.UpdateResult(operation_id=operation, status="completed")
        if what == "POST /points/query":
            return QueryResponse(points=collection.query(models.QueryRequest.model_validate(body)))
        if what == "PUT /index":
            return models.UpdateResult(operation_id=collection.index(body), status="completed")
        if what == "POST /points/scroll":
            return collection.scroll(models.ScrollRequest.model_validate(body))
        if what == "POST /points/count":
            models.CountRequest.model_validate(body)
            return models.CountResult(count=collection.count())
        if what == "POST /points":
            asked = models.PointRequest.model_validate(body)
            assert asked.with_vector
            return collection.retrieve(asked.ids)
        if what == "GET /cluster":
            return reports.cluster(collection)
        if what == "GET /optimizations" and self.known >= (1, 17):
            return reports.optimizations(collection)
        if what == "GET /memory" and self.known >= (1, 18):
            return reports.memory(collection)
        raise Refusal(404, "")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to print."""


def _handler(server: QdrantRest) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            server.connections.append(self.connection)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            asked = f"{self.command} {parts.path}"
            server.asked.append(asked)
            server.keys.add(self.headers.get("api-key"))
            fault = server.fault(asked)
            if fault:
                time.sleep(fault.seconds)
                if fault.drop:
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault.status:
                    self._reply(fault.status, {"status": {"error": fault.message}, "time": 0.0})
                    return
            started = time.perf_counter()
            refusal = self._unauthorized(parts.path)
            if refusal:
                self._reply(*refusal)
                return
            if parts.path == "/":
                about = models.VersionInfo(title="qdrant - vector search engine", version=server.version)
                self._reply(200, server.change("/", about.model_dump()))
                return
            if parts.path == "/healthz":
                self._reply(200, "healthz check passed")
                return
            try:
                body = json.loads(content) if content else None
                result = server.answer(self.command, parts.path, parse_qs(parts.query), body)
            except Refusal as error:
                status, message = error.status, str(error)
                self._reply(status, {"status": {"error": message}, "time": 0.0} if message else "")
            except (ValidationError, ValueError) as error:
                self._reply(400, {"status": {"error": f"Format error in JSON body: {error}"}, "time": 0.0})
            else:
                shown = server.change(parts.path, _plain(result))
                self._reply(200, {"result": shown, "status": "ok", "time": time.perf_counter() - started})

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

        def _unauthorized(self, path: str) -> tuple[int, Any] | None:
            """Answer like Qdrant's middleware: in plain text where there is no valid key."""
            if server.api_key is None or path in OPEN_TO_ALL:
                return None
            key = self.headers.get("api-key")
            if key is None:
                return 401, "Must provide an API key or an Authorization bearer token"
            if key == server.api_key:
                return None
            if key != server.read_only_key:
                return 401, "Invalid API key or JWT"
            reading = self.command == "POST" and path.endswith(
                ("/points/query", "/points/count", "/points/scroll", "/points")
            )
            if self.command == "GET" or reading:
                return None
            return 403, {"status": {"error": "Forbidden: Global manage access is required"}, "time": 0.0}

        def _reply(self, status: int, body: Any) -> None:
            if server.away:
                self.close_connection = True
                return
            plain = isinstance(body, str)
            content = body.encode() if plain else json.dumps(body).encode()
            packed = "gzip" in self.headers.get("accept-encoding", "")
            content = gzip.compress(content) if packed and content else content
            self.send_response(status)
            self.send_header("content-type", "text/plain" if plain else "application/json")
            if packed and content:
                self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _plain(result: Any) -> Any:
    """Return models as JSON values."""
    if isinstance(result, BaseModel):
        return json.loads(result.model_dump_json(exclude_none=True))
    return [_plain(item) for item in result] if isinstance(result, list) else result
