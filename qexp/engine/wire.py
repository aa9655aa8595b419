"""Requests to a Qdrant server: what goes wrong becomes one line, and a timed search is one exchange of bytes."""

import contextlib
import json
from collections.abc import Callable, Sequence
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from qexp.config import ServerConfig
from qexp.errors import EngineError, in_one_line
from qexp.results import OperatingPoint, Search

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

OK = frozenset((200, 201, 202))
BUSY = frozenset((408, 429))  # a server says so, or that it is broken or starting (500 and above); worth trying again
OVER_QUOTA = 507
OVER_QUOTA_WORDS = "insufficient storage"  # over gRPC, which has one code for that and for a server that is busy
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"  # in OpenSSL's words and in gRPC's
NOT_CONNECTED = "failed to connect"  # of gRPC's own, which has one code for that and for a server that says it is away
JSON = {"content-type": "application/json"}
# Answers over 1 KiB that a server compresses leave it in pieces, which the kernel holds back for up to 40 ms.
PLAIN = {"accept-encoding": "identity"}


class Unavailable(EngineError):
    """The server is away, busy or broken at the moment; the same request may succeed later."""


class Missing(EngineError):
    """There is nothing of that name."""


class Taken(EngineError):
    """There is something of that name already."""


Payloads = Sequence[dict[str, Any] | None]


