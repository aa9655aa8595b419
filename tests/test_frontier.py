import math

import pytest

from qexp.report.frontier import candidates, dominates, dominators, fastest, frontier, questions, slower, times_faster
from tests.tables import baseline, row


def named(found):
    return [one.title for one in found]


def test_frontier_of_a_table_made_by_hand():
    rows = [
        baseline(p95=2.0, cost=10),
        row("scalar", accuracy=0.98, p95=1.2, cost=4),
        row("scalar", 2, accuracy=0.98, p95=1.5, cost=4),  # slower than without rescoring, no more accurate
        row("binary", accuracy=0.60, p95=0.8, cost=2),
        row("binary", 8, accuracy=0.95, p95=1.1, cost=2),
        row("product_x4", accuracy=0.90, p95=1.9, cost=5),
    ]
    found = candidates(rows, "retention")
    assert named(frontier(found)) == [
        "no quantization",
        "scalar, no rescoring",
        "binary, no rescoring",
        "binary, rescoring 8×",
    ]
    assert [(one.title, by.title) for one, by in dominators(found)] == [
        ("scalar, rescoring 2×", "scalar, no rescoring"),
        ("product_x4, no rescoring", "scalar, no rescoring"),
    ]


def test_noise_does_not_dominate():
    rows = [baseline(), row("scalar", 2, p95=1.001), row("scalar", 5, p95=1.000)]
    _, two, five = candidates(rows, "retention")
    assert not slower(two, five)
    assert not dominates(five, two)
    assert dominates(five, candidates([baseline(), row("scalar", 2, p95=1.1)], "retention")[1])


def test_baselines_of_two_jobs_are_told_apart_by_more_than_their_noise():
    def beaten(noise, drift):
        rows = [
            baseline(p95=p95 * factor, noise=noise, storage=storage)
            for storage, p95 in (("on_disk", 1.0), ("hot", 1.06))
            for factor in (1.0, drift)
        ]
        return [len(found) for found in (candidates(rows, "retention"), frontier(candidates(rows, "retention")))]

    assert beaten(0.01, drift=1.001) == [2, 1]
    assert beaten(0.1, drift=1.001) == [2, 2]
    assert beaten(0.01, drift=1.05) == [2, 2]  # jobs alike are as far apart as those that differ


def test_the_machines_drift_is_in_a_comparison_of_jobs_that_share_no_baseline():
    jobs = [("on_disk", 1.0), ("on_disk", 1.1), ("hot", 2.0), ("hot", 2.2)]
    rows = [one for storage, p95 in jobs for one in (baseline(p95=p95, storage=storage), row("scalar", p95=p95 / 2))]
    found = candidates(rows, "retention")
    here, there = found[0], next(one for one in found if one.collection.storage == "hot")
    ratio = times_faster(here, there)
    assert ratio.estimate == pytest.approx(2.0)
    # residuals ± log(1.1)/2 of four jobs: s = log(1.1)/√2, t(0.975, 2) = 4.302653, both means of two jobs
    drift = 4.3026527 * math.log(1.1) / 2**0.5
    noise = math.log(1.01 / 0.99) / 2
    assert math.log(ratio.high / ratio.estimate) == pytest.approx(math.hypot(noise, noise, drift))
    assert slower(there, here)


def test_jobs_without_a_baseline_in_common_are_not_compared_in_speed():
    here, there = candidates([baseline(p95=1.0), baseline(p95=9.0, storage="hot")], "retention")
    assert (times_faster(here, there).low, times_faster(here, there).high) == (0.0, math.inf)
    one, other = candidates([baseline(p95=1.0), baseline(p95=9.0, hnsw_ef="512")], "retention")
    assert slower(other, one)  # of one job


def test_jobs_of_disjoint_ef_share_no_baseline():
    def compared(first, second):
        rows = [
            *(baseline(p95=2.6, hnsw_ef="64", baseline_efs=first), row("turbo", 2, p95=1.3, hnsw_ef="64")),
            *(baseline(p95=2.3, hnsw_ef="128", baseline_efs=second), row("turbo", 2, p95=1.15, hnsw_ef="128")),
        ]
        _, slow, _, fast = candidates(rows, "recall")
        return times_faster(fast, slow)

    assert (compared("64", "128").low, compared("64", "128").high) == (0.0, math.inf)
    assert compared("128 64", "128 64").low > 1


