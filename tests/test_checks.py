import logging

import pytest

from qexp.bench.checks import CONSTRUCTION, Checks
from qexp.errors import BenchmarkError
from qexp.results import Check


def test_what_was_checked_is_told_by_trap_beside_what_cannot_happen() -> None:
    checks = Checks()
    checks.prefer(False, "T14", "steady", "noisy")
    checks.held("T01", "a real engine")
    checks.unknown("T13", "reads")
    checks.expect(True, "T02", "indexed", "not indexed")
    assert checks.done == [
        Check("T14", "steady", "warning", "noisy"),
        Check("T01", "a real engine", "held"),
        Check("T13", "reads", "not known"),
        Check("T02", "indexed", "held"),
    ]
    assert checks.warnings == ["T14 noisy"]
    table = checks.table
    assert [check.trap for check in table] == sorted([*CONSTRUCTION, "T01", "T02", "T13", "T14"])
    assert {check.trap for check in table if check.verdict == "by construction"} == set(CONSTRUCTION)
    assert Check("T11", CONSTRUCTION["T11"], "by construction") in table


def test_only_strict_checks_refuse_and_others_warn_on_the_spot(caplog: pytest.LogCaptureFixture) -> None:
    strict, lenient = Checks(), Checks(strict=False)
    with pytest.raises(BenchmarkError, match=r"^T02 not indexed$"):
        strict.expect(False, "T02", "indexed", "not indexed")
    assert (strict.done, caplog.messages) == ([], [])
    with caplog.at_level(logging.WARNING):
        lenient.expect(False, "T02", "indexed", "not indexed")
        lenient.expect(True, "T05", "as asked", "otherwise")
    assert lenient.warnings == caplog.messages == ["T02 not indexed"]
