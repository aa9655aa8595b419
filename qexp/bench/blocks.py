"""Rounds and blocks: who is visited when, and the timed loop itself."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from qexp.results import Block, Ids, Measurement, Nanoseconds, Reads, Search

TOGETHER = 10  # queries in a batch: with 100 the working memory of the engine is larger than that of single searches


def timed_block(search: Search, queries: Sequence[Any], limit: int, warmup: int, with_ids: bool) -> Block:
    """Visit one operating point: the last `warmup` queries untimed, then every query timed on its own.

    Requests are prepared before and results read after; the clock runs around exactly one call. Garbage collection
    is off meanwhile, and what the timed queries read from disk is counted.
    """
    requests = [search.prepare(query) for query in queries]
    call = search.call
    latencies = np.empty(len(requests), dtype=np.int64)
    found = []
    with without_collection():
        for request in requests[len(requests) - min(warmup, len(requests)) :]:
            call(request)
        before = reads()
        for index, request in enumerate(requests):
            started = perf_counter_ns()
            response = call(request)
            latencies[index] = perf_counter_ns() - started
            found.append(response)
        taken = reads().minus(before)
    server = None
    if search.server_seconds:
        server = np.array([round(1e9 * search.server_seconds(response)) for response in found], dtype=np.int64)
    return Block(latencies, ids_of(search, found, limit) if with_ids else None, taken, server)


def responses(search: Search, queries: Sequence[Any]) -> Iterator[Any]:
    """Yield the response to every query, untimed and as fast as the engine can."""
    requests = map(search.prepare, queries)
    if search.several is None:
        yield from map(search.call, requests)
    else:
        while together := list(islice(requests, TOGETHER)):
            yield from search.several(together)


def ids_of(search: Search, found: Iterable[Any], limit: int) -> Ids:
    """Return the results of responses as row numbers [query, limit], -1 where there is none."""
    rows = [search.ids(response) for response in found]
    ids = np.full((len(rows), limit), -1, dtype=np.int64)
    for row, hits in enumerate(rows):
        ids[row, : len(hits)] = hits
    return ids


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep garbage collection off, and leave it as it was."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def reads() -> Reads:
    """Return what this process has taken from disk so far, all its threads together."""
    import resource

    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    try:
        lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux, or not allowed
        return Reads(faults, None)
    return Reads(faults, next(int(line.split()[1]) for line in lines if line.startswith("read_bytes")))


def measure(
    visits: Sequence[Callable[[bool], Block]],
    rounds: int,
    seed: int,
    on_round: Callable[[int], None] = lambda _: None,
    enough: Callable[[list[Nanoseconds]], bool] = lambda _: True,
) -> list[Measurement]:
    """Visit everything once a round, each round in a new random order; return one Measurement per visit.

    A visit is called with whether its results are wanted: in round 1, where they are read after its clock has
    stopped; they stay the same on a collection that does not change.
    After `rounds` rounds, and after each one more, `enough` is asked with the latencies [round, query] of every visit.
    """
    rng = np.random.default_rng(seed)
    ids: dict[int, Ids] = {}
    latencies: list[list[Nanoseconds]] = [[] for _ in visits]
    server: list[list[Nanoseconds]] = [[] for _ in visits]
    reads = [Reads(0, 0) for _ in visits]
    for number in count(1):
        on_round(number)
        for index in rng.permutation(len(visits)):
            block = visits[index](number == 1)
            if block.ids is not None:
                ids[index] = block.ids
            latencies[index].append(block.latencies)
            reads[index] = reads[index].plus(block.reads)
            if block.server is not None:
                server[index].append(block.server)
        if number >= rounds and enough([np.stack(kept) for kept in latencies]):
            break
    return [
        Measurement(np.stack(kept), ids[index], reads[index], np.stack(server[index]) if server[index] else None)
        for index, kept in enumerate(latencies)
    ]