def test_a_burst_in_one_round_is_no_difference_in_p95():
    paired = {"speedup_p95": 2.0, "speedup_p95_low": 1.9, "speedup_p95_high": 2.1}
    rows = [baseline(p95=2.0), row("scalar", 2, p95=1.0), row("scalar", 3, p95=1.5)]  # the latter's has a burst in it
    for one in rows[1:]:
        one.metrics.update(paired)
    bare, calm, burst = candidates(rows, "retention")
    assert times_faster(calm, burst).estimate == 1.0
    assert times_faster(burst, bare).estimate == pytest.approx(2.0)
    assert not slower(burst, calm)


def test_against_its_own_baseline_a_trial_has_the_interval_of_its_speedup():
    base, trial, _, other = candidates(
        [
            *(baseline(noise=0.2), row("scalar"), baseline(noise=0.2, storage="hot"), row("scalar", storage="hot")),
            *(baseline(noise=0.2), baseline(noise=0.2, storage="hot")),
        ],
        "retention",
    )
    own, foreign = times_faster(trial, base), times_faster(other, base)
    assert own.high / own.low == pytest.approx(2.02 / 1.98)
    assert times_faster(base, trial).high == pytest.approx(1 / own.low)
    assert foreign.high / foreign.low > 1.2 / 0.8


def test_jobs_are_brought_to_the_same_machine_speed():
    rows = [baseline(p95=1.0), row("scalar", p95=0.5), baseline(p95=4.0), row("scalar", p95=2.0)]
    bare, scalar, again = candidates(rows, "retention")  # only of baselines one stands for all
    assert (bare.latency, scalar.latency, again.latency) == pytest.approx((2.0, 1.0, 1.0))


def test_mean_latency_stands_in_for_an_unknown_p95():
    rows = [baseline(), row("scalar"), baseline(hnsw_ef="64")]
    for one in rows:
        for name in [name for name in one.metrics if name.startswith("latency_p95")]:
            del one.metrics[name]
    bare, scalar, other = candidates(rows, "retention")
    assert scalar.latency == pytest.approx(0.9)
    assert scalar.ceiling == float("inf")
    assert math.log(times_faster(bare, other).high) == pytest.approx(math.log(1.02 / 0.98) / 2**0.5)  # of two controls


def test_recall_of_the_baseline_is_what_was_measured():
    bare = baseline()
    bare.metrics["recall"] = 0.97
    assert candidates([bare], "recall")[0].accuracy == 0.97
    assert candidates([bare], "retention")[0].accuracy == 1.0


def test_rows_of_different_questions_are_kept_apart():
    rows = [baseline(), row("scalar"), baseline(dataset="other"), row("scalar", dataset="other")]
    assert [len(group) for group in questions(rows)] == [2, 2]
    assert [len(group) for group in questions([*rows, row("scalar", storage="hot")])] == [3, 2]


def test_p95_of_jobs_at_different_machine_speeds_are_compared_at_one():
    rows = [baseline(p95=1.0), row("scalar", 2, p95=0.5), baseline(p95=2.0), row("binary", 2, p95=1.0)]
    _, scalar, binary = candidates(rows, "retention")
    assert scalar.latency == pytest.approx(binary.latency)
    # a limit holds for what was measured, and at the speed that the jobs share
    assert scalar.p95_highs[0] == pytest.approx(0.5 * 1.01 * 2**0.5)
    assert binary.p95_highs[0] == pytest.approx(1.0 * 1.01)


def test_what_a_datatype_makes_smaller_is_a_candidate_without_codes():
    half = row("none")
    half.metrics["compression_ratio"] = 2.0
    assert named(candidates([baseline(), half], "retention")) == ["no quantization", "none, no rescoring"]


def test_cost_is_that_of_ram_and_disk():
    one = row("scalar", cost=4.0)
    assert candidates([baseline(), one], "retention")[1].cost == 4.0
    one.metrics["disk_cost_usd_month"] = 0.5
    assert candidates([baseline(), one], "retention")[1].cost == 4.5


def test_what_falls_off_with_as_much_as_was_predicted_needs_more():
    one = row("scalar", ram=8)
    one.metrics.update(ram_fallen_mib=8.0, ram_floor_mib=12.0)
    assert candidates([baseline(), one], "retention")[1].ram == 12.0