class Rest:
    """The REST API through qdrant-client's own HTTP session, which holds the key."""

    def __init__(self, session: httpx.Client, url: str, condition: dict[str, Any] | None) -> None:
        self._session = session
        self._condition = condition  # a filter of all searches
        self.url = url.rstrip("/")

    def ask(self, method: str, path: str, body: Any = None, params: dict[str, str] | None = None) -> Any:
        """Return the `result` of a request; raise Unavailable, Missing, Taken or another EngineError."""
        request = self._session.build_request(method, f"{self.url}{path}", params=params, json=body)
        answer = _envelope(self.send(request), self.url)
        return answer.get("result", answer)

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return the response that says it was done."""
        try:
            response = self._session.send(request)
        except httpx.HTTPError as error:
            raise unreachable(error, f"engine.url={self.url}") from error
        if response.status_code not in OK:
            if response.has_redirect_location:
                raise EngineError(f"engine.url={self.url}: sends to {response.headers['location']}; use that address")
            raise refused(response.status_code, response.text, self.url)
        return response

    def upsert(self, collection: str, first: int, rows: list[list[float]], payloads: Payloads) -> None:
        """Store rows as the points `first`, `first` + 1, …, and wait until they are."""
        from pydantic_core import to_json

        # to_json is six times as fast as json.dumps with floats, but refuses half of a surrogate pair in a payload.
        batch = [b'"ids":' + to_json(list(range(first, first + len(rows)))), b'"vectors":' + to_json(rows)]
        if any(payloads):
            batch.append(b'"payloads":' + json.dumps([payload or {} for payload in payloads]).encode())
        request = self._session.build_request(
            "PUT",
            f"{self.url}/collections/{collection}/points",
            params={"wait": "true"},
            content=b'{"batch":{' + b",".join(batch) + b"}}",
            headers=JSON,
        )
        _envelope(self.send(request), self.url)

    def search(self, collection: str, point: OperatingPoint) -> Search:
        """Return a search whose request is bytes beforehand and whose response is bytes until afterwards."""
        url = f"{self.url}/collections/{collection}/points/query"
        params: dict[str, Any] = {
            "exact": point.exact,
            "quantization": {"ignore": point.ignore, "rescore": point.rescore, "oversampling": point.oversampling},
        }
        if point.hnsw_ef is not None:
            params["hnsw_ef"] = point.hnsw_ef
        asked = {"limit": point.limit, "params": params, "with_payload": False, "with_vector": False}
        if self._condition:
            asked["filter"] = self._condition

        def prepare(vector: list[float]) -> httpx.Request:
            content = json.dumps({"query": vector, **asked}, separators=(",", ":"))
            return self._session.build_request("POST", url, content=content, headers=JSON | PLAIN)

        def ids(response: httpx.Response) -> list[int]:
            return [hit["id"] for hit in json.loads(response.content)["result"]["points"]]

        def scores(response: httpx.Response) -> list[float]:
            return [hit["score"] for hit in json.loads(response.content)["result"]["points"]]

        def server_seconds(response: httpx.Response) -> float:
            return float(json.loads(response.content)["time"])

        return Search(prepare, self.send, ids, scores, server_seconds)

    def ping(self) -> None:
        """Go there and back with as little work as possible."""
        self.send(self._session.build_request("GET", f"{self.url}/healthz", headers=PLAIN))


class Grpc:
    """Upserts and searches over gRPC; everything else stays with REST."""

    def __init__(self, client: "QdrantClient", config: ServerConfig, condition: dict[str, Any] | None = None) -> None:
        from grpc import RpcError
        from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

        self._exhausted, self._failed = ResourceExhaustedResponse, RpcError  # not imported anew in what is timed
        self._stub = client.grpc_points
        self._condition = condition
        self._collections = client.grpc_collections
        self._timeout = config.timeout
        self.url = f"{config.url.rstrip('/')} (gRPC port {config.grpc_port})"

    def upsert(self, collection: str, first: int, rows: list[list[float]], payloads: Payloads) -> None:
        """Store rows as the points `first`, `first` + 1, …, and wait until they are."""
        from qdrant_client import grpc
        from qdrant_client.conversions.conversion import RestToGrpc

        points = [
            grpc.PointStruct(
                id=grpc.PointId(num=first + offset),
                vectors=grpc.Vectors(vector=grpc.Vector(dense=grpc.DenseVector(data=row))),
                payload=RestToGrpc.convert_payload(payloads[offset] or {}),
            )
            for offset, row in enumerate(rows)
        ]
        self._call(self._stub.Upsert, grpc.UpsertPoints(collection_name=collection, wait=True, points=points))

    def search(self, collection: str, point: OperatingPoint) -> Search:
        """Return a search on the bare stub: a message beforehand, a message afterwards."""
        from qdrant_client import grpc, models
        from qdrant_client.conversions.conversion import RestToGrpc

        given = RestToGrpc.convert_filter(models.Filter.model_validate(self._condition)) if self._condition else None
        params = grpc.SearchParams(
            exact=point.exact,
            hnsw_ef=point.hnsw_ef,
            quantization=grpc.QuantizationSearchParams(
                ignore=point.ignore, rescore=point.rescore, oversampling=point.oversampling
            ),
        )

        def prepare(vector: list[float]) -> Any:
            nearest = grpc.VectorInput(dense=grpc.DenseVector(data=vector))
            return grpc.QueryPoints(
                collection_name=collection,
                query=grpc.Query(nearest=nearest),
                filter=given,
                params=params,
                limit=point.limit,
            )

        def call(request: Any) -> Any:
            return self._call(self._stub.Query, request)

        def ids(response: Any) -> list[int]:
            return [hit.id.num for hit in response.result]

        def scores(response: Any) -> list[float]:
            return [hit.score for hit in response.result]

        def server_seconds(response: Any) -> float:
            return float(response.time)

        return Search(prepare, call, ids, scores, server_seconds)

    def ping(self) -> None:
        """Go there and back with as little work as possible."""
        from qdrant_client import grpc

        self._call(self._collections.CollectionExists, grpc.CollectionExistsRequest(collection_name="qexp"))

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except self._exhausted as error:
            raise refused(429, str(error), self.url) from error
        except self._failed as error:
            from grpc import StatusCode

            status = {
                StatusCode.UNAVAILABLE: 503,
                StatusCode.DEADLINE_EXCEEDED: 408,
                StatusCode.RESOURCE_EXHAUSTED: 429,
                StatusCode.UNAUTHENTICATED: 401,
                StatusCode.PERMISSION_DENIED: 403,
                StatusCode.NOT_FOUND: 404,
                StatusCode.INTERNAL: 500,
                StatusCode.FAILED_PRECONDITION: 500,  # a shard that a node does not have yet; over REST it is 500
                StatusCode.CANCELLED: 503,  # Qdrant's own nodes ask again too
            }.get(error.code(), 400)
            reason = in_one_line(error.details())
            if UNTRUSTED in reason:
                raise _untrusted(f"engine.url={self.url}", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH") from error
            if status == 503 and NOT_CONNECTED in reason:
                raise Unavailable(
                    f"engine.url={self.url}: cannot be reached ({reason}); start the server or correct engine.grpc_port"
                ) from error
            if error.code() is StatusCode.UNIMPLEMENTED:
                raise EngineError(
                    f"engine.url={self.url}: something answers there, but it is not Qdrant's gRPC API ({reason}); "
                    f"correct engine.grpc_port"
                ) from error
            told = f"gRPC: {error.details()}" if error.details() else ""
            raise refused(status, told, self.url) from error


def _envelope(response: httpx.Response, url: str) -> dict[str, Any]:
    """Return the JSON object that a Qdrant server answers with."""
    try:
        answer = json.loads(response.content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineError(f"engine.url={url}: something answers there, but it is not Qdrant's REST API; check the port")
    return answer


def unreachable(error: httpx.HTTPError, where: str) -> EngineError:
    """Say why no answer came from `where`, a setting with its URL, and what to do."""
    reason = in_one_line(error) or type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol):
        return EngineError(f"{where}: {reason}")
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return EngineError(f"{where}: the server there does not speak TLS; use http://, or its TLS port")
    if UNTRUSTED in reason:
        return _untrusted(where, "SSL_CERT_FILE")
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(
            f"{where}: no answer in time ({type(error).__name__}); is the server up and the port Qdrant's "
            f"REST port? engine.timeout=… waits longer"
        )
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and "http://" in where:
        return Unavailable(
            f"{where}: the connection broke ({reason}); if the server is up, is this Qdrant's REST port, and "
            f"not one that wants https://?"
        )
    return Unavailable(f"{where}: cannot be reached ({reason}); start the server or correct the URL")


def _untrusted(where: str, variable: str) -> EngineError:
    return EngineError(f"{where}: its certificate is not trusted here; name your authority's file in {variable}")


def refused(status: int, text: str, url: str) -> EngineError:
    """Say what the server refused, in its own words, and what to do."""
    reason = reason_in(status, text)
    where = f"engine.url={url}"
    if "Storage locked: " in reason:  # by 1.15, the last that could be
        return EngineError(f'{where}: the server refuses writes ({reason}); unlock it: POST /locks {{"write": false}}')
    if status == 401:
        return EngineError(f"{where}: the key is missing or wrong ({reason}); set QDRANT_API_KEY to one that may write")
    if status == 403:
        return EngineError(f"{where}: the key does not allow this ({reason}); set QDRANT_API_KEY to one that may write")
    if status == 404:
        return Missing(f"{where}: {reason}")
    if status == 409 or "already exists" in reason:
        return Taken(f"{where}: {reason}")
    if "no space left" in reason.lower():
        return EngineError(f"{where}: the server's disk is full ({reason}); free space there or use fewer points")
    if status == OVER_QUOTA or OVER_QUOTA_WORDS in reason.lower():
        return EngineError(f"{where}: the server's quota is used up ({reason}); free there what it names, or raise it")
    if status == 400 and "HTTPS" in reason.upper() and urlsplit(url).scheme == "http":
        return EngineError(f"{where}: the server there wants TLS; use https://")
    if status == 413:
        return EngineError(f"{where}: {reason}; raise the server's max_request_size_mb")
    if status in BUSY or status >= 500:
        return Unavailable(f"{where}: the server answered {status} ({reason})")
    return EngineError(f"{where}: the server refused ({status}: {reason})")


def reason_in(status: int, text: str) -> str:
    """Return the error inside Qdrant's envelope, else the text itself, on one line; what the status means without."""
    if text.lstrip().startswith("<"):
        return "a web page, which is no answer of Qdrant's: check host, port, and what is between"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["status"]["error"]
    return in_one_line(text)[:300] or responses.get(status, "no reason given")
