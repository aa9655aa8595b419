import numpy as np
import pytest

from qexp.bench.blocks import measure
from qexp.bench.stopping import EXTRA_ROUNDS, Stopping
from qexp.config import SearchConfig
from qexp.results import Block, Measurement, Stop


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def run(noise: float, search: SearchConfig) -> tuple[Stopping, Measurement]:
    rng = np.random.default_rng(0)

    def visit(with_ids: bool) -> Block:
        latencies = np.full(3, round(1e9 * np.exp(noise * rng.standard_normal())))
        return Block(latencies, np.zeros((3, 1), dtype=np.int64) if with_ids else None)

    stopping = Stopping([(0, 1)], search, Clock())
    return stopping, measure([visit, visit], search.rounds, 0, enough=stopping)[0]


def test_a_steady_machine_needs_the_least_rounds_and_a_few_more() -> None:
    stopping, measured = run(0.001, SearchConfig(rounds=5, budget_seconds=1000))
    assert stopping.stop is not None
    assert stopping.stop.reached
    assert measured.latencies.shape[0] == stopping.stop.rounds == 5 + EXTRA_ROUNDS
    assert "after 8 rounds" in str(stopping.stop)


def test_a_noisy_machine_gets_more_rounds_until_the_target_is_reached() -> None:
    stopping, _ = run(0.1, SearchConfig(rounds=5, budget_seconds=1000))
    assert stopping.stop is not None
    assert stopping.stop.rounds > 5 + EXTRA_ROUNDS
    assert stopping.stop.reached


# Stopping from 14 rounds on, if they agreed before; where they agree there for the first time, three rounds later.
@pytest.mark.parametrize(("odd", "least"), [(7, 14), (0, 14 + EXTRA_ROUNDS)])
def test_rounds_go_on_where_those_that_follow_do_not_agree_with_the_first(odd: int, least: int) -> None:
    stopping = Stopping([(0, 1)], SearchConfig(rounds=5, budget_seconds=1000), lambda: 0.0)
    base = np.full((20, 1), 10**9)
    trial = base.copy()
    trial[odd] = round(1e9 * np.exp(0.3))  # 7: the last of three rounds more; n rounds know log ratios to t · 0.3 / n
    # t(0.975, 12) · 0.3 / 13 = 0.0503 and t(0.975, 13) · 0.3 / 14 = 0.0463 about log(1.05) = 0.0488
    assert [n for n in range(5, 21) if stopping([base[:n], trial[:n]])] == [*range(least, 21)]


def test_the_budget_ends_what_would_not_end_and_says_so() -> None:
    stopping, _ = run(1.0, SearchConfig(rounds=5, budget_seconds=10))
    assert stopping.stop is not None
    assert stopping.stop.rounds < 20
    assert not stopping.stop.reached
    assert str(stopping.stop).endswith("the target of ± 5.0% was not reached in search.budget_seconds")


def test_without_a_budget_there_are_exactly_as_many_rounds_as_asked_for() -> None:
    stopping, _ = run(1.0, SearchConfig(rounds=3, budget_seconds=0))
    assert stopping.stop is not None
    assert stopping.stop.rounds == 3
    assert not stopping.stop.reached
    assert str(stopping.stop).endswith(" after 3 rounds (1 s)")


def test_every_speedup_has_to_be_known_and_seconds_count_from_the_start() -> None:
    clock = iter([100.0, 109.0, 110.0])
    search = SearchConfig(budget_seconds=10, target_halfwidth=0.05)
    stopping = Stopping([(0, 1), (0, 2), (1, 0)], search, lambda: next(clock))
    steady, shaky = np.full((2, 1), 1_000_000), np.array([[1_000_000], [2_000_000]])
    assert not stopping([steady, steady, shaky])
    # of the logarithms 0 and log(2): t(0.975, 1) = 12.7062, standard error log(2)/2
    assert stopping.stop == Stop(2, pytest.approx(2 ** (12.7062047 / 2) - 1), 0.05, 9.0, 10.0)
    assert stopping([steady, steady, shaky])
