import time
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexp.bench import load
from qexp.bench.load import arrivals, closed_loop, judge_load, measure_load, open_loop, pooled
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker, load_block
from qexp.results import LoadLevel, LoadSample, OperatingPoint, Visit
from tests.test_edge import spec, vectors

POINT = OperatingPoint(10)
MS = 1_000_000


def sample(*milliseconds: float, seconds: float = 1.0, unserved: int = 0, late: int = 0) -> LoadSample:
    return LoadSample(np.array(milliseconds) * MS, seconds, unserved, late)


class Clock:
    """Time that passes by sleeping, and by a microsecond with every look at it."""

    now = looks = 0

    def __call__(self) -> int:
        self.now, self.looks = self.now + 1000, self.looks + 1
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(load, "perf_counter_ns", found)
    monkeypatch.setattr(load, "sleep", found.sleep)
    return found


def test_t16_a_closed_loop_sends_the_next_query_when_the_last_is_answered(clock: Clock) -> None:
    order: list[int] = []

    def call(request: int) -> None:
        clock.sleep(0.002)
        order.append(request)

    found = closed_loop(call, [0, 1, 2], 5 * MS, 0.03)
    assert order == [turn % 3 for turn in range(15)]
    assert (found.latencies.tolist(), found.unserved) == ([2_001_000] * 15, 0)
    assert found.seconds == pytest.approx(15 * 0.002001, abs=2e-6)


def test_t16_waiting_for_a_slow_query_before_is_latency(clock: Clock) -> None:  # no coordinated omission
    slow, begun = iter([0.04] + [0.0] * 9), list[int]()

    def call(_: Any) -> None:
        begun.append(clock.now)
        clock.sleep(next(slow))

    due = [(3 + 5 * turn) * MS for turn in range(10)]
    found = open_loop(call, [None], due, 3 * MS, 1.0)
    assert (found.unserved, found.seconds) == (0, 1.0)
    assert found.latencies / MS == pytest.approx([40, 35, 30, 25, 20, 15, 10, 5, 0, 0], abs=0.05)
    assert all(start >= arrival for start, arrival in zip(begun, due, strict=True))


def test_what_was_not_served_in_time_is_counted(clock: Clock) -> None:
    due = [turn * MS for turn in range(100)]
    found = open_loop(lambda _: clock.sleep(0.01), [None], due, 0, 0.1)
    assert (len(found.latencies), found.unserved, found.late) == (10, 90, 90)
    assert found.seconds == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize(
    ("slow", "waited", "late", "unserved"), [(198, [20, 39], 1, 0), (178, [400, 419], 20, 0), (177, [20, 39], 21, 21)]
)
def test_the_last_to_wait_are_served_after_the_end_unless_they_are_more_than_a_tenth(
    slow: int, waited: list[int], late: int, unserved: int, clock: Clock
) -> None:
    due = [turn * MS for turn in range(200)]
    pauses = iter([0.0] * slow + [0.02] * (200 - slow))
    found = open_loop(lambda _: clock.sleep(next(pauses)), [None], due, 0, 0.2)
    assert (len(found.latencies), found.unserved, found.late) == (200 - unserved, unserved, late)
    assert found.latencies[-2:] / MS == pytest.approx(waited, abs=0.1)
    assert found.seconds == pytest.approx((due[-1 - unserved] / MS + waited[-1]) / 1000, abs=1e-4)
    assert clock.looks < 210 * 200  # between arrivals it sleeps, but for the last 200 µs


@pytest.mark.parametrize("begins", [0.5, 0.96])
def test_t16_a_pause_is_waited_for_wherever_in_a_block_it_begins(begins: float, clock: Clock) -> None:
    due = [turn * MS for turn in range(1000)]
    pauses = iter([0.1 if turn == 1000 * begins else 0.0 for turn in range(1000)])
    paused = open_loop(lambda _: clock.sleep(next(pauses)), [None], due, 0, 1.0)
    level = LoadLevel(1, 1000.0)
    (load,) = judge_load({(Visit("baseline", POINT), level): [paused, *[sample(*[0.0] * 1000)] * 4]}, queries=500)
    assert load.latency is not None
    assert load.latency.mean == pytest.approx({0.5: 5.05, 0.96: 3.22}[begins] / 5, abs=0.01)


