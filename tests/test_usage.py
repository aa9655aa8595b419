from qexp.usage import QUIET_WORDS, expanded


def test_overrides_are_split_and_empty_parameters_left_out() -> None:
    words = ["-m", "experiment=", "embedding=128", "storage=", "--overrides", "search.rounds=3 dataset.label='a b'"]
    assert expanded(words) == ["-m", "embedding='128'", "search.rounds=3", "dataset.label=a b"]
    assert expanded(["dataset=wordnet", "--overrides", ""]) == ["dataset=wordnet"]
    assert expanded(["storage="]) == ["storage="]
    assert expanded(["embedding=native,128,64", "search.limit=5,10"]) == [
        "embedding=native,'128','64'",
        "search.limit=5,10",
    ]


def test_quiet_words_stand_where_no_flag_is_between_words() -> None:
    assert expanded(["-m", "a=1", "b=2", "--quiet"]) == ["-m", *QUIET_WORDS, "a=1", "b=2"]
    assert expanded(["a=1", "-m", "--quiet"]) == [*QUIET_WORDS, "a=1", "-m"]
    assert expanded(["--cfg", "job", "--quiet"]) == ["--cfg", "job", *QUIET_WORDS]