@pytest.mark.parametrize("worse", ["a", "b"])
def test_the_worse_half_counts(worse):
    one = row("scalar", accuracy=0.97, p95=1.0)
    one.metrics.update({f"accuracy_retention_{worse}_low": 0.9, f"latency_p95_ms_{worse}_high": 1.5})
    found = candidates([baseline(), one], "retention")[1]
    assert (found.floor, found.ceiling) == (0.9, 1.5)


def test_the_baselines_width_is_that_of_its_wider_half():
    bare = baseline(p95=2.0, noise=0.01)
    bare.metrics.update(latency_p95_ms_a_low=1.6, latency_p95_ms_a_high=2.5)
    other = baseline(p95=2.0, noise=0.0, hnsw_ef="64")
    one, two = candidates([bare, other], "retention")
    ratio = times_faster(one, two)
    assert ratio.high / ratio.estimate == pytest.approx((2.5 / 1.6) ** 0.5)


BETTER = {"accuracy": 0.97, "p95": 1.0, "cost": 1.0, "spread": 0.01}


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy_retention": 0.95},
        {"accuracy_retention_a_low": 0.95},
        {"accuracy_retention_b_low": 0.95},
        {"latency_p95_ms": 1.3},
        {"latency_p95_ms_a_high": 1.3},
        {"latency_p95_ms_b_high": 1.3},
        {"ram_cost_usd_month": 2.1},
        {"disk_cost_usd_month": 1.1},
    ],
)
def test_what_is_worse_in_anything_dominates_nothing(change):
    rows = [baseline(), row("scalar", **BETTER), row("binary", accuracy=0.96, p95=1.2, cost=2.0)]
    _, better, worse = candidates(rows, "retention")
    assert dominates(better, worse)
    rows[1].metrics.update(change)
    _, better, worse = candidates(rows, "retention")
    assert not dominates(better, worse)


def test_one_measurable_difference_is_enough():
    def beats(**more):
        _, better, worse = candidates(
            [baseline(), row("scalar", **BETTER | more), row("binary", **BETTER)], "retention"
        )
        return dominates(better, worse)

    assert not beats()
    assert beats(cost=0.99)
    assert beats(p95=0.9)
    assert not beats(p95=0.999)
    assert beats(accuracy=0.995)
    wide = [baseline(), row("scalar", **BETTER), row("binary", **BETTER | {"accuracy": 0.94})]
    wide[2].metrics["accuracy_retention_b_high"] = 0.98
    _, better, worse = candidates(wide, "retention")
    assert not dominates(better, worse)


@pytest.mark.parametrize("name", ["dataset", "data", "embedding_size", "engine", "limit"])
def test_what_asks_another_question_is_not_compared(name):
    assert [len(group) for group in questions([baseline(), row("scalar"), row("scalar", **{name: "other"})])] == [2, 1]


def test_baselines_with_other_settings_share_no_machine_speed():
    rows = [baseline(p95=1.0, settings="index.m=8"), baseline(p95=4.0, settings="index.m=16")]
    assert [one.pace for one in candidates(rows, "retention")] == [1.0, 1.0]
    rows = [baseline(p95=1.0, hnsw_ef="64"), baseline(p95=4.0, hnsw_ef="128")]
    assert [one.pace for one in candidates(rows, "recall")] == [1.0, 1.0]


def test_a_baseline_has_no_gain_over_itself_whatever_its_control_says():
    rows = [baseline(p95=2.0), row("scalar", p95=1.0)]
    for one in rows:
        del one.metrics["latency_p95_ms"]
    rows[0].metrics.update(speedup_mean=1.1, speedup_mean_low=1.05, speedup_mean_high=1.15)
    rows[1].metrics["speedup_mean"] = 2.01  # by rounds, not by means
    bare, scalar = candidates(rows, "retention")
    assert (bare.gain, scalar.gain) == (1.0, 2.01)


def test_a_difference_in_p95_is_as_wide_as_speedups_of_p95():
    rows = [baseline(p95=2.0), row("scalar", p95=1.0)]
    rows[1].metrics.update(speedup_p95=2.0, speedup_p95_low=1.0, speedup_p95_high=4.0)
    bare, scalar = candidates(rows, "retention")
    found = times_faster(scalar, bare)
    assert (found.low, found.estimate, found.high) == pytest.approx((1.0, 2.0, 4.0))


