import re
import subprocess
import sys
from functools import partial
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from qexp.bench.accuracy import mean_interval
from qexp.bench.halves import split
from qexp.config import (
    AdaptiveConfig,
    CollectionDataset,
    CostConfig,
    EngineConfig,
    ExperimentConfig,
    FileDataset,
    IndexConfig,
    NodeConfig,
    QuantizationConfig,
    QueriesConfig,
    SearchConfig,
    ServerConfig,
    SloConfig,
    StorageConfig,
    SyntheticDataset,
    TheoryConfig,
    known_keys,
    register_schema,
)
from qexp.config.dataset import PAYLOAD_INDEXES
from qexp.errors import ConfigError, near_miss
from qexp.paths import packaged

CONF = packaged("conf")
METHODS = sorted(file.stem for file in (CONF / "quantization").glob("*.yaml"))
DESIGNED = {
    *("none", "scalar", "binary", "binary_1_5bit", "binary_2bit", "binary_asymmetric"),
    *(f"product_x{ratio}" for ratio in (4, 8, 16, 32, 64)),
    *("turbo_4bit", "turbo_2bit", "turbo_1_5bit", "turbo_1bit"),
}


def composed(*words: str) -> ExperimentConfig:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_object(compose("config", list(words)))
    assert isinstance(config, ExperimentConfig)
    return config


def test_every_designed_quantization_is_a_choice() -> None:
    assert set(METHODS) >= DESIGNED


@pytest.mark.parametrize("method", METHODS)
def test_every_quantization_composes_and_passes_qdrants_schema(method: str) -> None:
    quantization = composed(f"quantization={method}").quantization
    assert quantization.name == method
    if quantization.config:
        QuantizationConfig("under another name, so that the schema is asked", quantization.config)


def test_what_comes_with_qexp_needs_no_slow_schema_and_what_is_changed_does() -> None:
    script = """
        import sys
        from qexp.config import QuantizationConfig
        QuantizationConfig("binary", {"binary": {"encoding": "one_bit"}})
        assert "qdrant_client" not in sys.modules
        QuantizationConfig("binary", {"binary": {"encoding": "two_bits"}})
        assert "qdrant_client" in sys.modules
    """
    subprocess.run([sys.executable, "-c", dedent(script)], check=True)


def test_every_hub_preset_but_one_is_pinned_to_a_commit() -> None:
    presets = {file.stem: OmegaConf.load(file) for file in (CONF / "dataset").glob("*.yaml")}
    remote = {name: values for name, values in presets.items() if "/" in values.get("path", "") and name != "wordnet"}
    pins = {name: values.get("revision") for name, values in remote.items()}
    assert len(pins) == 7
    assert {name for name, pin in pins.items() if not re.fullmatch("[0-9a-f]{40}", pin or "")} == {"dbpedia_gemini"}


@pytest.mark.parametrize("preset", sorted(file.stem for file in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_preset_composes(preset: str) -> None:
    assert composed(f"experiment={preset}").search.limit >= 1


@pytest.mark.parametrize("preset", sorted(file.stem for file in (CONF / "experiment").glob("*.yaml")))
def test_half_of_the_queries_of_every_experiment_preset_can_show_what_is_asked_for(preset: str) -> None:
    config = composed(f"experiment={preset}")
    if config.search.queries is not None:
        _, second = split(config.search.queries)
        assert mean_interval(np.ones((1, len(second)))).low >= config.slo.min_accuracy


@pytest.mark.parametrize(
    "choice",
    [
        f"{group.name}={file.stem if not file.stem.isdigit() else repr(file.stem)}"
        for group in sorted(CONF.iterdir())
        if group.is_dir() and group.name not in ("hydra", "experiment", "quantization")
        for file in sorted(group.glob("*.yaml"))
    ],
)
def test_every_choice_composes(choice: str) -> None:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("config", [choice])


@pytest.mark.parametrize("file", sorted(CONF.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_choice_is_described_in_its_first_comment(file: object) -> None:
    lines = file.read_text().splitlines()  # type: ignore[attr-defined]
    assert next(line for line in lines if not line.startswith("# @")).startswith("# ")


def test_hash_follows_the_experiment_and_not_the_machine() -> None:
    assert composed().hash == composed("cache_dir=/elsewhere").hash
    assert composed().hash == composed("dataset.model=another", "slo.min_accuracy=0.5").hash
    assert composed().hash != composed("search.limit=11").hash


def test_flat_has_dotted_keys() -> None:
    flat = composed("quantization=binary_2bit").flat()
    assert flat["quantization.config.binary.encoding"] == "two_bits"
    assert flat["search.oversampling"] == [1.0, 2.0, 3.0, 5.0, 8.0, 10.0]
    assert "cache_dir" not in flat


ROME = {"key": "city", "match": {"value": "Rome"}}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, []),
        ({"must": [ROME, {"has_id": [5]}], "must_not": {"is_empty": {"key": "note"}}}, ["city", "note"]),
        ({"should": [{"must": [{"key": "a.b", "range": {"gt": 1}}]}, ROME]}, ["a.b", "city"]),
        ({"must": [{"nested": {"key": "shops[]", "filter": {"must": [ROME]}}}]}, ["shops[]"]),
        ({"min_should": {"conditions": [ROME, ROME], "min_count": 1}}, ["city"]),
    ],
)
def test_the_fields_of_a_filter_are_known(given: dict[str, Any], fields: list[str]) -> None:
    assert [*SearchConfig(filter=given).filtered_fields] == fields


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        ({"match": {"value": "Rome"}}, ("keyword", "uuid")),
        ({"match": {"any": ["Rome"]}}, ("keyword", "uuid")),
        ({"match": {"except": [1, 2]}}, ("integer",)),
        ({"match": {"value": True}}, ("bool",)),
        ({"match": {"text": "quick"}}, ("text",)),
        ({"match": {"phrase": "quick fox"}}, ()),
        ({"match": {"prefix": "qui"}}, ()),
        ({"match": {"substring": "ick"}}, ()),
        ({"range": {"gt": 1}}, ("integer", "float")),
        ({"range": {"lt": "2020-01-01T00:00:00Z"}}, ("datetime",)),
        ({"geo_radius": {"center": {"lon": 1, "lat": 2}, "radius": 3}}, ("geo",)),
        ({"is_null": True}, PAYLOAD_INDEXES),
    ],
)
def test_what_index_serves_a_condition_is_known(condition: dict[str, Any], kinds: tuple[str, ...]) -> None:
    given = {"must": [{"key": "field", **condition}]}
    assert SearchConfig(filter=given).filtered_fields == {"field": kinds}


