import gc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from qexp.bench import blocks
from qexp.bench.blocks import ids_of, measure, responses, timed_block
from qexp.bench.latency import speedup_mean
from qexp.results import NO_READS, Block, Reads, Search


def fake_visit(log: list[tuple[int, bool]], index: int, with_ids: bool) -> Block:
    log.append((index, with_ids))
    latencies = np.full(4, 100 + index)
    return Block(latencies, np.full((4, 2), index) if with_ids else None, Reads(1, 10))


def test_every_round_visits_everything_once_in_an_order_of_its_own() -> None:
    log: list[tuple[int, bool]] = []
    measured = measure([partial(fake_visit, log, index) for index in range(6)], rounds=8, seed=3)
    rounds = [tuple(index for index, _ in log[start : start + 6]) for start in range(0, len(log), 6)]
    assert len(rounds) == 8
    assert all(sorted(order) == list(range(6)) for order in rounds)
    assert len(set(rounds)) > 6
    assert [found.latencies.shape for found in measured] == [(8, 4)] * 6
    assert [int(found.latencies[0, 0]) for found in measured] == [100, 101, 102, 103, 104, 105]


def test_results_are_read_in_round_1() -> None:
    log: list[tuple[int, bool]] = []
    (found,) = measure([partial(fake_visit, log, 7)], rounds=3, seed=0)
    assert [with_ids for _, with_ids in log] == [True, False, False]
    assert (found.ids == 7).all()
    assert found.reads == Reads(3, 30)


def test_responses_are_those_of_every_query_in_order_and_of_several_where_that_is_possible() -> None:
    queries = [[float(number)] for number in range(23)]
    single = Search(lambda query: query[0], lambda request: [request], list)
    assert list(responses(single, queries)) == [[float(number)] for number in range(23)]
    batches: list[int] = []

    def several(requests: list[float]) -> list[list[float]]:
        batches.append(len(requests))
        return [[request] for request in requests]

    assert list(responses(single._replace(several=several), queries)) == [[float(number)] for number in range(23)]
    assert batches == [10, 10, 3]


def test_results_that_are_not_there_are_minus_one() -> None:
    search = Search(lambda query: query, lambda request: request, list)
    assert ids_of(search, [[3, 4], [], [5]], 2).tolist() == [[3, 4], [-1, -1], [5, -1]]


def test_rounds_go_on_until_they_are_enough() -> None:
    asked: list[int] = []

    def enough(latencies: list[np.ndarray]) -> bool:
        asked.append(len(latencies[0]))
        return len(latencies[0]) >= 7

    begun: list[int] = []
    (found,) = measure([partial(fake_visit, [], 0)], rounds=5, seed=0, on_round=begun.append, enough=enough)
    assert (begun, asked) == ([1, 2, 3, 4, 5, 6, 7], [5, 6, 7])
    assert found.latencies.shape == (7, 4)


def test_reads_that_the_system_does_not_count_stay_unknown() -> None:
    assert Reads(2, None).plus(Reads(1, 5)) == Reads(3, None)
    assert Reads(5, 9).minus(Reads(2, 4)) == Reads(3, 5)
    assert NO_READS.bytes is None


def test_only_the_call_is_timed_and_garbage_is_not_collected_meanwhile() -> None:
    seen: list[tuple[str, bool]] = []

    def note(name: str, value: object) -> object:
        seen.append((name, gc.isenabled()))
        return value

    search = Search(lambda q: note("prepare", q), lambda r: note("call", r), lambda _: [1, 2])
    block = timed_block(search, [[0.0], [1.0], [2.0]], limit=3, warmup=2, with_ids=True)
    assert [name for name, _ in seen] == ["prepare"] * 3 + ["call"] * 5
    assert not any(collecting for name, collecting in seen if name == "call")
    assert gc.isenabled()
    assert block.ids is not None
    assert block.ids.tolist() == [[1, 2, -1]] * 3


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_collection_is_as_it_was_after_a_failure(collecting: bool) -> None:
    def fail(_: object) -> object:
        raise ValueError("broken")

    gc.enable() if collecting else gc.disable()
    try:
        with pytest.raises(ValueError, match="broken"):
            timed_block(Search(lambda q: q, fail, lambda _: []), [[0.0]], 1, 1, False)
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_t14_drift_of_the_machine_does_not_become_a_speedup() -> None:
    def drifting() -> Callable[[bool], Block]:
        machine = iter(np.exp(np.linspace(0.0, 0.5, 1000)))

        def visit(with_ids: bool) -> Block:
            latencies = np.full(10, round(1e6 * next(machine)))
            return Block(latencies, np.zeros((10, 1), dtype=np.int64) if with_ids else None)

        return visit

    visit = drifting()
    first, second = [np.stack([visit(False).latencies for _ in range(20)]) for _ in range(2)]
    assert speedup_mean(first, second).distinguishable
    different = 0
    for seed in range(200):
        visit = drifting()
        base, control = measure([visit, visit], rounds=20, seed=seed)
        different += speedup_mean(base.latencies, control.latencies).distinguishable
    assert different <= 20  # nominally 5 % of 200 are


def test_the_servers_own_time_is_read_afterwards_and_kept_for_timed_rounds() -> None:
    search = Search(lambda query: query, lambda request: request, lambda _: [1], None, lambda request: request[0])
    queries = [[0.001], [0.002]]
    block = timed_block(search, queries, 1, 0, False)
    assert block.ids is None
    assert block.server is not None
    assert block.server.tolist() == [1_000_000, 2_000_000]
    (found,) = measure([lambda with_ids: timed_block(search, queries, 1, 0, with_ids)], rounds=3, seed=0)
    assert found.server is not None
    assert found.server.tolist() == [[1_000_000, 2_000_000]] * 3


def test_without_a_server_there_is_no_time_of_its_own() -> None:
    search = Search(lambda query: query, lambda request: request, lambda _: [1])
    (found,) = measure([lambda with_ids: timed_block(search, [[0.0]], 1, 0, with_ids)], rounds=2, seed=0)
    assert found.server is None


@pytest.mark.parametrize(("warmup", "before"), [(0, []), (2, [1, 2]), (5, [0, 1, 2])])
def test_the_last_queries_warm_up_and_only_the_timed_ones_are_counted(
    warmup: int, before: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    clock = iter(range(0, 10**6, 1000))  # a look at it takes a microsecond, a call of query 2 three more

    def call(query: int) -> int:
        called.append(query)
        for _ in range(query):
            next(clock)
        return query

    monkeypatch.setattr(blocks, "perf_counter_ns", lambda: next(clock))
    monkeypatch.setattr(blocks, "reads", lambda: Reads(7 + len(called), 100 * len(called)))
    block = timed_block(Search(lambda query: query, call, lambda _: []), [0, 1, 2], 1, warmup, False)
    assert called == [*before, 0, 1, 2]
    assert block.latencies.tolist() == [1000, 2000, 3000]
    assert block.reads == Reads(3, 300)


@pytest.mark.parametrize("known", [True, False])
def test_bytes_are_those_read_from_the_disk_if_the_system_tells(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n"

    class Io:
        def __init__(self, path: str) -> None:
            assert path == "/proc/self/io"

        def read_text(self, encoding: str) -> str:
            if not known:
                raise PermissionError
            return told

    monkeypatch.setattr(blocks, "Path", Io)
    assert blocks.reads().bytes == (5 if known else None)
