"""Several clients at once: searching without pause (closed loop), or at a fixed rate of arrivals (open loop)."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns, sleep
from typing import Any

import numpy as np

from qexp.bench.blocks import without_collection
from qexp.bench.latency import latency_stats, paired_ratio
from qexp.results import Interval, Load, LoadLevel, LoadSample, Visit

START_DELAY_NS = 50_000_000  # time for every client to hear when the clock starts
SPIN_NS = 200_000  # sleeping longer than asked would be counted as latency, so the last moments are not slept
SATURATED = 0.01  # share of the arrivals that were late
HOPELESS = 0.1  # share of a client's arrivals of which none is served any more: no pause of the machine, but overload

LoadVisit = tuple[Visit, LoadLevel]


def closed_loop(call: Callable[[Any], Any], requests: Sequence[Any], start_ns: int, seconds: float) -> LoadSample:
    """Search from `start_ns` on, the next query as soon as the last is answered, over and over for `seconds`."""
    end_ns = start_ns + int(seconds * 1e9)
    latencies = []
    _wait_until(start_ns)
    now, turn = perf_counter_ns(), 0
    with without_collection():
        while now < end_ns:
            call(requests[turn % len(requests)])
            done = perf_counter_ns()
            latencies.append(done - now)
            now, turn = done, turn + 1
    return LoadSample(np.array(latencies, dtype=np.int64), (now - start_ns) / 1e9, 0)


def open_loop(
    call: Callable[[Any], Any], requests: Sequence[Any], arrivals: Sequence[int], start_ns: int, seconds: float
) -> LoadSample:
    """Search at each of `arrivals` (ns), or as soon after as the queries before it allow, `seconds` from `start_ns` on.

    Latency counts from the intended start, so that waiting for a slow query before is part of it. What was due in time
    and not served is late, and searched after it, for leaving out the last to wait would flatter; unless so much is
    left that the load is too high. All clients' seconds count from `start_ns`, whoever is due first.
    """
    end_ns = start_ns + int(seconds * 1e9)
    latencies: list[int] = []
    late = 0
    with without_collection():
        for turn, arrival in enumerate(arrivals):
            _wait_until(arrival)
            if not late and perf_counter_ns() >= end_ns:
                late = len(arrivals) - turn
                if late > max(1, HOPELESS * len(arrivals)):
                    break
            call(requests[turn % len(requests)])
            latencies.append(perf_counter_ns() - arrival)
    elapsed = (max(end_ns, perf_counter_ns()) - start_ns) / 1e9
    return LoadSample(np.array(latencies, dtype=np.int64), elapsed, len(arrivals) - len(latencies), late)


def arrivals(client: int, level: LoadLevel, start_ns: int, seconds: float) -> list[int]:
    """Return when (ns) the queries of one client are due: arrivals at fixed distances are dealt to clients in turn."""
    assert level.rate is not None
    count = int(round(level.rate * seconds, 6))  # 22.5 a second for 2.8 s are 63, and in floats a little less
    return [start_ns + round(turn * 1e9 / level.rate) for turn in range(client, count, level.clients)]


def _wait_until(moment_ns: int) -> None:
    left = moment_ns - perf_counter_ns()
    if left > SPIN_NS:
        sleep((left - SPIN_NS) / 1e9)
    while perf_counter_ns() < moment_ns:
        pass


def pooled(samples: Sequence[LoadSample]) -> LoadSample:
    """Return what all clients did together in one block: raw latencies pooled, throughputs added."""
    latencies = np.concatenate([sample.latencies for sample in samples])
    rate = sum(len(sample.latencies) / sample.seconds for sample in samples)
    seconds = len(latencies) / rate if rate else max(sample.seconds for sample in samples)
    unserved, late = (sum(counts) for counts in zip(*((one.unserved, one.late) for one in samples), strict=True))
    return LoadSample(latencies, seconds, unserved, late)


def measure_load(
    visits: Mapping[LoadVisit, Callable[[], LoadSample]], rounds: int, seed: int
) -> dict[LoadVisit, list[LoadSample]]:
    """Visit every operating point under every load once a round, in random order; round 0 is not kept."""
    rng = np.random.default_rng(seed)
    keys = list(visits)
    kept: dict[LoadVisit, list[LoadSample]] = {key: [] for key in keys}
    for number in range(rounds + 1):
        for index in rng.permutation(len(keys)):
            sample = visits[keys[index]]()
            if number:
                kept[keys[index]].append(sample)
    return kept


def judge_load(found: Mapping[LoadVisit, Sequence[LoadSample]], queries: int) -> tuple[Load, ...]:
    """Return every operating point under every load, against the baseline of its hnsw_ef under the same load.

    `queries` is how many different ones the clients have, of which every block begins with the same.
    """
    bases = {
        (visit.point.hnsw_ef, level): samples for (visit, level), samples in found.items() if visit.role == "baseline"
    }
    loads = []
    for (visit, level), samples in found.items():
        base = bases[visit.point.hnsw_ef, level]
        total = np.concatenate([sample.latencies for sample in samples])
        different = min(queries, max(len(sample.latencies) for sample in samples))
        loads.append(
            Load(
                visit.role,
                visit.point,
                level,
                qps=len(total) / sum(sample.seconds for sample in samples),
                latency=None if _saturated(samples) else latency_stats(total, different),
                speedup=None if visit.role == "baseline" else _speedup(base, samples, level),
                raw=tuple(sample.latencies for sample in samples),
            )
        )
    return tuple(loads)


def _saturated(samples: Sequence[LoadSample]) -> bool:
    """Whether too much was late, or anything left out: it would have waited longest of all."""
    unserved, late = sum(sample.unserved for sample in samples), sum(sample.late for sample in samples)
    return unserved > 0 or late > SATURATED * sum(len(sample.latencies) for sample in samples)


def _speedup(base: Sequence[LoadSample], trial: Sequence[LoadSample], level: LoadLevel) -> Interval | None:
    if level.rate is None:
        served = [np.array([len(s.latencies) / s.seconds for s in samples]) for samples in (trial, base)]
        return paired_ratio(*served)
    if _saturated(base) or _saturated(trial):
        return None
    waits = [np.array([s.latencies.mean() for s in samples]) for samples in (base, trial)]
    return paired_ratio(*waits)
