"""Intervals: as metrics, and as they are printed."""

from qexp.results import Interval


def test_an_interval_is_recorded_and_read_back() -> None:
    interval = Interval(1.4159, 1.352, 1.498)
    metrics = interval.metrics("speedup_mean")
    assert metrics == {"speedup_mean": 1.4159, "speedup_mean_low": 1.352, "speedup_mean_high": 1.498}
    assert Interval.of(metrics, "speedup_mean") == interval
    for name in metrics:
        assert Interval.of({one: value for one, value in metrics.items() if one != name}, "speedup_mean") is None


def test_an_interval_is_printed_as_a_ratio_or_a_share() -> None:
    assert Interval(1.4159, 1.352, 1.498).ratio == "1.42× (1.35–1.50)"
    assert Interval(0.9716, 0.964, 1.0).share == "0.972 (0.964–1.000)"


def test_a_zero_is_a_figure_and_not_absent() -> None:
    assert Interval.of(Interval(0.0, 0.0, 0.0).metrics("recall"), "recall") == Interval(0.0, 0.0, 0.0)
