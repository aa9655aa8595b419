"""A live collection over HTTP: the few answers of Qdrant's REST API that reading a collection needs."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from typing import Any

import numpy as np
from qdrant_client import models

KEY = "secret-key"


@dataclass
class LiveCollection:
    """Points [id, vector, payload] by rising id; tests change them, or let requests fail, while they are read."""

    ids: list[int]
    vectors: np.ndarray
    payloads: list[dict[str, Any]]
    distance: str = "Cosine"
    name: str = "mine"
    vector_name: str | None = None
    needs_key: bool = False
    page: int = 500
    requests: list[tuple[str, Any]] = field(default_factory=list)
    before_scroll: Callable[["LiveCollection", int], None] | None = None
    fail_after: int | None = None
    m: int = 24
    datatype: str = "float32"
    payload_schema: dict[str, Any] = field(default_factory=dict)
    hnsw: dict[str, Any] = field(default_factory=dict)
    own_hnsw: dict[str, Any] | None = None
    shared: dict[str, Any] = field(default_factory=dict)
    optimizers: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    strict: dict[str, Any] | None = None
    waits: Iterator[int] = field(default_factory=lambda: iter(()))  # seconds by which the next answers put off
    url: str = ""

    def info(self) -> dict[str, Any]:
        params = {"size": self.vectors.shape[1], "distance": self.distance, "datatype": self.datatype}
        params |= {"hnsw_config": self.own_hnsw}
        info = {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "points_count": len(self.ids) + 3,  # a server's is approximate
            "config": {
                "params": {"vectors": {self.vector_name: params} if self.vector_name else params, **self.shared},
                "hnsw_config": {"m": self.m, "ef_construct": 150, "full_scan_threshold": 2000, **self.hnsw},
                "strict_mode_config": self.strict,
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                    **self.optimizers,
                },
            },
            "payload_schema": self.payload_schema,
        }
        models.CollectionInfo.model_validate(info)  # what the client itself accepts
        return info

    def record(self, row: int, wanted: list[str] | bool) -> dict[str, Any]:
        """Return a point as Qdrant does: a vector without a name is bare unless others are asked for too."""
        named = {self.vector_name or "": self.vectors[row].tolist(), **self.others}
        if isinstance(wanted, list):
            named = {name: named[name] for name in wanted}
        return {
            "id": self.ids[row],
            "payload": self.payloads[row],
            "vector": named[""] if list(named) == [""] else named,
        }

    def scroll(self, asked: dict[str, Any]) -> dict[str, Any]:
        number = sum(path.endswith("scroll") for path, _ in self.requests)
        if self.before_scroll:
            self.before_scroll(self, number)
        offset = asked.get("offset") or 0
        rows = [row for row, key in enumerate(self.ids) if key >= offset]
        limit = min(asked["limit"], self.page)
        following = self.ids[rows[limit]] if len(rows) > limit else None
        return {
            "points": [self.record(row, asked["with_vector"]) for row in rows[:limit]],
            "next_page_offset": following,
        }

    def refuses(self, path: str, asked: dict[str, Any]) -> str | None:
        """Return why strict mode refuses a request, in Qdrant's words."""
        strict = self.strict or {}
        most, rate = strict.get("max_query_limit"), strict.get("read_rate_limit")
        if not strict.get("enabled"):
            return None
        if path.endswith("/scroll") and most and asked["limit"] > most:
            return f'Limit exceeded {asked["limit"]} > {most} for "limit"'
        if path.endswith("/count") and asked["exact"] and strict.get("search_allow_exact") is False:
            return "Exact search disabled!. Help: Set exact=false."
        if path.endswith("/points") and rate and len(asked["ids"]) > rate:
            return "Read rate limit exceeded, request larger than rate limiter capacity"
        return None

    def retrieve(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.record(self.ids.index(key), asked["with_vector"]) for key in asked["ids"] if key in self.ids]


@contextmanager
def served(collection: LiveCollection) -> Iterator[LiveCollection]:
    """Serve the collection on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(None)

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, asked: Any) -> None:
            collection.requests.append((self.path.partition("?")[0], asked))
            if collection.needs_key and self.headers.get("api-key") != KEY:
                return self.reply(401, {"status": {"error": "Must provide an API key"}})
            if collection.fail_after is not None and len(collection.requests) > collection.fail_after:
                return self.reply(503, {"status": {"error": "unavailable"}})
            if (seconds := next(collection.waits, None)) is not None:
                error = f"Read rate limit exceeded: Retry after {seconds}s"
                return self.reply(429, {"status": {"error": error}}, {"Retry-After": str(seconds)})
            base = f"/collections/{collection.name}"
            path = self.path.partition("?")[0]
            if error := collection.refuses(path, asked):
                return self.reply(400, {"status": {"error": f"Bad request: {error}"}})
            if path == base:
                result: Any = collection.info()
            elif path == f"{base}/points/scroll":
                result = collection.scroll(asked)
            elif path == f"{base}/points/count":
                result = {"count": len(collection.ids)}
            elif path == f"{base}/points":
                result = collection.retrieve(asked)
            else:
                return self.reply(404, {"status": {"error": f"Not found: {path}"}})
            return self.reply(200, {"result": result, "status": "ok", "time": 0.0})

        def reply(self, code: int, body: Any, headers: Mapping[str, str] = MappingProxyType({})) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    collection.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collection
    finally:
        server.shutdown()
        server.server_close()
