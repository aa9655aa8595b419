"""How far long steps are, at a clock of their own."""

import pytest

from qexp import progress
from qexp.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_progress_is_said_every_few_seconds(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", progress.__name__):
        step = Progress("upload", 40_000, done=10_000)
        for seconds, count in ((4.0, 4_000), (1.0, 1_000), (4.9, 10_000), (0.1, 0), (5.0, 15_000)):
            clock[0] += seconds
            step.advance(count)
    assert caplog.messages == [
        "upload: 15,000 of 40,000, 1,000 a second, 25 s left",
        "upload: 25,000 of 40,000, 1,500 a second, 10 s left",
        "upload: 40,000 of 40,000, 2,000 a second, 0 s left",
    ]


def test_a_step_that_stands_still_has_no_rate(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", progress.__name__):
        step = Progress("indexed", 3_000)
        for done in (0, 2_000, 0):  # optimizers put segments with an index into others
            clock[0] += 5.0
            step.reach(done)
    assert caplog.messages == [
        "indexed: 0 of 3,000",
        "indexed: 2,000 of 3,000, 200 a second, 5 s left",
        "indexed: 0 of 3,000",
    ]