def test_several_conditions_on_a_field_ask_for_the_index_that_serves_all() -> None:
    between, words = {"key": "field", "range": {"gt": 1}}, {"key": "field", "match": {"text": "quick"}}
    is_five, phrase = ({"key": "field", "match": match} for match in ({"value": 5}, {"phrase": "a fox"}))
    for conditions, kinds in (
        ([is_five, between], ("integer",)),
        ([between, is_five], ("integer",)),
        ([between, words], ("integer", "float")),
        ([words, phrase], ()),
        ([phrase, words], ()),
    ):
        assert SearchConfig(filter={"must": conditions}).filtered_fields == {"field": kinds}


@pytest.mark.parametrize("few", [[], ["p95"], ["p95", "p95"]])
def test_what_configurations_are_compared_in_is_two_or_three_objectives(few: list[str]) -> None:
    for asked in (["p95", "cost"], ["cost", "accuracy", "p95"]):
        assert SloConfig("mine", objectives=asked).objectives == asked
    with pytest.raises(ConfigError, match=r"^slo\.objectives=\[.*\]: must be two or three of accuracy, p95, cost$"):
        SloConfig("mine", objectives=few)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_is_a_finite_number_above_0(limit: float) -> None:
    with pytest.raises(ConfigError, match=r"^slo\.max_ram_mib=\S+: must be a finite number above 0, or null for no li"):
        SloConfig("mine", max_ram_mib=limit)


def test_a_filter_on_ids_that_are_not_those_of_the_dataset_is_refused() -> None:
    for condition in ({"has_id": [5]}, {"slice": {"total": 4, "index": 0}}):
        search = SearchConfig(filter={"must_not": [{"must": [condition]}]})
        assert ExperimentConfig(dataset=FileDataset(path="mine.npy"), search=search).search.filters_ids
        with pytest.raises(ConfigError, match="has_id and slice would mean row numbers"):
            ExperimentConfig(dataset=FileDataset(path="mine.parquet", id_column="id"), search=search)


def test_a_filter_or_an_index_on_payload_that_is_not_there_is_refused() -> None:
    search = SearchConfig(filter={"must": [ROME]})
    table = partial(FileDataset, path="mine.parquet")
    there = partial(CollectionDataset, url="http://localhost:6333", collection="shops")
    for dataset, remedy in (
        (SyntheticDataset(), "this dataset has none; use dataset=file, hub or qdrant_collection$"),
        (table(payload_columns=["town"]), "add 'city' to dataset.payload_columns"),
        (there(payload=False), "add dataset.payload=true"),
    ):
        with pytest.raises(ConfigError, match=f"^search.filter: no point has a field 'city'; {remedy}"):
            ExperimentConfig(dataset=dataset, search=search)
    for dataset in (table(payload_columns=["city"]), there()):
        assert ExperimentConfig(dataset=dataset, search=search).search == search
    for make, remedy in (
        (SyntheticDataset, "has none"),
        (table, "add 'city'"),
        (partial(there, payload=False), "=true"),
    ):
        with pytest.raises(ConfigError, match=f"^dataset.payload_indexes.city: no payload to index; .*{remedy}"):
            make(payload_indexes={"city": "keyword"})


