"""Outlasting a server that is away, busy or starting: never around what is timed."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from qexp.engine.wire import Unavailable

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def outlast(seconds: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call until the server is there, with growing pauses, for at most so many seconds; then raise its Unavailable."""
    import tenacity

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=tenacity.stop_after_delay(seconds),
        before_sleep=_told,
        reraise=True,
    )
    return retrying(call, *args, **kwargs)


def _told(state: "RetryCallState") -> None:
    assert state.outcome
    assert state.next_action
    log.warning("%s; trying again in %.1f s", state.outcome.exception(), state.next_action.sleep)
