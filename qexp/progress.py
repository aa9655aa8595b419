"""Log lines of long steps: how far, how fast, how long still; and warnings that many jobs share."""

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
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """Note that this many are done."""
        self._done, now = done, monotonic()
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        text = f"{self._what}: {done:,} of {self._total:,}"
        if (rate := (done - self._already) / (now - self._started)) > 0:
            text += f", {rate:,.0f} a second, {max(0, self._total - done) / rate:.0f} s left"
        log.info("%s", text)


@cache
def warn_once(warning: str) -> None:
    """Log a warning, for however many jobs of a sweep it holds, once; the record of each job has it too."""
    log.warning("%s", warning)