@pytest.mark.parametrize("half", ["a", "b"])
def test_only_rows_that_can_be_judged_are_candidates(half):
    again, untold, unsure = row("none"), row("none"), row("binary")
    again.metrics["compression_ratio"] = 1.0  # the baseline, built again
    del untold.metrics["compression_ratio"]
    del unsure.metrics[f"accuracy_retention_{half}_low"], unsure.metrics["latency_p95_ms"]
    found = candidates([baseline(), again, untold, unsure, row("scalar", p95=1.5)], "retention")
    assert [(one.title, one.latency) for one in found] == [("no quantization", 2.0), ("scalar, no rescoring", 1.5)]


@pytest.mark.parametrize(("fast", "levelled"), [(0.9901, False), (0.9899, True)])  # half of the way from 1, each
def test_a_pace_beyond_half_a_percent_is_worth_a_word(fast, levelled):
    found = candidates([baseline(p95=1.0), row("scalar"), baseline(p95=fast), row("binary")], "retention")
    assert [one.levelled for one in found] == [levelled] * 3


def test_the_fastest_is_of_those_that_nothing_is_measurably_faster_than():
    wide, same = row("binary", p95=0.9), row("turbo", p95=0.95)
    wide.metrics.update(speedup_p95=1.0, speedup_p95_low=0.9, speedup_p95_high=1.1)  # its tail was another job's
    same.metrics.update(speedup_p95=2.0, speedup_p95_low=2.0, speedup_p95_high=2.0)
    found = candidates([baseline(), row("scalar", p95=1.0), wide, same], "retention")
    bare, scalar, tail, sure = found
    assert slower(tail, scalar)
    assert fastest(found) is sure
    assert fastest([bare, tail, scalar]) is scalar
    assert not slower(sure, sure)  # of which every round said the same


def test_where_each_is_measurably_slower_than_another_the_least_latency_is_the_fastest():
    rows = [baseline(), row("scalar", p95=1.0), row("binary", p95=1.5), baseline(hnsw_ef="64"), row("turbo", p95=1.2)]
    for one, gain in ((rows[1], 1.0), (rows[2], 2.0)):  # by rounds the second, whose tail was longer
        one.metrics.update(speedup_p95=gain, speedup_p95_low=gain, speedup_p95_high=gain)
    _, scalar, binary, _, turbo = candidates(rows, "recall")
    assert slower(scalar, binary)
    assert slower(binary, turbo)
    assert slower(turbo, scalar)
    assert fastest([turbo, binary, scalar]) is scalar


def test_of_equally_accurate_ones_that_dominate_the_faster_is_told():
    rows = [baseline(), row("scalar", p95=1.2, cost=2), row("binary", p95=1.0, cost=3), row("turbo", p95=1.9, cost=5)]
    rows[3].metrics["accuracy_retention"] = 0.96
    assert [(one.title, by.title) for one, by in dominators(candidates(rows, "retention"))] == [
        ("turbo, no rescoring", "binary, no rescoring")
    ]


def test_what_dominates_a_dominator_need_not_dominate():
    alike = {"accuracy": 1.0, "cost": 2}
    bare = [baseline(cost=2, noise=0.45) for _ in range(2)]
    rows = [bare[0], row("scalar", p95=3.0, **alike), bare[1], row("binary", p95=3.2, **alike)]
    found = candidates(rows, "retention")
    assert named(frontier(found)) == ["no quantization"]
    assert [(one.title, by.title) for one, by in dominators(found)] == [
        ("scalar, no rescoring", "no quantization"),
        ("binary, no rescoring", "scalar, no rescoring"),
    ]


def test_the_simplest_has_the_fewest_parts_and_then_the_least_work():
    rows = [baseline(), row("a"), row("a", 1.0), row("a", 2.0), row("a", 2.0, hnsw_ef="9"), row("a", 2.0, hnsw_ef="64")]
    rows += [baseline(hnsw_ef="64"), row("a", hnsw_ef="128")]
    found = candidates(rows, "recall")
    assert named(sorted(found[::-1], key=lambda one: one.simplicity)) == [
        "no quantization",
        "no quantization, ef 64",
        "a, no rescoring",
        "a, no rescoring, ef 128",
        "a, rescoring 1×",
        "a, rescoring 2×",
        "a, rescoring 2×, ef 9",
        "a, rescoring 2×, ef 64",
    ]
