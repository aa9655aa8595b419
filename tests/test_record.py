from dataclasses import replace
from typing import Any

import pytest

from qexp.config import SloConfig
from qexp.report.recommend import recommend
from qexp.report.record import CollectionRecord, Record, checks, findings, warnings
from qexp.results import Check, Row
from tests.tables import baseline, job, row
from tests.test_recommend import SLO


def collection(method: str, *said: str) -> CollectionRecord:
    return CollectionRecord("", {"quantization.name": method}, {}, {"qexp.warnings": "\n".join(said)}, {}, {}, ())


def test_a_warning_names_its_methods_unless_it_is_everybodys() -> None:
    assert warnings([collection("scalar", "small", "noisy"), collection("binary", "small", "coarse")]) == [
        "small",
        "scalar: noisy",
        "binary: coarse",
    ]


def test_methods_of_one_name_are_told_apart_by_all_that_differs() -> None:
    two = [
        replace(collection("scalar", said), rows=(Row({"quantization": "scalar", "storage": storage, **more}, {}),))
        for said, storage, more in (("small", "hot", {"embedding_size": "64"}), ("noisy", "cold", {"settings": "m=8"}))
    ]
    assert warnings(two) == ["scalar (64 dimensions, storage hot): small", "scalar (storage cold, m=8): noisy"]


def test_of_one_collection_no_method_is_named_and_none_twice() -> None:
    assert warnings([collection("scalar", "small")]) == ["small"]
    assert warnings([collection("binary", "coarse"), collection("binary"), collection("binary", "coarse")]) == [
        "binary: coarse"
    ]
    assert warnings([collection("scalar")]) == []


def test_jobs_of_several_versions_are_told() -> None:
    def measured(version: str, commit: str) -> CollectionRecord:
        tags = {"qexp.version": version} | ({"qexp.git_sha": commit * 40} if commit else {})
        return replace(collection("scalar"), tags=tags)

    assert warnings([measured("0.1.0", "a"), measured("0.1.0", "a")]) == []
    (said,) = warnings([measured("0.1.0", "a"), measured("0.1.0", "b"), measured("0.2.0", "")])
    assert said.startswith("several versions of qexp measured these (0.1.0 at aaaaaaa, 0.1.0 at bbbbbbb, 0.2.0), and ")
    (many,) = warnings([measured("0.1.0", commit) for commit in "abcdefg"])
    assert "(0.1.0 at aaaaaaa, …, 0.1.0 at ggggggg)" in many


def test_findings_are_told_as_warnings_are() -> None:
    jobs = [
        replace(collection(name, "small"), tags={"qexp.findings": f"2× for {name}"}) for name in ("scalar", "binary")
    ]
    assert findings(jobs) == ["scalar: 2× for scalar.", "binary: 2× for binary."]
    assert findings([collection("scalar", "small")]) == []


def test_checks_name_their_methods_as_warnings_do_unless_their_words_name_a_collection() -> None:
    jobs = []
    for name, faults, control in (("scalar", 0, "held"), ("binary", 3, "warning")):
        texts = [
            ("T13", "held", f"trial: {faults} faults"),
            ("T14", control, "interleaved"),
            ("T02", "held", "none: all"),
        ]
        texts += [("T02", "held", f"{name}: all"), ("T01", "held", "edge")]
        jobs.append(replace(collection(name), checks=tuple(Check(trap, what, told) for trap, told, what in texts)))
    assert checks(jobs) == [
        ("T01", "held", "edge"),
        ("T02", "held", "none: all"),
        ("T02", "held", "scalar: all"),
        ("T02", "held", "binary: all"),
        ("T13", "held", "scalar: trial: 0 faults"),
        ("T13", "held", "binary: trial: 3 faults"),
        ("T14", "held", "scalar: interleaved"),
        ("T14", "warning", "binary: interleaved"),
    ]
    assert checks(jobs[:1])[-1] == ("T14", "held", "interleaved")


def test_controls_that_are_too_wide_are_one_line() -> None:
    def control(ef: str, figures: str) -> str:
        end = "too wide to say whether the machine was steady; use more rounds, or a quiet machine"
        return f"T14 the baseline{ef} against itself is {figures}: {end}"

    wide = [control(" (ef 32)", "0.808–1.780×, ± 48%"), control(" (ef 128)", "0.918–1.529×, ± 29%")]
    said = "T14 the baseline against itself is too wide to say whether the machine was steady; use more rounds, or a "
    assert warnings([collection("scalar", *wide), collection("binary", control("", "0.8–1.3×, ± 26%"))]) == [
        f"{said}quiet machine"
    ]
    assert warnings([collection("scalar", *wide), collection("binary")]) == [f"scalar: {said}quiet machine"]


