from qexp.report.record import CollectionRecord, warnings


def collection(method: str, *said: str) -> CollectionRecord:
    return CollectionRecord("", {"quantization.name": method}, {}, {"qexp.warnings": "\n".join(said)}, {}, {}, ())


def test_a_warning_names_its_methods_unless_it_is_everybodys() -> None:
    assert warnings([collection("scalar", "small", "noisy"), collection("binary", "small", "coarse")]) == [
        "small",
        "scalar: noisy",
        "binary: coarse",
    ]


def test_of_one_collection_no_method_is_named_and_none_twice() -> None:
    assert warnings([collection("scalar", "small")]) == ["small"]
    assert warnings([collection("binary", "coarse"), collection("binary"), collection("binary", "coarse")]) == [
        "binary: coarse"
    ]
    assert warnings([collection("scalar")]) == []
