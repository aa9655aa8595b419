"""What a search asks for beyond its grid: tuning before the rounds, adaptive policies after them."""

import logging
from collections.abc import Callable
from dataclasses import replace

from qexp.bench.accuracy import Share
from qexp.bench.adaptive import Searcher, compare
from qexp.bench.tune import narrowed, tune
from qexp.config import SearchConfig
from qexp.results import Finding, Ids, OperatingPoint

log = logging.getLogger(__name__)

Judge = Callable[[str], Callable[[Ids], Share]]
"""From `retention` or `recall` to what turns results [query, k] into the accuracy of every query."""


def tuned(search: SearchConfig, searcher: Searcher, judge: Judge) -> tuple[SearchConfig, list[Finding]]:
    """Return the grid narrowed down to what tuning finds, and the finding; the same grid if nothing is to be tuned."""
    if search.tune is None:
        return search, []
    judged = judge(search.tune.measure)

    def shares(point: OperatingPoint) -> Share:
        return judged(searcher.found(point))

    found = tune(search, search.tune, shares)
    log.info("%s", found.finding.sentence)
    return replace(narrowed(search, found), tune=None), [found.finding]


def adaptive(search: SearchConfig, searcher: Searcher, judge: Judge, queries: int) -> list[Finding]:
    """Return how adaptive policies fare against fixed oversampling; nothing if the search does not ask."""
    if search.adaptive is None:
        return []
    findings = compare(searcher, search, search.adaptive, queries, judge(search.adaptive.measure))
    for finding in findings:
        log.info("%s", finding.sentence)
    return findings
