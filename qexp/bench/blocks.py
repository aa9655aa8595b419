"""Rounds and blocks: who is visited when, and the timed loop itself."""

import gc
from collections.abc import Callable, Sequence
from time import perf_counter_ns

import numpy as np

from qexp.results import Block, Ids, Measurement, Nanoseconds, Search


def timed_block(search: Search, queries: Sequence[list[float]], limit: int, warmup: int, with_ids: bool) -> Block:
    """Visit one operating point: the last `warmup` queries untimed, then every query timed on its own.

    Requests are prepared before and results read after; the clock runs around exactly one call. Garbage collection
    is off meanwhile.
    """
    requests = [search.prepare(query) for query in queries]
    call = search.call
    latencies = np.empty(len(requests), dtype=np.int64)
    found = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for request in requests[len(requests) - min(warmup, len(requests)) :]:
            call(request)
        for index, request in enumerate(requests):
            started = perf_counter_ns()
            response = call(request)
            latencies[index] = perf_counter_ns() - started
            found.append(response)
    finally:
        if collecting:
            gc.enable()
    if not with_ids:
        return Block(latencies)
    ids = np.full((len(found), limit), -1, dtype=np.int64)
    for row, response in enumerate(found):
        hits = search.ids(response)
        ids[row, : len(hits)] = hits
    return Block(latencies, ids)


def measure(
    visits: Sequence[Callable[[bool], Block]],
    rounds: int,
    seed: int,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Measurement]:
    """Visit everything once a round, each round in a new random order; return one Measurement per visit.

    A visit is called with whether its results are wanted. Round 0 reads the results, which stay the same on a
    collection that does not change, and brings the pages of every operating point into memory; its times are not kept.
    """
    rng = np.random.default_rng(seed)
    ids: dict[int, Ids] = {}
    latencies: list[list[Nanoseconds]] = [[] for _ in visits]
    for number in range(rounds + 1):
        on_round(number)
        for index in rng.permutation(len(visits)):
            block = visits[index](number == 0)
            if block.ids is not None:
                ids[index] = block.ids
            else:
                latencies[index].append(block.latencies)
    return [Measurement(np.stack(kept), ids[index]) for index, kept in enumerate(latencies)]
