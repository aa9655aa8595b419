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
