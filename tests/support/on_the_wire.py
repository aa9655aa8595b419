"""What the tests of the server engine share: a small collection, built through the real client."""

from contextlib import closing
from typing import Any

import pytest

from qexp.config import ServerConfig
from qexp.engine.base import build_collection
from qexp.engine.configured import engine_version
from qexp.engine.dialect import collection_name
from qexp.engine.server import ServerEngine
from qexp.errors import QexpError
from qexp.results import CollectionSpec
from tests.support.qdrant_rest import QdrantRest
from tests.test_edge import spec, vectors

SIZE, FEW = 32, 600
KEY = "a-key-that-must-appear-nowhere"


def asked_spec(method: str = "scalar", **more: Any) -> CollectionSpec:
    return spec(method, **{"size": SIZE, "points": FEW, "engine": "server-1.19.0", **more})


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


def refused(url: str, **more: Any) -> str:
    with pytest.raises(QexpError) as error:
        engine_version(ServerConfig("server", url=url, **more))
    return one_line(error.value)