def test_a_single_arrival_that_is_late_is_served_however_few_they_are(clock: Clock) -> None:
    pauses = iter([0.0, 0.11, 0.0])
    found = open_loop(lambda _: clock.sleep(next(pauses)), [None], [0, 40 * MS, 80 * MS], 0, 0.1)
    assert (found.latencies / MS).tolist() == pytest.approx([0, 110, 70], abs=0.05)
    assert (found.unserved, found.late) == (0, 1)
    found = open_loop(lambda _: clock.sleep(0.11), [None], [200 * MS, 240 * MS, 280 * MS], 200 * MS, 0.1)
    assert (len(found.latencies), found.unserved, found.late) == (1, 2, 2)


def test_sleeping_longer_than_asked_is_no_latency(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "sleep", lambda seconds: clock.sleep(seconds + 0.0001))
    found = open_loop(lambda _: None, [None], [turn * MS for turn in range(1, 6)], 0, 0.006)
    assert found.latencies.max() < 10_000


def test_t15_rounds_that_begin_with_the_same_queries_make_no_percentiles() -> None:
    visit, level = Visit("baseline", POINT), LoadLevel(1, 10.0)
    (few,) = judge_load({(visit, level): [sample(*[5.0] * 20)] * 5}, queries=500)
    (enough,) = judge_load({(visit, level): [sample(*[5.0] * 20), *[sample(*[5.0] * 100)] * 4]}, queries=500)
    assert (few.latency.p95, enough.latency.p95, enough.latency.p99) == (None, 5.0, None)


@pytest.mark.usefixtures("clock")
def test_no_more_is_served_than_arrives() -> None:
    start, level = 0, LoadLevel(3, 100.0)  # two arrivals, so the third client has none
    due = [arrivals(client, level, start, 0.02) for client in range(3)]
    together = pooled([open_loop(lambda _: None, [None], each, start, 0.02) for each in due])
    assert len(together.latencies) + together.unserved == 2
    assert len(together.latencies) / together.seconds <= 100


def test_nothing_served_took_its_time_all_the_same() -> None:
    both = pooled([sample(seconds=0.5, unserved=3, late=4), sample(seconds=0.6, unserved=2, late=2)])
    assert (len(both.latencies), both.seconds, both.unserved, both.late) == (0, 0.6, 5, 6)


def test_arrivals_are_dealt_to_clients_in_turn() -> None:
    level = LoadLevel(3, 100.0)
    dealt = [arrivals(client, level, 1000, 0.1) for client in range(3)]
    assert [len(due) for due in dealt] == [4, 3, 3]
    assert len(arrivals(0, LoadLevel(1, 22.5), 0, 2.8)) == 63  # 62.99… in floats
    assert len(arrivals(0, LoadLevel(1, 10.0), 0, 0.27)) == 2  # a third would be more than ten a second
    assert sorted(chain(*dealt)) == [1000 + turn * 10 * MS for turn in range(10)]


def test_t17_raw_latencies_are_pooled_not_percentiles() -> None:
    fast, slow = sample(*[1.0] * 900, seconds=0.9), sample(*[10.0] * 100, seconds=1.0)
    both = pooled([fast, slow])
    assert np.percentile(both.latencies, 95) / MS == 10.0
    assert np.mean([np.percentile(client.latencies, 95) for client in (fast, slow)]) / MS == 5.5
    assert len(both.latencies) / both.seconds == pytest.approx(900 / 0.9 + 100 / 1.0)


def test_throughput_and_latency_are_held_against_the_baseline_under_the_same_load() -> None:
    clients, rate = LoadLevel(2), LoadLevel(2, 50.0)
    base, trial = Visit("baseline", POINT), Visit("trial", POINT)
    loads = judge_load(
        {
            (base, clients): [sample(*[2.0] * 100, seconds=0.5), sample(*[2.0] * 102, seconds=0.5)],
            (trial, clients): [sample(*[1.0] * 200, seconds=0.25), sample(*[1.0] * 204, seconds=0.25)],
            (base, rate): [sample(*[4.0, 12.0] * 25), sample(*[8.0] * 50)],
            (trial, rate): [sample(*[4.0] * 50), sample(*[4.0] * 50)],
        },
        queries=100,
    )
    assert [round(load.qps) for load in loads] == [202, 808, 50, 50]
    assert [(load.role, load.point, load.level) for load in loads] == [
        (role, POINT, level) for level in (clients, rate) for role in ("baseline", "trial")
    ]
    assert loads[0].speedup is None
    assert [load.speedup.estimate for load in loads if load.speedup] == pytest.approx([4.0, 2.0])
    assert [[len(block) for block in load.raw] for load in loads[:2]] == [[100, 102], [200, 204]]
    assert not any(load.saturated for load in loads)


