"""What was checked in one run: noted, warned of, or refused."""

import logging

from qexp.errors import BenchmarkError
from qexp.results import Check

log = logging.getLogger(__name__)

# Ruled out by the way qexp is made; tests of their names (`test_t03_…`) show each.
CONSTRUCTION = {
    "T03": "rescore and oversampling are sent with every search",
    "T04": "quantization_config is checked with Qdrant's own schema, unknown keys forbidden",
    "T09": "every speedup stands beside the recall and retention of the same searches",
    "T11": "a result as near as the k-th exact neighbour is a hit",
    "T15": "P95 is given from 100 queries on, P99 from 500 with 1000 samples",
    "T16": "a client sends its next query when the last is answered; at a fixed rate, latency counts from arrival",
    "T17": "percentiles are taken of raw latencies, pooled over rounds and clients",
    "T18": "the clock starts when every client has its queries ready",
}


class Checks:
    """What was checked in one run, in order; `strict` refuses with BenchmarkError where something does not hold."""

    def __init__(self, strict: bool = True) -> None:
        self._strict = strict
        self.done: list[Check] = []

    def expect(self, holds: bool, trap: str, what: str, otherwise: str) -> None:
        """Note that `what` was checked for a trap; where it does not hold, refuse or warn with `otherwise`."""
        if not holds and self._strict:
            raise BenchmarkError(f"{trap} {otherwise}")
        self.prefer(holds, trap, what, otherwise)

    def prefer(self, holds: bool, trap: str, what: str, otherwise: str) -> None:
        """Note what was checked; where it does not hold, warn in any mode."""
        if not holds:
            log.warning("%s %s", trap, otherwise)
        self.done.append(Check(trap, what, "held" if holds else "warning", "" if holds else otherwise))

    def held(self, trap: str, what: str) -> None:
        """Note what holds by the way in which this run measures."""
        self.prefer(True, trap, what, "")

    def unknown(self, trap: str, what: str) -> None:
        """Note what nobody can look for here."""
        self.done.append(Check(trap, what, "not known"))

    @property
    def table(self) -> tuple[Check, ...]:
        """Every check of this run, and what is ruled out by construction, by trap."""
        ruled_out = [Check(trap, what, "by construction") for trap, what in CONSTRUCTION.items()]
        return tuple(sorted([*self.done, *ruled_out], key=lambda check: check.trap))

    @property
    def warnings(self) -> list[str]:
        """One line for everything that did not hold."""
        return [f"{check.trap} {check.detail}" for check in self.done if check.verdict == "warning"]
