"""A small HTTP server that speaks the part of Qdrant's REST API that qexp needs, with faults on request."""

import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from qdrant_client import models
from qdrant_client.http.models import QueryResponse

from tests.support import reports
from tests.support.collections import Collection, Refusal
from tests.support.http_server import HttpServer, Reply, Request

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
        self.http = HttpServer(self._respond, tls)
        self.api_key: str | None = None
        self.read_only_key: str | None = None
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.keys: set[str | None] = set()
        self.change: Callable[[str, Any], Any] = lambda path, result: result  # what it reports instead
        self.defaults: dict[str, Any] = {}  # of new collections

    def __enter__(self) -> "QdrantRest":
        self.home.mkdir(parents=True, exist_ok=True)
        self.known = tuple(map(int, self.version.split(".")))
        self.collections = {f.name: Collection(f.name, f, self.known) for f in self.home.iterdir()}
        self.http.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening, break every connection, keep the data."""
        self.http.__exit__()
        for collection in self.collections.values():
            collection.close()
        self.collections = {}

    def restart(self) -> None:
        """Come back on the same port with the same data."""
        self.stop()
        self.__enter__()

    @property
    def url(self) -> str:
        return self.http.url

    def fail(self, pattern: str, times: int = 1, **how: Any) -> None:
        self.faults.append(Fault(pattern, times, **how))

    def fault(self, asked: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, asked):
                fault.times -= 1
                return fault
        return None

    def _respond(self, request: Request) -> Reply | None:
        """Answer, or do what is to befall the request."""
        asked = f"{request.method} {request.path}"
        self.asked.append(asked)
        self.keys.add(request.headers["api-key"])
        fault = self.fault(asked)
        if fault:
            time.sleep(fault.seconds)
            if fault.drop:
                return None
            if fault.status:
                return _error(fault.status, fault.message)
        started = time.perf_counter()
        refused = self._unauthorized(request)
        if refused:
            return refused
        if request.path == "/":
            about = models.VersionInfo(title="qdrant - vector search engine", version=self.version)
            return Reply(200, self.change("/", about.model_dump()))
        if request.path == "/healthz":
            return Reply(200, "healthz check passed")
        try:
            result = self.answer(request.method, request.path, request.query, request.body)
        except Refusal as error:
            return _error(error.status, str(error)) if str(error) else Reply(error.status)
        except (ValidationError, ValueError) as error:
            return _error(400, f"Format error in JSON body: {error}")
        shown = self.change(request.path, _plain(result))
        return Reply(200, {"result": shown, "status": "ok", "time": time.perf_counter() - started})

    def _unauthorized(self, request: Request) -> Reply | None:
        """Answer like Qdrant's middleware: in plain text where there is no valid key."""
        key = request.headers["api-key"]
        if self.api_key in (None, key) or request.path in OPEN_TO_ALL:
            return None
        if key is None:
            return Reply(401, "Must provide an API key or an Authorization bearer token")
        if key != self.read_only_key:
            return Reply(401, "Invalid API key or JWT")
        reading = request.method == "POST" and request.path.endswith(
            ("/points/query", "/points/count", "/points/scroll", "/points")
        )
        if request.method == "GET" or reading:
            return None
        return _error(403, "Forbidden: Global manage access is required")

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


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"status": {"error": message}, "time": 0.0})


def _plain(result: Any) -> Any:
    """Return models as JSON values."""
    if isinstance(result, BaseModel):
        return json.loads(result.model_dump_json(exclude_none=True))
    return [_plain(item) for item in result] if isinstance(result, list) else result
