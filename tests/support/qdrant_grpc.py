"""The gRPC side of the support server: upserts and searches on the same collections."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest
from qdrant_client.grpc import collections_service_pb2_grpc as collections_api
from qdrant_client.grpc import points_service_pb2_grpc as points_api

from tests.support.collections import Refusal
from tests.support.qdrant_rest import QdrantRest

STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class QdrantGrpc(points_api.PointsServicer, collections_api.CollectionsServicer):
    """Use it as a context manager; `port` is its own."""

    def __init__(self, rest: QdrantRest) -> None:
        self.rest = rest

    def __enter__(self) -> "QdrantGrpc":
        self.server = grpc.server(ThreadPoolExecutor(4))
        points_api.add_PointsServicer_to_server(self, self.server)
        collections_api.add_CollectionsServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop(None).wait()

    def _admit(self, what: str, context: Any) -> None:
        """Check the key as REST does, and let what is asked for befall the request."""
        self.rest.asked.append(what)
        sent = dict(context.invocation_metadata()).get("api-key")
        self.rest.keys.add(sent)
        if self.rest.api_key is not None and sent != self.rest.api_key:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")
        fault = self.rest.fault(what)
        if fault:
            context.abort(STATUS.get(fault.status, grpc.StatusCode.INTERNAL), fault.message)

    def _collection(self, name: str, context: Any) -> Any:
        if name not in self.rest.collections:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")
        return self.rest.collections[name]

    def Upsert(self, request: Any, context: Any) -> Any:
        started = time.perf_counter()
        self._admit("gRPC Upsert", context)
        assert request.wait
        ids = [point.id.num for point in request.points]
        rows = [list(point.vectors.vector.dense.data) for point in request.points]
        try:
            payloads = [GrpcToRest.convert_payload(point.payload) for point in request.points]
            self._collection(request.collection_name, context).upsert(ids, rows, payloads)
        except Refusal as error:
            context.abort(STATUS[error.status], str(error))
        done = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
        return messages.PointsOperationResponse(result=done, time=time.perf_counter() - started)

    def Query(self, request: Any, context: Any) -> Any:
        started = time.perf_counter()
        self._admit("gRPC Query", context)
        codes = request.params.quantization
        asked = models.QueryRequest(
            query=list(request.query.nearest.dense.data),
            limit=request.limit,
            filter=GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
            params=models.SearchParams(
                exact=request.params.exact,
                hnsw_ef=request.params.hnsw_ef if request.params.HasField("hnsw_ef") else None,
                quantization=models.QuantizationSearchParams(
                    ignore=codes.ignore, rescore=codes.rescore, oversampling=codes.oversampling
                ),
            ),
        )
        hits = self._collection(request.collection_name, context).query(asked)
        scored = [messages.ScoredPoint(id=messages.PointId(num=hit.id), score=hit.score) for hit in hits]
        return messages.QueryResponse(result=scored, time=time.perf_counter() - started)

    def CollectionExists(self, request: Any, context: Any) -> Any:
        self._admit("gRPC CollectionExists", context)
        exists = messages.CollectionExists(exists=request.collection_name in self.rest.collections)
        return messages.CollectionExistsResponse(result=exists, time=0.0)
