"""Traps of what an engine has built: it is not what was asked for, or not what it was."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge

from qexp.bench import validity
from qexp.bench.checks import Checks
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.errors import BenchmarkError
from qexp.results import CollectionSpec, CollectionState
from tests.test_edge import METHODS, POINTS, spec, vectors


def built(home: Path, asked: CollectionSpec) -> EdgeEngine:
    build_collection(EdgeEngine(home), asked, vectors(asked.size, asked.points))
    engine = EdgeEngine(home)
    assert engine.open(asked)
    return engine


def unfinished(home: Path, asked: CollectionSpec) -> EdgeEngine:
    """A collection whose optimizer has not run."""
    engine = EdgeEngine(home)
    engine.create(asked)
    engine.upload(vectors(asked.size, asked.points))
    return engine


def test_t02_a_collection_that_is_not_indexed(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = unfinished(tmp_path, asked)
    with pytest.raises(BenchmarkError, match=r"^T02 .* 0 indexed; remove the collection"):
        validity.check_state(asked, engine.state(), Checks())
    engine.drop()


def test_t02_an_optimizer_that_works_while_searches_are_timed(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = built(tmp_path, asked)
    before = engine.state()
    validity.check_unchanged("scalar", before, engine.state(), Checks())
    point = edge.Point(POINTS + 1, vectors(32, 1)[0].tolist())
    engine._shard.update(edge.UpdateOperation.upsert_points([point]))
    with pytest.raises(BenchmarkError, match=r"^T02 scalar: the engine worked on the collection"):
        validity.check_unchanged("scalar", before, engine.state(), Checks())
    engine.close()


@pytest.mark.parametrize(
    "otherwise", [{"m": 8}, {"vectors": "cached"}, {"quantization": METHODS["binary"], "method": "binary"}]
)
def test_t05_what_was_built_is_not_what_was_asked_for(tmp_path: Path, otherwise: dict[str, Any]) -> None:
    engine = built(tmp_path, replace(spec(size=32), **otherwise))
    with pytest.raises(BenchmarkError, match=r"^T05 .* was asked for, the engine built"):
        validity.check_state(spec(size=32), engine.state(), Checks())
    engine.close()


@pytest.mark.parametrize(
    "otherwise",
    [{"m": 8}, {"ef_construct": 50}, {"datatype": "float16"}, {"quantization": METHODS["binary"], "method": "binary"}],
)
def test_t05_segments_that_the_engine_built_otherwise_than_it_noted(tmp_path: Path, otherwise: dict[str, Any]) -> None:
    asked = spec(size=32)
    built(tmp_path / "asked", asked).close()
    engine = built(tmp_path / "built", replace(asked, **otherwise))
    (noted,), (config,) = ((tmp_path / home).rglob("edge_config.json") for home in ("asked", "built"))
    config.write_bytes(noted.read_bytes())
    with pytest.raises(BenchmarkError, match=r"^T05 .* was asked for, the engine built"):
        validity.check_state(asked, engine.state(), Checks())
    engine.close()


def test_t06_no_codes(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = unfinished(tmp_path, asked)
    checks = Checks(strict=False)
    validity.check_state(asked, engine.state(), checks)
    engine.drop()
    assert any(re.match("T06 .*: 0 bytes of quantized codes, 72000 expected", line) for line in checks.warnings)
    lost = built(tmp_path, asked)
    next((tmp_path / asked.name).rglob("quantized.data")).unlink()
    with pytest.raises(BenchmarkError, match=r"^T06 .*: 0 bytes of quantized codes, .*; remove the collection"):
        validity.check_state(asked, lost.state(), Checks())
    lost.close()


BUILT = CollectionState(
    points=2000,
    indexed_vectors=2000,
    segments=1,
    size=32,
    distance="cosine",
    datatype="float32",
    m=16,
    ef_construct=100,
    full_scan_threshold=10,
    quantization={"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
    placements={"vectors": "cold", "hnsw": "cached", "quantized": "pinned"},
    files={"codes": 72_000},
)


def test_what_was_built_is_told_in_qdrants_words() -> None:
    bare = replace(spec(size=32), quantization=None, quantized="")
    checks = Checks(strict=False)
    placements = {"vectors": "cold", "hnsw": "cached", "quantized": None}
    validity.check_state(bare, replace(BUILT, quantization=None, placements=placements, files={}), checks)
    told = [check.detail or check.what for check in checks.table if check.trap == "T05"]
    assert f"{bare.title}: quantization=null as asked" in told
    assert f'{bare.title}: placements={{"vectors": "cold", "hnsw": "cached", "quantized": null}} as asked' in told


def found(asked: CollectionSpec, state: CollectionState) -> list[str]:
    """The traps of a state that falls into some."""
    checks = Checks(strict=False)
    validity.check_state(asked, state, checks)
    return [warning.split()[0] for warning in checks.warnings]


@pytest.mark.parametrize(
    ("change", "traps"),
    [
        ({}, []),
        ({"points": 1999}, ["T02"]),
        ({"points": 2001, "indexed_vectors": 2001}, ["T02"]),
        ({"indexed_vectors": 1999}, ["T02"]),
        ({"segments": 2}, ["T05"]),
        ({"segments": None}, []),
        ({"size": 31}, ["T05"]),
        ({"distance": "dot"}, ["T05"]),
        ({"ef_construct": 99}, ["T05"]),
        ({"full_scan_threshold": 11}, ["T05"]),
        ({"replicas": 2}, ["T05"]),
        ({"write_consistency": 2}, ["T05"]),
        ({"unasked": {"inline_storage": True}}, ["T05"]),
        ({"quantization": None}, ["T05"]),
        ({"quantization": {"scalar": {"type": "int8"}}}, ["T05"]),
        ({"quantization": {"binary": {"type": "int8", "quantile": 0.99, "always_ram": True}}}, ["T05"]),
        ({"quantization": {"scalar": {"type": "int8", "quantile": 0.99 + 0.9e-6}}}, []),
        ({"quantization": {"scalar": {"type": "int8", "quantile": 0.99 - 1.1e-6}}}, ["T05"]),
        ({"files": {"codes": 70_560}}, []),  # 2 % less than predicted
        ({"files": {"codes": 70_559}}, ["T06"]),
        ({"files": {"codes": 720_000}}, []),
        ({"files": {}}, []),
        ({"files": {}, "indexed_vectors": 1999}, ["T02", "T06"]),
    ],
)
def test_everything_that_was_asked_for_is_compared(change: dict[str, Any], traps: list[str]) -> None:
    asked = spec(size=32)
    state = replace(BUILT, placements={"vectors": asked.vectors, "hnsw": asked.hnsw, "quantized": asked.quantized})
    assert found(asked, replace(state, **change)) == traps


def test_t07_collections_with_different_indexes(tmp_path: Path) -> None:
    states = []
    for m in (16, 8):
        engine = built(tmp_path, spec("none", size=32, m=m))
        states.append(engine.state())
        engine.close()
    with pytest.raises(BenchmarkError, match=r"^T07 the baseline has m=16, the quantized collection 8; build both"):
        validity.check_same_index(*states, Checks())


def test_a_baseline_has_no_codes_and_no_place_for_them() -> None:
    asked = spec(size=32).unquantized()
    state = replace(BUILT, quantization=None, files={"vectors": 256_000})
    places = {"vectors": asked.vectors, "hnsw": asked.hnsw}
    assert found(asked, replace(state, placements={**places, "quantized": None})) == []
    assert found(asked, replace(state, placements={**places, "quantized": "pinned"})) == ["T05"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("points", 1999),
        ("size", 31),
        ("distance", "dot"),
        ("datatype", "float16"),
        ("m", 8),
        ("ef_construct", 99),
        ("full_scan_threshold", 11),
        ("segments", 2),
        ("shards", 2),
        ("replicas", 2),
        ("write_consistency", 2),
    ],
)
def test_t07_collections_that_differ_in_anything(field: str, value: Any) -> None:
    validity.check_same_index(BUILT, BUILT, Checks())
    with pytest.raises(BenchmarkError, match=f"^T07 the baseline has {field}=.*, the quantized collection {value};"):
        validity.check_same_index(BUILT, replace(BUILT, **{field: value}), Checks())


def test_t12_points_in_another_order(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = built(tmp_path, asked)
    rows = [0, 7, 1999]
    stored = np.array(engine.vectors(rows), dtype=np.float32)
    engine.close()
    validity.check_stored(asked, rows, stored, vectors(32)[rows], Checks())
    with pytest.raises(BenchmarkError, match=r"^T12 .*point 0 is stored with another vector"):
        validity.check_stored(asked, rows, stored, vectors(32)[[1, 8, 1998]], Checks())
    with pytest.raises(BenchmarkError, match=r"^T12 .*point 7 is stored with another vector"):
        validity.check_stored(asked, rows, stored[[0, 2, 1]] * 1e-7, stored * 1e-7, Checks())


def test_t12_bytes_hold_what_they_can() -> None:
    given = np.array([[-3.0, 300.0, 7.5]])
    validity.check_stored(spec(datatype="uint8"), [0], np.array([[0.0, 255.0, 7.0]]), given, Checks())
    with pytest.raises(BenchmarkError, match=r"^T12 .*point 0 is stored with another vector"):
        validity.check_stored(spec(datatype="uint8"), [0], np.array([[0.0, 253.0, 7.0]]), given, Checks())


def test_t12_float16_may_round_to_its_smallest_step(tmp_path: Path) -> None:
    given = vectors(32)[:3] * np.float32(1e-7)
    validity.check_stored(
        spec(datatype="float16"), [0, 1, 2], given.astype(np.float16).astype(np.float32), given, Checks()
    )


@pytest.mark.parametrize(
    ("datatype", "largest", "most"),
    [
        ("float32", 4.0, 4e-5),
        ("float16", 4.0, 8e-3),
        ("float16", 0.0, 2.0**-24),
        ("uint8", 200.0, 1.0),
        ("turbo16", 4.0, 4e-3),
        ("turbo8", 4.0, 0.2),
        ("turbo4", 4.0, 2.4),
    ],
)
def test_t12_how_far_a_stored_vector_may_be_from_the_datasets(datatype: str, largest: float, most: float) -> None:
    given = np.array([[250.0, 0.0], [largest, 0.0]])  # of the row's own largest component, not of all rows'
    for share, warned in ((0.99, []), (1.01, ["point 4"])):
        checks = Checks(strict=False)
        stored = given - np.array([[0.0, 0.0], [0.0, share * most]])
        validity.check_stored(spec(datatype=datatype), [3, 4], stored, given, checks)
        assert [warning.split(" is stored")[0].split(": ")[1] for warning in checks.warnings] == warned


def test_t12_nothing_but_zeros_and_what_is_below_zero_is_stored_as_it_was_given() -> None:
    given = np.array([[-8.0, -1.0], [0.0, 0.0]])
    validity.check_stored(spec(), [3, 4], given * (1 + 1e-6), given, Checks())
    with pytest.raises(BenchmarkError, match="point 3 is stored with another vector"):
        validity.check_stored(spec(), [3, 4], given * (1 + 1e-4), given, Checks())