def test_several_segments_are_refused_where_the_engine_builds_one() -> None:
    assert composed("index.segments=2", "engine=server").index.segments == 2
    with pytest.raises(ConfigError, match=r"^index\.segments=2: .* use engine=server or index\.segments=1$"):
        ExperimentConfig(index=IndexConfig(segments=2))


def test_a_column_with_a_dot_in_its_name_is_quoted_in_a_path() -> None:
    dotted = FileDataset(path="mine.parquet", payload_columns=["a.b", "c"])
    for key in ('"a.b"', '"a.b".d', '"a.b"[0].d', '"c"', "c", "c.d", "c[].d"):
        assert dotted.field_missing(key) is None
    assert dotted.field_missing('"c.d".e') == "add 'c.d' to dataset.payload_columns"
    assert dotted.field_missing("a.c") == "add 'a' to dataset.payload_columns"
    assert dotted.field_missing("a.b") == """write '"a.b"', for Qdrant takes a.b for a path that begins at 'a'"""


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"binry": {}}, "did you mean 'binary'"),
        ({"binary": {"encodng": "one_bit"}}, "did you mean 'encoding'"),
        ({"binary": {"encoding": "two_bit"}}, "encoding='two_bit'"),
        ({"scalar": {"type": "int8", "quantile": 1.5}}, "quantile=1.5"),
        ({"scalar": {"type": "int8", "always_ram": True}}, "storage.quantized"),
        ({"scalar": {"type": "int8", "quantle": 0.9}}, "scalar.quantle: Qdrant has no such key"),
        ({"scalar": {"typ": "int8"}}, "scalar.typ: Qdrant has no such key (did you mean 'type'?)"),
        (
            {"scalar": {"type": "int8"}, "scaler": {"type": "int8"}},
            "config.scaler: no such method (did you mean 'scalar'?)",
        ),
        ({"scalar": {"type": "int8"}, "binary": {}}, "exactly one of"),
        ({"scalar": {}, "binary": {}}, "has binary, scalar; to give one of your own, begin with quantization=none"),
    ],
)
def test_quantization_is_held_against_qdrants_schema(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        QuantizationConfig("mine", config)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SearchConfig(oversampling=[]), "search.oversampling=[]: the grid is empty"),
        (lambda: SearchConfig(oversampling=[0.5]), "search.oversampling=0.5: must be at least 1"),
        (lambda: SearchConfig(oversampling=[float("nan")]), "search.oversampling=nan"),
        (lambda: SearchConfig(oversampling=[2, 2]), "a value is given twice"),
        (lambda: SearchConfig(rescore=[]), "search.rescore=[]"),
        (lambda: SearchConfig(limit=0), "search.limit=0"),
        (lambda: SearchConfig(hnsw_ef=[0]), "search.hnsw_ef=0"),
        (
            lambda: SearchConfig(rate=[400, 0.4]),
            "search.rate=0.4: no query is due in search.load_seconds=2; set search.load_seconds=3",
        ),
        (lambda: SearchConfig(clients=[1, 257]), "search.clients=257: each is a process of its own; at most 256"),
        (lambda: SearchConfig(seed=-1), "search.seed=-1: must be at least 0"),
        (lambda: SearchConfig(limit=-(10**400)), "search.limit=-1000"),
        (lambda: SearchConfig(filter={"must": [{"key": b"city"}]}), "search.filter: a value in it is none"),
        (
            lambda: SearchConfig(filter={"must": [{"key": "price", "match": {"value": 1.5}}]}),
            "search.filter.must.0.match.value: not a Qdrant filter: must be a boolean or an integer or a text; for a "
            "number with a fraction use range: {gte: 1.5, lte: 1.5}",
        ),
        (
            lambda: SearchConfig(filter={"must": [{"key": "price", "match": {"any": [1.5]}}]}),
            "search.filter.must.0.match.any.0: not a Qdrant filter: must be a text or an integer; for a number",
        ),
        (
            lambda: SearchConfig(filter={"must": [{"key": "city", "match": {"text": 3}}]}),
            "search.filter.must.0.match.text: not a Qdrant filter: must be a text",
        ),
        (
            lambda: SearchConfig(filter={"must": [{"nested": 3}]}),
            "search.filter.must.0.nested: not a Qdrant filter: Input should be a valid dictionary",
        ),
        (
            lambda: SearchConfig(filter={"must": [{"nestd": 3}]}),
            "search.filter.must.0.nestd: not a Qdrant filter: Extra inputs are not permitted",
        ),
        (lambda: CostConfig(headroom=float("inf")), "cost.headroom=inf: must be a finite number"),
        (lambda: CostConfig(replication=10**400), "cost.replication: must be at most 1e+15"),
        (lambda: CostConfig(usd_per_gb_month=1e300), "cost.usd_per_gb_month: must be at most 1e+15"),
        (lambda: NodeConfig("small", 1e-300, 1), "ram_gib=1e-300 of small: must be from 1e-06 to 1e+15"),
        (lambda: IndexConfig(m=10**20), "index.m: must be at most 1e+15"),
        (lambda: SearchConfig(hnsw_ef=[10**20]), "search.hnsw_ef: must be at most 1e+15"),
        (
            lambda: SearchConfig(rate=[1e9]),
            "search.rate=1e+09: 2e+09 queries are due in search.load_seconds=2; at most 10,000,000",
        ),
        (lambda: TheoryConfig(compression=0.0), "quantization.theory.compression=0.0: must be a finite number above 0"),
        (
            lambda: TheoryConfig(speedup=float("nan")),
            "quantization.theory.speedup=nan: must be a finite number above 0",
        ),
        (
            lambda: SearchConfig(filter={"must": [{"key": "n", "range": {"gte": float("nan")}}]}),
            "search.filter: a value in it is none that JSON has (nan, infinity, bytes)",
        ),
        (
            lambda: SearchConfig(hnsw_ef=[[64], [128]]),  # type: ignore[list-item]
            "search.hnsw_ef=[[64], [128]]: an item is a list or mapping; write [a,b], and in a sweep [a],[b]",
        ),
        (lambda: AdaptiveConfig(factors=[[2]]), "search.adaptive.factors=[[2]]: an item is"),  # type: ignore[list-item]
        (lambda: EngineConfig("edge", cpus=[[1]]), "engine.cpus=[[1]]: an item is"),  # type: ignore[list-item]
        (lambda: AdaptiveConfig(factors=[2, 2]), "search.adaptive.factors: needs at least two oversampling factors"),
        (lambda: SearchConfig(queries=1), "search.queries=1: must be at least 2"),
        (lambda: StorageConfig("s", vectors="pinned"), "storage.vectors=pinned"),
        (lambda: StorageConfig("s", datatype="float15"), "did you mean 'float16'"),
        (lambda: IndexConfig(m=1), "index.m=1"),
        (lambda: CostConfig("c", usd_per_gb_month=-1), "cost.usd_per_gb_month=-1"),
        (lambda: SyntheticDataset(points=0), "dataset.points=0"),
        (lambda: SyntheticDataset(label="a/b"), "dataset.label=a/b: names files, so it must be without /"),
        (lambda: SyntheticDataset(label="a" * 65), "of at most 64 bytes"),
        (lambda: QuantizationConfig("a/b"), "quantization.name='a/b': names files, so it must be printable, without /"),
        (lambda: QuantizationConfig(""), "quantization.name='': names files"),
        (lambda: QuantizationConfig("a" * 65), "of 1 to 64 bytes"),
        (lambda: QuantizationConfig("floats"), "quantization.name=floats: there is no quantization.config, which is"),
        (lambda: EngineConfig("mine"), "engine.name=mine: names the kind of the engine; add engine=…"),
        (lambda: ServerConfig("edge", url="http://host"), "engine.name=edge: names the kind of the engine"),
        (lambda: QuantizationConfig("\udcff"), "must be printable"),
        (lambda: SyntheticDataset(queries=1), "dataset.queries=1: must be at least 2"),
        (lambda: SyntheticDataset(seed=-1), "dataset.seed=-1: must be at least 0"),
        (lambda: QueriesConfig(held_out=1), "dataset.queries.held_out=1: must be at least 2"),
        (lambda: SyntheticDataset(distance="cosin"), "did you mean 'cosine'"),
    ],
)
def test_values_are_checked(make: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)


def test_near_miss_names_the_closest_word_or_a_short_list() -> None:
    assert near_miss("scalr", ["scalar", "binary"]) == " (did you mean 'scalar'?)"
    assert near_miss("qq", ["b", "a"]) == " (known: a, b)"
    assert near_miss("qq", []) == ""
    assert near_miss("search.limt", known_keys()) == " (did you mean 'search.limit'?)"


def test_known_keys_are_those_of_every_kind_that_a_part_may_be() -> None:
    assert {"dataset.revision", "dataset.qrels.path", "engine.shards", "search.tune.most"} <= known_keys()
    assert "cost.nodes.name" not in known_keys()  # nodes are a list


@pytest.mark.parametrize("name", ["binary_1_5bit", "turbo_1_5bit"])
def test_theory_is_what_qdrant_publishes(name: str) -> None:
    assert composed(f"quantization={name}").quantization.theory.compression == 24  # and not 32 / 1.5
