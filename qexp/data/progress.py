"""Log lines of what data need: progress of long steps (how far, how fast, how long still), and warnings."""

import logging
from functools import cache
from time import monotonic

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


class Progress:
    """Say every few seconds how a step of `total` things is getting on; a step that is quicker says nothing."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total = what, total
        self._already = self._done = done
        self._started = self._said = monotonic()

    def advance(self, count: int) -> None:
        """Note that `count` more are done."""
        self._done += count
        now = monotonic()
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        rate = (self._done - self._already) / (now - self._started)
        left = max(0, self._total - self._done) / rate if rate else float("inf")
        log.info(
            "%s: %s of %s, %s a second, %.0f s left",
            self._what,
            f"{self._done:,}",
            f"{self._total:,}",
            f"{rate:,.0f}",
            left,
        )


@cache
def warn_once(warning: str) -> None:
    """Log a warning, for however many jobs of a sweep it holds, once; the record of each job has it too."""
    log.warning("%s", warning)
