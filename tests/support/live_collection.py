"""A live collection over HTTP: the few answers of Qdrant's REST API that reading a collection needs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qdrant_client import models

from tests.support.http_server import HttpServer, Reply, Request

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

    def answer(self, request: Request) -> Reply:
        path, asked = request.path, request.body
        self.requests.append((path, asked))
        if self.needs_key and request.headers["api-key"] != KEY:
            return _error(401, "Must provide an API key")
        if self.fail_after is not None and len(self.requests) > self.fail_after:
            return _error(503, "unavailable")
        if (seconds := next(self.waits, None)) is not None:
            return _error(429, f"Read rate limit exceeded: Retry after {seconds}s", **{"Retry-After": str(seconds)})
        if error := self.refuses(path, asked):
            return _error(400, f"Bad request: {error}")
        base = f"/collections/{self.name}"
        if path == base:
            result: Any = self.info()
        elif path == f"{base}/points/scroll":
            result = self.scroll(asked)
        elif path == f"{base}/points/count":
            result = {"count": len(self.ids)}
        elif path == f"{base}/points":
            result = self.retrieve(asked)
        else:
            return _error(404, f"Not found: {path}")
        return Reply(200, {"result": result, "status": "ok", "time": 0.0})


def _error(status: int, message: str, **headers: str) -> Reply:
    return Reply(status, {"status": {"error": message}}, headers)


@contextmanager
def served(collection: LiveCollection) -> Iterator[LiveCollection]:
    """Serve the collection on a free port of this machine."""
    with HttpServer(collection.answer) as server:
        collection.url = server.url
        yield collection
