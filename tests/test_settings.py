"""What sets collections apart that have the same name."""

from pathlib import Path

import mlflow
import pytest

from qexp.report.canvas import LEGEND_ROOM, fitting
from qexp.report.frontier import candidates, questions
from qexp.report.settings import full_name, told_apart, varying
from qexp.results import Row
from tests.conftest import QUICK, Qexp
from tests.tables import baseline, row


def job(quantization: str = "scalar", p95: float = 1.0, **config: object) -> tuple[dict[str, object], list[Row]]:
    flat = {key.replace("__", "."): value for key, value in config.items()}
    return flat, [baseline(2 * p95), row(quantization, 2.0, p95=p95), row(quantization, 4.0, p95=p95)]


def settings(rows: list[Row], name: str = "settings") -> list[str | None]:
    return [one.params.get(name) for one in rows]


def test_only_what_differs_under_one_name_is_told() -> None:
    first, second, third = told_apart(
        [
            job(index__m=8, quantization__config__scalar__quantile=0.9, slo__name="a", search__oversampling=[2]),
            job(index__m=None, quantization__config__scalar__quantile=0.9, slo__name="b", search__oversampling=[4]),
            job("binary", index__m=8, quantization__config__binary__encoding="two_bits"),
        ]
    )
    assert settings(first) == ["index.m=8"] * 3
    assert settings(second) == ["index.m=null"] * 3
    assert settings(third) == ["index.m=8"] * 3
    assert settings(first, "data") == settings(third, "data") == [None] * 3  # each row says what it was searched with


def test_a_name_with_one_value_does_not_tell_those_of_another() -> None:
    quantiles = [job(quantization__config__scalar__quantile=value) for value in (0.9, 0.99)]
    *_, other = told_apart([*quantiles, job("binary", quantization__config__binary__encoding="two_bits")])
    assert settings(other) == [None] * 3


@pytest.mark.parametrize("name", ["dataset", "embedding_size", "engine"])
def test_jobs_that_are_never_compared_are_not_told_apart(name: str) -> None:
    configs = ({"dataset.points": 1}, {"dataset.points": 2}, {"index.m": 8, "search.queries": 100})
    kinds = ("one", "one", "other")
    jobs = [(config, [row("scalar", 2.0, **{name: kind})]) for config, kind in zip(configs, kinds, strict=True)]
    told = [rows[0].params for rows in told_apart(jobs)]
    assert [one.get("data") for one in told] == ["dataset.points=1", "dataset.points=2", None]
    assert [one.get("settings") for one in told] == [None] * 3


@pytest.mark.parametrize("key", ["rescore", "oversampling", "hnsw_ef", "limit"])
def test_what_each_row_has_is_not_told(key: str) -> None:
    jobs = [job(**{f"search__{key}": value}) for value in (1, 2)]
    assert told_apart(jobs) == [rows for _, rows in jobs]


@pytest.mark.parametrize(
    ("group", "name"),
    [("dataset", "dataset"), ("embedding", "embedding_size"), ("storage", "storage"), ("engine", "engine")],
)
def test_what_goes_with_a_name_is_not_told(group: str, name: str) -> None:
    jobs = [({f"{group}.made_with": value}, [row("scalar", 2.0, **{name: value})]) for value in ("a", "b")]
    assert told_apart(jobs) == [rows for _, rows in jobs]


def test_storages_of_several_datatypes_say_theirs() -> None:
    jobs = [({"storage.datatype": kind}, [row("scalar", 2.0, storage=kind)]) for kind in ("float32", "float16")]
    assert [settings(rows, "datatype") for rows in told_apart([*jobs, ({}, [])])] == [["float32"], ["float16"], []]


def test_names_have_what_varies() -> None:
    names = ["dataset", "data", "embedding_size", "storage", "engine", "settings", "hnsw_ef", "limit"]
    one, other = (row("scalar", 2.0, **dict.fromkeys(names, value)) for value in ("1", "2"))
    failed = Row({"quantization": "x", "role": "failed"}, {})
    assert (varying([one, other]), varying([one, one, failed])) == (names, [])
    told = "1, 1, 1 dimensions, storage 1, 1, limit 1"
    assert full_name("scalar", one.params, names) == f"scalar ({told})"
    assert full_name("scalar", row("scalar").params, ["settings"]) == full_name("scalar", one.params, []) == "scalar"


