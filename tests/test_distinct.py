"""Distinct keys: counted up to a bound, and estimated beyond."""

import pytest

from qexp.sizing.distinct import Distinct


def test_distinct_keys_are_all_counted_up_to_a_bound_and_estimated_beyond() -> None:
    few, many = Distinct(1000), Distinct(1000)
    for number in range(1000):
        few.add(number)
        few.add(0)
    assert few.total(lambda key, count: 1) == 1000
    assert few.total(lambda key, count: count) == 2000
    for number in range(100_000):
        many.add(f"key {number // 2}")
        many.add("frequent")
    assert len(many._counts) <= 1000
    assert many.total(lambda key, count: 1) == pytest.approx(50_001, rel=0.1)
    assert many.total(lambda key, count: count) == pytest.approx(200_000, rel=0.05)
    assert many.total(lambda key, count: count if count > 2 else 0) == 100_000  # the frequent one stands for itself


def test_a_frequent_key_that_came_late_stands_for_those_that_were_left_out() -> None:
    counted = Distinct(100)
    for number in range(150):  # one in two keys is counted from here on
        counted.add(f"key {number}")
    frequent = [f"frequent {number}" for number in range(8)]
    for _ in range(5000):
        for key in frequent:
            counted.add(key)
    for number in range(4000):
        counted.add(f"rare {number}")
    known = sum(key in counted for key in frequent)
    assert 0 < known < 8
    assert counted.total(lambda key, count: count if key in frequent else 0) == 2 * 5000 * known


def test_a_key_is_frequent_by_more_than_ten_occurrences_in_as_many_as_there_may_be_keys() -> None:
    def kept(key: str, times: int) -> bool:
        counted = Distinct(20)
        for one in [key] * times + list(range(20)):
            counted.add(one)
        return key in counted

    left_out = next(key for key in "abcdefgh" if not kept(key, 1))
    assert not kept(left_out, 20)  # ten in twenty, of forty
    assert kept(left_out, 21)
