"""The worker's side of the process border: one engine that answers requests."""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexp.bench.blocks import ids_of, responses, timed_block
from qexp.bench.load import arrivals, closed_loop, open_loop
from qexp.bench.policies import Policy, margin
from qexp.engine.base import Engine, build_collection
from qexp.engine.process import process_memory
from qexp.errors import QexpError
from qexp.results import Block, Build, CollectionSpec, Ids, LoadLevel, LoadSample, OperatingPoint
from qexp.results.footprint import ProcessMemory


class _Servant:
    """The worker's side: one engine, and the vectors and queries as memory-mapped files."""

    def __init__(self, make_engine: Callable[[], Engine], queries: Path) -> None:
        self.engine = make_engine()
        self.queries = queries
        self._query_rows: list[list[float]] = []
        self._queries: list[Any] = []
        self._load: tuple[Callable[[Any], Any], list[Any]]

    def ready(self) -> None:
        if not self._query_rows:
            self._query_rows = np.load(self.queries).tolist()
            self._queries = [self.engine.query(row) for row in self._query_rows]

    def open(self, spec: CollectionSpec) -> Build | None:
        self.ready()  # queries are not the collection's memory
        return self.engine.open(spec)

    def build(self, spec: CollectionSpec, vectors: Path, payload: Path | None) -> Build:
        return build_collection(self.engine, spec, np.load(vectors, mmap_mode="r"), payload)

    def block(self, point: OperatingPoint, warmup: int, with_ids: bool) -> Block:
        return timed_block(self.engine.search(point), self._queries, point.limit, warmup, with_ids)

    def warm(self, points: Iterable[OperatingPoint]) -> None:
        for point in points:
            deque(responses(self.engine.search(point), self._queries), maxlen=0)

    def found(self, point: OperatingPoint) -> Ids:
        search = self.engine.search(point)
        return ids_of(search, responses(search, self._queries), point.limit)

    def cold_block(self, point: OperatingPoint, with_ids: bool) -> Block:
        self.engine.drop_pages()
        return self.block(point, 0, with_ids)

    def prepare_load(self, point: OperatingPoint, client: int, clients: int, warmup: int) -> None:
        search = self.engine.search(point)
        own = self._queries[client % len(self._queries) :: clients]
        self._load = search.call, [search.prepare(query) for query in own]
        for request in self._load[1][:warmup]:
            search.call(request)

    def run_load(self, client: int, level: LoadLevel, start_ns: int, seconds: float) -> LoadSample:
        call, requests = self._load
        if level.rate is None:
            return closed_loop(call, requests, start_ns, seconds)
        due = arrivals(client, level, start_ns, seconds)
        return open_loop(call, requests, due, start_ns, seconds)

    def policy(self, policy: Policy, warmup: int, with_ids: bool) -> Block:
        return timed_block(policy.search(self.engine.search), self._query_rows, policy.limit, warmup, with_ids)

    def margins(self, point: OperatingPoint, k: int) -> NDArray[np.float64]:
        search = self.engine.search(point)
        assert search.scores is not None
        return np.array([margin(search.scores(response), k) for response in responses(search, self._queries)])

    def process(self) -> ProcessMemory | None:
        return process_memory()


class _ToParent(logging.Handler):
    """Sends what is logged during a request to where it came from, before the answer."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None  # what can be sent for certain
        self._pipe.send(record)


def serve(pipe: Connection, imported: object) -> None:
    """Answer requests until the pipe closes: first `make`, which has no answer. Interrupts are the parent's business.

    `imported` is there for the modules that it brings along, before the first request.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    log = logging.getLogger("qexp")
    log.setLevel(logging.INFO)
    log.addHandler(_ToParent(pipe))
    servant: _Servant | None = None
    made: tuple[Any, ...] = ()
    while True:
        try:
            request, arguments = pipe.recv()
        except (EOFError, ConnectionResetError):  # the other side is gone
            return
        if request == "make":
            made = arguments
            continue
        reply: tuple[Any, QexpError | str | None]
        try:
            servant = servant or _Servant(*made)  # what it raises is the first request's answer
            act = getattr(servant, request, None) or getattr(servant.engine, request)
            reply = (act(*arguments), None)
        except QexpError as error:
            reply = (None, error)
        except Exception:  # noqa: BLE001 - the parent re-raises whatever it is
            reply = (None, traceback.format_exc())
        pipe.send(reply)
        if request == "close":
            os._exit(0)  # the engine is closed: nothing is left to tidy up, and somebody waits


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
