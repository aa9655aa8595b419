"""A server that is away for a while is outlasted; what it refuses is not asked again."""

import re
from collections.abc import Callable

import pytest

from qexp.engine.patience import outlast
from qexp.engine.wire import Missing, Unavailable


def failing(*errors: Exception) -> Callable[[int], int]:
    """Return a function that raises these errors, one a call, and then doubles its argument."""
    left = iter(errors)

    def call(number: int) -> int:
        for error in left:
            raise error
        return 2 * number

    return call


def test_a_server_that_is_away_is_asked_again_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    assert outlast(60, failing(Unavailable("it starts"), Unavailable("it still starts")), 21) == 42
    said = [re.sub(r"\d+\.\d", "S", record.getMessage()) for record in caplog.records]
    assert said == ["it starts; trying again in S s", "it still starts; trying again in S s"]


def test_patience_ends(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unavailable, match="it is away"):
        outlast(0, failing(Unavailable("it is away"), Missing("asked again")), 21)
    assert not caplog.records


def test_what_is_refused_is_not_asked_again() -> None:
    call = failing(Missing("no such collection"))
    with pytest.raises(Missing):
        outlast(60, call, 21)
    assert call(21) == 42
