"""The words of a multirun, read before any job starts."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from qexp.errors import ConfigError
from qexp.swept import _in_order, plan, resolved, task_words, told_words
from tests.support.composing import composed


def test_jobs_are_counted_before_they_start() -> None:
    config = composed("experiment=quickstart")
    config.hydra.overrides.task = ["experiment=quickstart", "embedding='64','128'", "search.limit=range(5,8)"]
    keys, jobs = plan(config)
    assert jobs == 5 * 2 * 3
    assert keys == ["quantization", "embedding", "search.limit"]


def test_what_only_a_job_can_resolve_is_left_as_it_was_said() -> None:
    words = ["quantization=scalar,binary", "dataset.label=job${hydra:job.num}", "search.seed=${.rounds}"]
    config = composed()
    config.hydra.overrides.task = words
    assert task_words(config.hydra) == words
    assert plan(config) == (["quantization"], 2)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("search.seed=3", "search.seed=3"),
        ("search.seed=${search.rounds}", "search.seed=7"),
        (r"++search.seed=$\{search.rounds\}", "++search.seed=7"),
        ("search.hnsw_ef=[null,${search.rounds}]", "search.hnsw_ef=[null,7]"),
        ("dataset.label=${dataset.label}", 'dataset.label="a \\"b\\" é"'),
        ("search.filter={must: [{key: ${search.rounds}}]}", "search.filter={must:[{key:7,range:True}]}"),
        ("search.nosuch=${search.rounds}", "search.nosuch=${search.rounds}"),
    ],
)
def test_what_interpolations_stand_for_in_a_job_is_recorded(word: str, said: str) -> None:
    search = {"rounds": 7, "seed": "${.rounds}", "hnsw_ef": [None, "${..rounds}"]}
    search["filter"] = {"must": [{"key": "${search.rounds}", "range": True}]}
    composed = OmegaConf.create({"search": search, "dataset": {"label": 'a "b" é'}})
    assert resolved(word, composed) == said
    assert OverridesParser.create().parse_override(said)


def test_an_optimizer_needs_a_direction_for_every_objective() -> None:
    config = composed()
    OmegaConf.set_struct(config, False)
    config.hydra.sweeper = {"_target_": "optuna.Sweeper", "n_trials": 3, "params": None}
    for directions in ("maximize", ["maximize", "minimize"]):
        config.hydra.sweeper.direction = directions
        with pytest.raises(ConfigError, match=r"^hydra.sweeper.direction=.*: a job has three objectives"):
            plan(config)
    config.hydra.sweeper.direction = ["maximize", "minimize", "minimize"]
    assert plan(config) == ([], 3)


@pytest.mark.parametrize(
    ("word", "ordered"),
    [
        ("quantization=scalar,binary", "quantization=binary,scalar"),
        ("+a.b=choice(2,1)", "+a.b=1,2"),
        ("search.clients=[2,1],[1,2]", "search.clients=[1,2],[2,1]"),
        ("search.clients=[2,1]", "search.clients=[2,1]"),
        ("search.limit=range(5,8)", "search.limit=range(5,8)"),
        ("quantization=glob(turbo_1*)", "quantization=glob(turbo_1*)"),
        ("~cost", "~cost"),
    ],
)
def test_the_same_jobs_in_another_order_are_the_same_words(word: str, ordered: str) -> None:
    assert _in_order(word) == ordered


def test_housekeeping_and_limits_are_not_told() -> None:
    words = [
        "quantization=scalar,binary",
        "cache_dir=/tmp/x",
        "slo.min_accuracy=0.9",
        "+search.limit=5",
        "sweep.resume=last",
    ]
    assert told_words(words) == "+search.limit=5 quantization=binary,scalar"
