"""An engine in a process of its own: nothing is timed across a process border, and a crash there is an error here."""

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from qexp.bench.load import START_DELAY_NS, pooled
from qexp.bench.policies import Policy
from qexp.engine.base import Engine
from qexp.engine.servant import serve
from qexp.errors import EngineError, QexpError
from qexp.results import (
    Block,
    Build,
    CollectionSpec,
    CollectionState,
    Ids,
    LoadLevel,
    LoadSample,
    MemoryUse,
    OperatingPoint,
)
from qexp.results.footprint import ProcessMemory

STOP_SECONDS = 10

_ahead: list[tuple[BaseProcess, Connection]] = []


@contextmanager
def started_ahead(number: int, make_engine: Callable[[], Engine]) -> Iterator[None]:
    """Start processes that the next workers will not have to wait for; end those that were not needed.

    A process inherits the CPUs that it may use when it starts.
    """
    try:
        _ahead.extend(_start(make_engine) for _ in range(number))
        yield
    finally:
        while _ahead:
            process, pipe = _ahead.pop()
            pipe.close()
            process.kill()
            process.join()


def _start(make_engine: Callable[[], Engine]) -> tuple[BaseProcess, Connection]:
    """Start a process that imports what the engine needs, and waits."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, make_engine), daemon=True)
    resource_tracker.ensure_running()  # its start, which the first process brings about, would let interrupts through
    with _uninterrupted():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the child must not be hit while it imports
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return process, ours


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals wait: a process that is started, but has not got what it starts with, ends with a traceback."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in numbers if signal.getsignal(number) not in (None, signal.SIG_IGN)]
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        heard = []
    # Handlers and no mask: of a signal that this thread has masked another one hears, and tells.
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _next(make_engine: Callable[[], Engine]) -> tuple[BaseProcess, Connection]:
    """Return a process that was started ahead and still lives, else a new one."""
    while _ahead:
        process, pipe = _ahead.pop(0)
        if process.is_alive():
            return process, pipe
        pipe.close()
    return _start(make_engine)


class Worker:
    """A process that holds one collection; use it as a context manager, so that it is gone afterwards.

    Its methods raise what the engine raises, and EngineError when the process dies.
    """

    def __init__(self, make_engine: Callable[[], Engine], queries: Path, title: str) -> None:
        self._title = title
        self._make = (make_engine, queries)

    def __enter__(self) -> Self:
        self._process, self._pipe = _next(self._make[0])
        self._send("make", *self._make)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._process.is_alive():
                self._ask("close")
                self._process.join(STOP_SECONDS)
        finally:
            self._pipe.close()
            if self._process.is_alive():
                self._process.kill()
            self._process.join()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None
        return self._process.pid

    def ready(self) -> None:
        """Return when the process has everything but the collection in memory."""
        self._ask("ready")

    def process(self) -> ProcessMemory | None:
        """Return the process's memory and counters; None where the system does not say."""
        return cast(ProcessMemory | None, self._ask("process"))

    def open(self, spec: CollectionSpec) -> Build | None:
        """Load the collection if it is complete, else return None."""
        return cast(Build | None, self._ask("open", spec))

    def build(self, spec: CollectionSpec, vectors: Path, payload: Path | None = None) -> Build:
        """Build the collection from a `.npy` file of float32 [n, size] and a file with a JSON payload per line."""
        return cast(Build, self._ask("build", spec, vectors, payload))

    def block(self, point: OperatingPoint, warmup: int, with_ids: bool) -> Block:
        """Visit an operating point: `warmup` untimed queries, then every query timed."""
        return cast(Block, self._ask("block", point, warmup, with_ids))

    def found(self, point: OperatingPoint) -> Ids:
        """Return the results of every query at an operating point, untimed."""
        return cast(Ids, self._ask("found", point))

    def cold_block(self, point: OperatingPoint, with_ids: bool) -> Block:
        """Visit an operating point with nothing of the collection in memory: no warm-up, every query timed."""
        return cast(Block, self._ask("cold_block", point, with_ids))

    def policy(self, policy: Policy, warmup: int, with_ids: bool) -> Block:
        """Visit a policy: `warmup` untimed queries, then every query timed, with all its decisions and calls."""
        return cast(Block, self._ask("policy", policy, warmup, with_ids))

    def margins(self, point: OperatingPoint, k: int) -> NDArray[np.float64]:
        """Return for every query the gap between the scores of rank k and the next."""
        return cast(NDArray[np.float64], self._ask("margins", point, k))

    def matching(self) -> list[int]:
        """Return the row numbers of the points that the filter of all searches lets through."""
        return cast(list[int], self._ask("matching"))

    def vectors(self, rows: list[int]) -> list[list[float]]:
        """Return stored vectors."""
        return cast(list[list[float]], self._ask("vectors", rows))

    def state(self) -> CollectionState:
        """Read back what was built."""
        return cast(CollectionState, self._ask("state"))

    def memory(self) -> MemoryUse | None:
        """Return the collection's bytes in RAM, None if the engine does not know."""
        return cast(MemoryUse | None, self._ask("memory"))

    def round_trip(self) -> float | None:
        """Return the seconds of going to the engine and back, None if it is in the worker."""
        return cast(float | None, self._ask("round_trip"))

    def drop(self) -> None:
        """Remove the collection."""
        self._ask("drop")

    def _ask(self, request: str, *arguments: Any) -> Any:
        self._send(request, *arguments)
        return self._receive(request)

    def _send(self, request: str, *arguments: Any) -> None:
        try:
            self._pipe.send((request, arguments))
        except (BrokenPipeError, ConnectionResetError) as lost:
            raise EngineError(self._how_it_died(request)) from lost

    def _receive(self, request: str) -> Any:
        try:
            while isinstance(said := self._pipe.recv(), logging.LogRecord):
                _log(said)
        except (EOFError, BrokenPipeError, ConnectionResetError) as lost:
            raise EngineError(self._how_it_died(request)) from lost
        answer, error = said
        if isinstance(error, QexpError):
            raise error
        if error is not None:
            raise RuntimeError(f"in the worker of {self._title}:\n{error}")
        return answer

    def _how_it_died(self, request: str) -> str:
        self._process.join(STOP_SECONDS)
        code = self._process.exitcode
        by = signal.Signals(-code) if code is not None and code < 0 else None
        how = f"was killed by {by.name}" if by else f"ended with exit code {code}"
        hints: dict[signal.Signals | None, str] = {
            signal.SIGKILL: "; if nobody did that, memory ran out: use fewer points or a storage with less in RAM",
            signal.SIGBUS: "; the disk that holds the cache is full: free space or set cache_dir",
            signal.SIGABRT: "; the engine gave up, as where no memory is to be had: a smaller index.m, fewer points",
        }
        return f"the engine's process for {self._title} {how} during '{request}'{hints.get(by, '')}"


def _log(record: logging.LogRecord) -> None:
    """Log what a worker has to say as if it were said here."""
    log = logging.getLogger(record.name)
    if log.isEnabledFor(record.levelno):
        log.handle(record)


def warm(points: Mapping[Worker, Iterable[OperatingPoint]]) -> None:
    """Let every worker search all queries at its operating points, untimed; all workers at once."""
    for worker, own in points.items():
        worker._send("warm", own)
    for worker in points:
        worker._receive("warm")


def load_block(
    clients: Sequence[Worker], point: OperatingPoint, level: LoadLevel, warmup: int, seconds: float
) -> LoadSample:
    """Let the first `level.clients` workers search at once; the clock starts when all are ready."""
    crew = clients[: level.clients]
    for client, worker in enumerate(crew):
        worker._send("prepare_load", point, client, level.clients, warmup)
    for worker in crew:
        worker._receive("prepare_load")
    start_ns = perf_counter_ns() + START_DELAY_NS
    for client, worker in enumerate(crew):
        worker._send("run_load", client, level, start_ns, seconds)
    samples: list[LoadSample] = [worker._receive("run_load") for worker in crew]
    return pooled(samples)
