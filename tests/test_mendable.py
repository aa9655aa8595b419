"""Errors that are none of ours, and the user's to mend."""

import re
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from qexp.config import register_schema
from qexp.mendable import mendable, not_given
from qexp.paths import packaged
from qexp.usage import expanded


def composing(*words: str) -> str:
    """Return what is said of words that Hydra does not compose."""
    register_schema()
    with initialize_config_dir(str(packaged("conf")), version_base="1.3"), pytest.raises(HydraException) as error:
        compose("config", expanded([*words]))
    return mendable(error.value, [])


def test_a_field_of_a_part_that_the_search_has_not_is_told() -> None:
    omegaconf = AssertionError("Unexpected type for root: NoneType")
    words = ["dataset=file", "search.adaptive.target=0.9"]
    assert mendable(omegaconf, words) == "search.adaptive.target: this search has no adaptive; add search=adaptive"
    assert mendable(omegaconf, ["a=1"]) == ""
    assert mendable(AssertionError("another"), words) == ""


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cost.nodes=[{name: a, vcpu: 2}]", "cost.nodes: an item has no field 'vcpu'; qexp --cfg job shows"),
        ("~slo.max_p95_ms", "~slo.max_p95_ms: no field of the schema can be taken out; slo.max_p95_ms=null leaves it"),
        (
            "~search.limit",
            "~search.limit: no field of the schema can be taken out; search.limit=null leaves it unset, wh",
        ),
        ("~storage.hnsw=cached", "~storage.hnsw: no field of the schema can be taken out; storage.hnsw=null"),
        ("+quantization=binary", "+quantization=…: is chosen already; leave out the +"),
        ("index.m=ä(", "index.m=ä(: not in Hydra's grammar; put quotes around such text within the word"),
        ("dataset.label=(x", "dataset.label=(x: not in Hydra's grammar"),
        ("search.filter={must:", "no viable alternative at input '{must:': a bracket is not closed; put quotes around"),
        ("search.hnsw_ef=[64,", "no viable alternative at input '[64,': a bracket is not closed; put quotes around"),
        ("quantization=scalar,", "a comma has no value after it: the shell takes words apart at blanks; write a,b"),
        ("storage=hot,,", "a comma has no value after it"),
        ("search.hnsw_ef=64", "search.hnsw_ef=64: is a list; write [64], and in a sweep [64],[…]"),
        ("search.oversampling={a: 1}", "search.oversampling={a: 1}: is a list; write search.oversampling=[…]"),
        ("quantization.config=[1]", "quantization.config=[1]: is a mapping; write 'quantization.config={name: value}'"),
        ("search.filter=5", "search.filter=5: is a mapping; write 'search.filter={name: value}'"),
        ("search.clients=[1,null]", "search.clients=[1,null]: no item may be null"),
        ("cost.nodes=[5]", "cost.nodes=[5]: an item has fields of its own; write 'cost.nodes=[{name: value}]'"),
        ("search.tune=5", "search.tune=5: is a part with fields of its own; add search=tune"),
        ("quantization.theory=5", "quantization.theory=5: has fields of its own; write quantization.theory.fi"),
        ("quantization.theory=[5]", "quantization.theory=[5]: has fields of its own; write quantization.theory.fi"),
        ("dataset.label=[a]", "dataset.label=[a]: must be a text, not a list"),
        ("dataset.label={a: 1}", "dataset.label={a: 1}: must be a text, not a mapping"),
        ("index.m={a: 1}", "index.m={a: 1}: must be a whole number"),
        ('slo.min_accuracy=" "', 'slo.min_accuracy=" ": must be a number'),
        ("cost.nodes.0.name=a", "cost.nodes.0.name=a: an item is given with its list; write 'cost.nodes=[{name: a}]'"),
        ("search.limit=abc", "search.limit=abc: must be a whole number"),
        ("slo.min_accuracy=most", "slo.min_accuracy=most: must be a number"),
        ("skip_existing=perhaps", "skip_existing=perhaps: must be true or false"),
        ("embedding=-1", "embedding=-1: no such choice"),
        ("embedding=1_000", "embedding=1_000: no such choice"),
        ("storage=inf", "storage=inf: no such choice"),
        ("slo=[1.5]", "slo=1.5: no such choice"),
        ("embedding=32", "embedding=32: no such choice; any size is embedding.size=32"),
        ("quantization.theory.compresion=2", "quantization.theory.compresion: no such group or field (did you mean"),
        ("bogus", "bogus: is no word of qexp's; write group=choice or group.field=value"),
        ("dataset=a.parquet", "dataset=a.parquet: no such choice; a file is dataset=file dataset.path=a.parquet"),
        ("quantization=scalar,binary", "quantization=scalar,binary: a sweep over several values needs -m: qexp -m …"),
        (
            "search.limit=1,2",
            "search.limit=1,2: a sweep over several values needs -m: qexp -m …; a list is search.limit",
        ),
        ("serch.limit=3", "serch.limit: no such group or field (did you mean 'search.limit'?)"),
        ("storage.x=3", "storage.x: no such group or field (known: datatype, hnsw, name, quantized, vectors)"),
        ("search.limit=null", "search.limit=null: must have a value; leave it out for the default"),
        ("index.ef_constructt=2", "index.ef_constructt: no such group or field (did you mean 'ef_construct'?)"),
    ],
)
def test_a_field_that_is_not_there_is_named(word: str, said: str) -> None:
    assert composing(word).startswith(said)


