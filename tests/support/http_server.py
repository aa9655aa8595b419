"""A small HTTP server: stand-ins of Qdrant, of the hub and of MLflow say what it answers."""

import contextlib
import gzip
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


class Reply(NamedTuple):
    """Bytes go out as they are, text as plain text, all else as JSON."""

    status: int
    body: Any = b""
    headers: Mapping[str, str] = MappingProxyType({})


class HttpServer:
    """Answers on a free port of this machine, packed where the client takes it; None breaks a connection off.

    Use it as a context manager; once left, it can be entered again on the same port.
    """

    def __init__(self, answer: Callable[[Request], Reply | None], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.port = 0
        self.away = True
        self.connections: list[socket.socket] = []
        self._tls = tls

    def __enter__(self) -> Self:
        self._http = _Server(("127.0.0.1", self.port), _handler(self))
        if self._tls:
            self._http.socket = self._tls.wrap_socket(self._http.socket, server_side=True)
        self.port, self.away = self._http.server_port, False
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and break every connection."""
        self.away = True
        self._http.shutdown()
        self._http.server_close()
        while self.connections:
            with contextlib.suppress(OSError):
                self.connections.pop().shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to print."""


def _handler(server: HttpServer) -> type[BaseHTTPRequestHandler]:
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
            asked = urlsplit(self.path)
            reply = server.answer(Request(self.command, asked.path, parse_qs(asked.query), self.headers, content))
            if reply is None or server.away:
                self.close_connection = True
                return
            kind, body = _encoded(reply.body)
            headers = {"content-type": kind, **reply.headers}
            if body and "gzip" in self.headers.get("accept-encoding", ""):
                body, headers["content-encoding"] = gzip.compress(body), "gzip"
            self.send_response(reply.status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

    return Handler


def _encoded(body: Any) -> tuple[str, bytes]:
    if isinstance(body, bytes):
        return "application/octet-stream", body
    return ("text/plain", body.encode()) if isinstance(body, str) else ("application/json", json.dumps(body).encode())