def test_a_baseline_has_nothing_of_its_quantization() -> None:
    first, second = told_apart([job(quantization__config__q=0.9), job(quantization__config__q=0.99)])
    assert settings(first) == [None, "quantization.config.q=0.9", "quantization.config.q=0.9"]
    assert settings(second)[1:] == ["quantization.config.q=0.99"] * 2


def test_a_baseline_under_load_does_not_hide_what_sets_its_job_apart() -> None:
    jobs = [(config, [*rows, rows[0]]) for config, rows in (job(quantization__config__q=q) for q in (0.9, 0.99))]
    assert settings(told_apart(jobs)[0]) == [None, *["quantization.config.q=0.9"] * 2, None]


def test_of_presets_the_name_says_it_all() -> None:
    first, _ = told_apart([job(cost__name="aws", cost__gb=3.0), job(cost__name="course", cost__gb=10.0)])
    assert settings(first, "data") == ["cost.name=aws"] * 3


@pytest.mark.parametrize("none", [{}, "{}"])
def test_of_a_filter_only_what_it_has_is_told(none: object) -> None:
    rome = "[{'key': 'city', 'match': {'value': 'Rome'}}]"
    everything, filtered = told_apart([job(search__filter=none), job(search__filter__must=rome)])
    assert settings(everything, "data") == ["search.filter=none"] * 3
    assert settings(filtered, "data") == [f"search.filter.must={rome}"] * 3


@pytest.mark.parametrize("part", ["tune", "adaptive"])
def test_how_factors_were_chosen_tells_no_jobs_apart(part: str) -> None:
    grid = job(search__tune=None, search__adaptive=None)
    chosen = job(**{f"search__{part}__target": 0.95})
    assert told_apart([grid, chosen]) == [grid[1], chosen[1]]


def test_nothing_is_told_where_nothing_differs() -> None:
    jobs = [job(index__m=16), job("binary", index__m=16)]
    assert told_apart(jobs) == [rows for _, rows in jobs]


def test_several_settings_are_told_as_on_the_command_line() -> None:
    rows, other = told_apart([job(index__m=8, index__ef=[1, 2]), job(index__m=16, index__ef=[3])])
    one = candidates([*rows, *other], "retention")[1]
    assert one.title == "scalar (index.m=8 index.ef=[1, 2]), rescoring 2×"
    assert one.point == "rescoring 2×"


def test_other_data_are_another_question() -> None:
    rows = [one for rows in told_apart([job(dataset__points=1), job(dataset__points=2)]) for one in rows]
    assert settings(rows, "data") == ["dataset.points=1"] * 3 + ["dataset.points=2"] * 3
    assert [len(group) for group in questions(rows)] == [3, 3]


def test_the_model_that_is_named_sets_nothing_apart() -> None:
    jobs = [
        job(method, dataset__path="a.npy", dataset__content="1", **model)
        for method, model in (("scalar", {"dataset__model": "ada"}), ("binary", {}))
    ]
    assert told_apart(jobs) == [rows for _, rows in jobs]


def test_what_a_file_held_at_other_times_is_another_question() -> None:
    then = job(dataset__path="a.npy", dataset__content="1")
    now = job("binary", dataset__path="a.npy", dataset__content="2")
    rows = [one for rows in told_apart([then, now]) for one in rows]
    assert settings(rows, "data") == ["dataset.content=1"] * 3 + ["dataset.content=2"] * 3
    assert [len(group) for group in questions(rows)] == [3, 3]
    unknown = job("turbo", dataset__path="a.npy")  # recorded before content was
    assert told_apart([then, unknown]) == [rows for _, rows in (then, unknown)]
    cut = job(dataset__path="a.npy", embedding__size=64, dataset__content="2")
    assert "dataset.content" not in str(told_apart([then, cut]))  # what differs is told already
    built = job("binary", dataset__path="a.npy", dataset__content="2", index__m=8)
    first, second = told_apart([then, built])  # how it is built says nothing of where it comes from
    assert settings(first, "data") + settings(second, "data") == settings(rows, "data")