def test_the_near_miss_of_a_choice_may_be_one_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "quantization").mkdir()
    (tmp_path / "quantization" / "ours.yaml").write_text("name: ours\n", encoding="utf-8")
    said = composing(f"hydra.searchpath=[{tmp_path}]", "quantization=our")
    assert said == "quantization=our: no such choice (did you mean 'ours'?)"


def test_memory_that_runs_out_is_told() -> None:
    with pytest.raises(MemoryError) as error:
        np.empty((10**12, 10**5))
    assert re.fullmatch(r"memory ran out: Unable to allocate .*; ask for less, or .*", mendable(error.value, []))
    assert mendable(MemoryError(), []).startswith("memory ran out: there is no more; ")


def test_items_of_a_list_without_a_value_are_given_with_their_list() -> None:
    assert not_given("dataset.path") == "dataset.path: must be given; add dataset.path=…"
    assert not_given("cost.nodes[0].name") == "cost.nodes[0].name: must be given; write 'cost.nodes=[{name: …}]'"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ('dataset.payload_indexes={a: text, "b": text}', "not in Hydra's grammar, where keys in {} have no quotes"),
        ('dataset.payload_indexes={"a.b": text}', "not in Hydra's grammar, where keys in {} have no quotes; say it in"),
        ("dataset.queries.held_out=9", "dataset.queries.held_out: the dataset that is chosen makes its queries"),
    ],
)
def test_what_generated_data_and_hydra_have_not_is_said(word: str, said: str) -> None:
    assert said in composing("dataset=synthetic", word)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "dataset/mine",
            "path: a.npy",
            "dataset/mine.yaml: dataset.path: of which kind? Begin it with defaults: [file]",
        ),
        (
            "dataset/mine",
            "defaults: [file]\nlabl: a",
            "dataset/mine.yaml: dataset.labl: no such field (did you mean 'la",
        ),
        ("dataset/mine", "defaults: [file]\nname: a", "dataset/mine.yaml: dataset.name: no such field"),
        (
            "experiment/mine",
            "index: {m: 8}",
            "experiment/mine.yaml: a preset of several groups begins with the line # @",
        ),
        (
            "experiment/mine",
            "# @package _global_\nserch: {limit: 3}",
            "experiment/mine.yaml: serch: no such field (did you mean 'search'?)",
        ),
    ],
)
def test_a_field_that_a_file_of_the_users_own_has_too_much_is_told(
    tmp_path: Path, file: str, content: str, said: str
) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / f"{file}.yaml").write_text(content, encoding="utf-8")
    assert composing(f"hydra.searchpath=[{tmp_path}]", file.replace("/", "=")).startswith(said)


def test_a_file_of_the_users_own_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    own = tmp_path / "storage" / "mine.yaml"
    register_schema()
    for content, said in (
        (b"name: {a: b\n", f"{own}, line 2, column 1: expected ',' or '}}', but got '<stream end>'; not YAML as it is"),
        (b"name: K\xf6ln\n", "--config-dir: a file there is not in UTF-8; save it so"),
    ):
        own.write_bytes(content)
        with (
            initialize_config_dir(str(packaged("conf")), version_base="1.3"),
            pytest.raises(Exception, match=r"\S") as error,
        ):
            compose("config", [f"hydra.searchpath=[{tmp_path}]", "storage=mine"])
        assert mendable(error.value, []) == said