def test_many_collections_are_told_by_what_they_have_in_common() -> None:
    methods = [*(f"binary_{number}" for number in range(4)), "scalar", "turbo"]

    def told(*chosen: int) -> list[str]:
        places = [(method, size, place) for method in methods for size in ("64", "128") for place in ("hot", "cold")]
        jobs = []
        for number, (method, size, place) in enumerate(places):
            params = {"quantization": method, "embedding_size": size, "storage": place}
            said = ["small"] if number in chosen else []
            jobs.append(replace(collection(method, *said), rows=(Row(params, {}),)))
        return warnings(jobs)

    everywhere = range(24)
    assert told(*everywhere) == ["small"]
    assert told(*(number for number in everywhere if number % 4 < 2)) == ["every method (64 dimensions): small"]
    assert told(0, 4, 8, 12, 16, 20) == ["every method (64 dimensions, storage hot): small"]
    assert told(*range(4)) == ["binary_0: small"]
    assert told(*range(16)) == ["binary_0, binary_1, binary_2, binary_3: small"]
    assert told(*(number for number in range(16) if number % 4 == 1)) == [
        "binary_0 (64 dimensions, storage cold), binary_1 (64 dimensions, storage cold), "
        "binary_2 (64 dimensions, storage cold), binary_3 (64 dimensions, storage cold): small"
    ]
    assert told(*range(1, 24)) == ["23 of 24 collections: small"]
    assert told(*(number for number in range(1, 24) if number % 4 < 2)) == ["11 of 24 collections: small"]


@pytest.mark.parametrize(
    ("silent", "who"), [(None, "every method (32 dimensions or 64 dimensions)"), ("a", "7 of 12 collections")]
)
def test_what_two_of_three_settings_have_in_common_is_told_if_no_other_has_it(silent: str | None, who: str) -> None:
    jobs = []
    for method in "abcd":
        for size in ("32", "64", "128"):
            params = {"quantization": method, "embedding_size": size}
            said = [] if size == "128" or (method, size) == (silent, "32") else ["small"]
            jobs.append(replace(collection(method, *said), rows=(Row(params, {}),)))
    assert warnings(jobs) == [f"{who}: small"]


def test_a_collection_has_the_name_and_the_graph_of_its_trials() -> None:
    one = collection("scalar")
    assert one.name == "scalar"
    rows = (Row({"quantization": "baseline (A/A)", "role": "baseline"}, {}), Row({"quantization": "binary"}, {}))
    assert replace(one, rows=rows).name == "binary"
    asked = replace(one, config={"index.m": 16, "index.ef_construct": 100}, dataset={"m": 32})
    assert (asked.built("m"), asked.built("ef_construct")) == (32, 100)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (None, SloConfig("strict", min_accuracy=0.99, max_p95_ms=2.0)),
        ({"min_accuracy": 0.9, "of_another_version": 1}, SloConfig("default", min_accuracy=0.9)),
    ],
)
def test_the_limits_are_those_of_the_sweep_else_of_its_first_collection(limits: Any, expected: SloConfig) -> None:
    config = {"slo.name": "strict", "slo.min_accuracy": 0.99, "slo.max_p95_ms": 2.0, "search.rounds": 5}
    jobs = (
        replace(collection("scalar"), config=config),
        replace(collection("binary"), config={"slo.min_accuracy": 0.5}),
    )
    assert Record("", "", jobs, limits=limits).slo == expected


def test_a_question_is_of_the_collections_that_may_be_compared() -> None:
    sizes = ({"embedding_size": "32"}, {})
    jobs = [job("scalar", baseline(**size), row("scalar", 2, **size)) for size in sizes]
    again = row("none")
    again.metrics["compression_ratio"] = 1.0
    jobs.append(job("none", baseline(), again))  # of which no row is a candidate beside those of the job before
    record = Record("", "", tuple(jobs))
    assert record.asked_by(recommend([*jobs[1].rows, *jobs[2].rows], SLO)) == jobs[1:]
    assert record.asked_by(recommend([], SLO)) == jobs
    assert [record.collection_of(one) for one in jobs[1].rows] == [jobs[1], jobs[1]]
