"""Connections to a Qdrant server and what is there; the API key is in the environment, and no message repeats it."""

import logging
import os
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from qexp.config import ServerConfig
from qexp.engine import dialect
from qexp.engine.wire import Grpc, Rest
from qexp.errors import ConfigError, EngineError, in_one_line

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

log = logging.getLogger(__name__)

API_KEY = "QDRANT_API_KEY"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def connect(config: ServerConfig, condition: dict[str, Any] | None = None) -> tuple["QdrantClient", Rest, str]:
    """Return a client, its REST API and the server's version; the key is read here and lives in the client only.

    Raises EngineError if no Qdrant is there.
    """
    client = client_of(
        config.url,
        timeout=config.timeout,
        grpc_port=config.grpc_port,
        # By default qdrant-client opens a new connection for every request to this machine.
        limits=httpx.Limits(max_keepalive_connections=config.upload_parallel + 1),
    )
    # The session has no public name, but the layers above it would be timed with the search.
    rest = Rest(client.http.client._client, client.http.client.host, condition)
    about = rest.ask("GET", "/")
    if "qdrant" not in str(about.get("title", "")).lower():
        raise EngineError(f"engine.url={rest.url}: something answers there, but it is not Qdrant; check host and port")
    return client, rest, str(about.get("version"))


def client_of(url: str, **settings: Any) -> "QdrantClient":
    """Return a client with the key; no request is sent yet. Raises ConfigError for certificates that cannot be read."""
    from qdrant_client import QdrantClient

    key = _api_key(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the one about the key is said already
        try:
            return QdrantClient(url=url, api_key=key, check_compatibility=False, **settings)
        except OSError as error:
            if not (file := os.environ.get("SSL_CERT_FILE")):
                raise
            why = in_one_line(error)
            raise ConfigError(f"SSL_CERT_FILE={file}: {why}; name a PEM file of certificates, or unset it") from error


def server_version(config: ServerConfig, quantization: dict[str, Any] | None) -> str:
    """Return the server's version; EngineError if it is too old, does not let us in, or lacks gRPC or nodes."""
    client, rest, version = connect(config)
    try:
        dialect.check_quantization(quantization, dialect.parse_version(version, rest.url), f"engine.url={rest.url}")
        rest.ask("GET", "/collections")
        if config.prefer_grpc:
            Grpc(client, config).ping()
        nodes = len(rest.ask("GET", "/cluster").get("peers") or [rest.url]) if config.replicas > 1 else 1
        if nodes < config.replicas:
            raise EngineError(
                f"engine.replicas={config.replicas}: {rest.url} is {nodes} node(s); add nodes or ask for less"
            )
    finally:
        client.close()
    return version


def _api_key(url: str) -> str | None:
    """Return the key to send to a server, None without one; where it travels unencrypted is said.

    Raises EngineError for a key that no header can carry.
    """
    key = os.environ.get(API_KEY, "").strip()  # files and pastes leave ends of lines behind it
    if not (key.isascii() and key.isprintable()):
        raise EngineError(
            f"{API_KEY}: has characters that no key of Qdrant's has, such as typographic quotes; copy it again"
        )
    if key and url.startswith("http://") and urlsplit(url).hostname not in _LOOPBACK:
        _say_unencrypted(url)
    return key or None


@cache
def _say_unencrypted(url: str) -> None:
    """Say it once in this process, however many clients there are."""
    log.warning("%s: %s travels unencrypted; use https://", url, API_KEY)