def test_what_a_record_does_not_have_is_told_as_null() -> None:
    first, second = told_apart([job(index__m=8), job()])
    assert settings(first) + settings(second) == ["index.m=8"] * 3 + ["index.m=null"] * 3


def test_a_job_without_rows_tells_no_others_apart() -> None:
    one, (config, _) = job(storage__datatype="float32"), job(storage__datatype="float16", index__m=8)
    assert told_apart([one, (config, [])]) == [one[1], []]


@pytest.mark.parametrize(
    "key",
    [
        "embedding.prefix",
        "search.filter",
        "search.queries",
        "search.rounds",
        "engine.cpus",
        "engine.builds",
        "engine.ram_caps",
        "cost.headroom",
        "validity",
    ],
)
def test_other_searches_measurements_and_prices_are_another_question(key: str) -> None:
    jobs = [job(**{key.replace(".", "__"): value}) for value in ("a", "b")]
    rows = [one for rows in told_apart(jobs) for one in rows]
    assert settings(rows, "data") == [f"{key}=a"] * 3 + [f"{key}=b"] * 3
    assert [len(group) for group in questions(rows)] == [3, 3]


def test_jobs_say_at_which_ef_their_baselines_were_where_they_differ() -> None:
    jobs = [({}, [baseline(hnsw_ef=ef), row("scalar", 2.0, hnsw_ef=ef)]) for ef in ("64", "128")]
    assert [settings(rows, "baseline_efs") for rows in told_apart(jobs)] == [["64", None], ["128", None]]
    jobs.append(({}, [one for ef in ("64", "128") for one in (baseline(hnsw_ef=ef), row("scalar", hnsw_ef="9"))]))
    assert settings(told_apart(jobs)[2], "baseline_efs") == ["128 64", None, "128 64", None]


def test_latencies_are_not_levelled_through_baselines_of_other_settings() -> None:
    jobs = [job(p95=1.0, index__m=8), job(p95=3.0, index__m=16)]
    rows = [one for rows in told_apart(jobs) for one in rows]
    found = candidates(rows, "retention")
    assert [(one.title, one.latency) for one in found] == [
        ("no quantization (index.m=8)", 2.0),
        ("scalar (index.m=8), rescoring 2×", 1.0),
        ("scalar (index.m=8), rescoring 4×", 1.0),
        ("no quantization (index.m=16)", 6.0),
        ("scalar (index.m=16), rescoring 2×", 3.0),
        ("scalar (index.m=16), rescoring 4×", 3.0),
    ]


def test_long_names_have_fewer_columns_in_a_legend() -> None:
    assert fitting(["scalar", "binary", "binary_2bit", "turbo_4bit", "frontier"], 5, LEGEND_ROOM[False]) == 5
    long = [f"{name} (index.m={m})" for name in ("scalar", "binary") for m in (8, 16)]
    assert fitting(long, 5, LEGEND_ROOM[False]) == 4
    assert fitting([*long, "frontier"], 5, LEGEND_ROOM[False]) == 4
    assert fitting(long, 3, LEGEND_ROOM[True]) == 2
    assert fitting(["x" * 200] * 3, 3, LEGEND_ROOM[True]) == 1


@pytest.mark.slow
def test_a_sweep_over_the_index_and_the_data_ends_with_both_told_apart(qexp: Qexp, tmp_path: Path) -> None:
    swept = ["index.m=8,16", "dataset.points=2000,2100"]
    words = [word for word in QUICK if not word.startswith("dataset.points")]
    run = qexp("-m", "quantization=scalar", *words, *swept, "search.rescore=[false]", "slo.min_accuracy=0.5")
    assert run.returncode == 0, run.stderr
    for told in ("index.m=8", "index.m=16", "dataset.points=2000", "dataset.points=2100"):
        assert told in run.stdout
    trials = mlflow.search_runs(experiment_names=["qexp"], filter_string="tags.`qexp.level` = 'trial'")
    assert set(trials["params.index.m"]) == {"8", "16"}
    assert set(trials["params.dataset.points"]) == {"2000", "2100"}
    folders = {path.name for path in tmp_path.rglob("deploy/*") if path.is_dir() and "points" in path.name}
    assert folders == {f"synthetic-dataset.points={number}-64-edge-10" for number in (2000, 2100)}
