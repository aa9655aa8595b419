from dataclasses import replace

from qexp.report.record import CollectionRecord, findings, warnings
from qexp.results import Row


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


def test_findings_are_told_as_warnings_are() -> None:
    jobs = [
        replace(collection(name, "small"), tags={"qexp.findings": f"2× for {name}"}) for name in ("scalar", "binary")
    ]
    assert findings(jobs) == ["scalar: 2× for scalar", "binary: 2× for binary"]
    assert findings([collection("scalar", "small")]) == []


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
    assert told(*range(16)) == ["binary_0, binary_1, binary_2, binary_3: small"]
    assert told(*(number for number in range(16) if number % 4 == 1)) == [
        "binary_0 (64 dimensions, storage cold), binary_1 (64 dimensions, storage cold), "
        "binary_2 (64 dimensions, storage cold), binary_3 (64 dimensions, storage cold): small"
    ]
    assert told(*range(1, 24)) == ["23 of 24 collections: small"]