def test_saturation_has_no_latency() -> None:
    visit, level = Visit("baseline", POINT), LoadLevel(1, 1000.0)
    (load,) = judge_load({(visit, level): [sample(*[5.0] * 99, unserved=1)]}, queries=100)
    assert load.saturated
    assert load.latency is None
    assert load.qps == 99


@pytest.mark.parametrize(
    ("blocks", "saturated"),
    [([(1, 0)], False), ([(2, 0)], True), ([(2, 0), (0, 0)], False), ([(2, 0), (1, 0)], True), ([(0, 1)], True)],
)
def test_more_than_a_hundredth_that_is_late_or_any_that_is_left_out_is_saturation(
    blocks: list[tuple[int, int]], saturated: bool
) -> None:
    base, trial, level = Visit("baseline", POINT), Visit("trial", POINT), LoadLevel(1, 100.0)
    many = [sample(*[5.0] * 100, late=late, unserved=unserved) for late, unserved in blocks] * 2
    steady = [sample(*[5.0] * 100)] * len(many)
    for first, second in ((many, steady), (steady, many)):
        loads = judge_load({(base, level): first, (trial, level): second}, queries=100)
        assert any(load.saturated for load in loads) == saturated
        assert (loads[1].speedup is None) == saturated


def test_every_load_is_visited_once_a_round_in_an_order_of_its_own_and_round_0_is_not_kept() -> None:
    seen: list[str] = []

    def visit(name: str) -> LoadSample:
        seen.append(name)
        return sample(1.0)

    keys = [(Visit("baseline", POINT), LoadLevel(n)) for n in (1, 2)]
    visits = {key: partial(visit, key[1].title) for key in keys}
    assert [len(samples) for samples in measure_load(visits, rounds=9, seed=0).values()] == [9, 9]
    orders = [tuple(seen[start : start + 2]) for start in range(0, 20, 2)]
    assert set(orders) == {("1 client", "2 clients"), ("2 clients", "1 client")}
    measure_load(visits, rounds=9, seed=0)
    assert seen[20:] == seen[:20]


class Noting(Worker):
    """A worker that notes when it was ready for a load, and when its clock was to start."""

    ready_ns = start_ns = 0

    def _receive(self, request: str) -> Any:
        answer = super()._receive(request)
        if request == "prepare_load":
            self.ready_ns = time.perf_counter_ns()
        return answer

    def _send(self, request: str, *arguments: Any) -> None:
        if request == "run_load":
            self.start_ns = arguments[2]
        super()._send(request, *arguments)


def test_t18_several_workers_search_one_collection_at_once_when_all_are_ready(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", vectors(32))
    np.save(tmp_path / "queries.npy", vectors(32, 3, seed=1))
    asked = spec(size=32)

    def worker() -> Noting:
        return Noting(partial(EdgeEngine, tmp_path / "c"), tmp_path / "queries.npy", "test")

    with worker() as builder:
        builder.build(asked, tmp_path / "vectors.npy")
    with ExitStack() as stack:
        crew = [stack.enter_context(worker()) for _ in range(4)]  # more clients than queries
        assert all(client.open(asked) for client in crew)
        both = load_block(crew, POINT, LoadLevel(4), warmup=5, seconds=0.2)
        assert len(both.latencies) >= 4
        assert (both.latencies > 0).all()
        (start,) = {client.start_ns for client in crew}
        assert start > max(client.ready_ns for client in crew) > 0
        due = load_block(crew, POINT, LoadLevel(2, 100.0), warmup=5, seconds=0.3)
        assert len(due.latencies) + due.unserved == 30
