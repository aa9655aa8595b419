"""The Edge engine for every quantization that Qdrant has."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexp.bench.checks import Checks
from qexp.bench.validity import check_state
from qexp.config import StorageConfig
from qexp.config.collection import DATATYPES
from qexp.data.truth import neighbours
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.errors import BenchmarkError, EngineError
from qexp.results import CollectionSpec, OperatingPoint
from qexp.sizing.ram import code_bytes

METHODS: dict[str, Any] = {
    "none": None,
    "scalar": {"scalar": {"type": "int8", "quantile": 0.99}},
    "binary": {"binary": {"encoding": "one_bit"}},
    "binary_1_5bit": {"binary": {"encoding": "one_and_half_bits"}},
    "binary_2bit": {"binary": {"encoding": "two_bits"}},
    "binary_asymmetric_4bit": {"binary": {"encoding": "one_bit", "query_encoding": "scalar4bits"}},
    "binary_asymmetric": {"binary": {"encoding": "one_bit", "query_encoding": "scalar8bits"}},
    **{f"product_x{ratio}": {"product": {"compression": f"x{ratio}"}} for ratio in (4, 8, 16, 32, 64)},
    **{f"turbo_{bits}": {"turbo": {"bits": f"bits{bits}"}} for bits in ("1", "1_5", "2", "4")},
}
POINTS = 2000


def vectors(size: int, n: int = POINTS, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, size))
    drawn = centres[rng.integers(20, size=n)] + 0.7 * rng.standard_normal((n, size))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def spec(method: str = "scalar", size: int = 100, **more: Any) -> CollectionSpec:
    storage = StorageConfig("on_disk")
    return replace(
        CollectionSpec(
            dataset="test",
            digest="0",
            points=POINTS,
            size=size,
            distance="cosine",
            datatype="float32",
            quantization=METHODS[method],
            method=method,
            vectors=storage.vectors,
            quantized=storage.quantized if METHODS[method] else "",
            hnsw=storage.hnsw,
            m=16,
            ef_construct=100,
            full_scan_threshold=10,
            segments=1,
            engine="edge",
        ),
        **more,
    )


def retention(engine: EdgeEngine, queries: np.ndarray, point: OperatingPoint, exact: np.ndarray) -> float:
    search = engine.search(point)
    found = [search.ids(search.call(search.prepare(query))) for query in queries.tolist()]
    return float(np.mean([len(set(ids) & set(true)) / point.limit for ids, true in zip(found, exact, strict=True)]))


@pytest.mark.parametrize("method", METHODS)
def test_built_indexed_and_quantized_as_asked(method: str, tmp_path: Path) -> None:
    points, queries, asked = vectors(100), vectors(100, 50, seed=1), spec(method)
    build_collection(EdgeEngine(tmp_path), asked, points)
    engine = EdgeEngine(tmp_path)
    build = engine.open(asked)
    assert build is not None
    check_state(asked, build.state, Checks())
    predicted = POINTS * code_bytes(asked.quantization, 100, asked.distance)
    assert build.state.files.get("codes", 0) == pytest.approx(predicted, rel=0.02)
    assert build.state.files["vectors"] == pytest.approx(POINTS * 400, rel=0.02)
    exact = neighbours(points, queries, 10, "cosine").ids
    shares = [retention(engine, queries, OperatingPoint(10, None, False), exact)]
    shares += [retention(engine, queries, OperatingPoint(10, None, True, factor), exact) for factor in (2.0, 8.0)]
    engine.close()
    assert shares[0] <= shares[1] + 0.02
    assert shares[1] <= shares[2] + 0.02
    if method in ("none", "scalar"):
        assert shares[0] > 0.85
    else:
        assert shares[0] < shares[2]


def test_there_is_one_segment_however_many_are_asked_for(tmp_path: Path) -> None:
    asked = spec(segments=2)  # which the configuration refuses because of this
    assert build_collection(EdgeEngine(tmp_path), asked, vectors(100)).state.segments == 1


@pytest.mark.parametrize(
    ("size", "distance"),
    [(64, "cosine"), (128, "cosine"), (300, "cosine"), (64, "dot"), (64, "euclid"), (64, "manhattan")],
)
@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
def test_codes_have_the_predicted_size(method: str, size: int, distance: str, tmp_path: Path) -> None:
    asked = spec(method, size=size, points=600, distance=distance)
    built = build_collection(EdgeEngine(tmp_path), asked, vectors(size, 600))
    assert built.state.files["codes"] == pytest.approx(600 * code_bytes(asked.quantization, size, distance), rel=0.02)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
def test_datatypes_and_distances_are_built_as_asked(datatype: str, distance: str, tmp_path: Path) -> None:
    points = vectors(32, 500) if datatype != "uint8" else np.abs(vectors(32, 500) * 255).round()
    asked = spec("none", size=32, points=500, datatype=datatype, distance=distance)
    check_state(asked, build_collection(EdgeEngine(tmp_path), asked, points.astype(np.float32)).state, Checks())


def test_an_upload_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("qexp.progress.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("qexp.engine.edge.UPLOAD_BATCH", 250)
    with caplog.at_level("INFO"):
        build_collection(EdgeEngine(tmp_path), spec("none", size=32, points=600), vectors(32, 600))
    said = [message.partition(",")[0] for message in caplog.messages]
    assert said == [f"baseline: upload: {done} of 600" for done in (250, 500, 600)]


def test_a_complete_collection_is_found_again_and_a_damaged_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = spec(size=32)
    assert EdgeEngine(tmp_path).open(asked) is None
    build_collection(EdgeEngine(tmp_path), asked, vectors(32))
    for _ in range(3):
        engine = EdgeEngine(tmp_path)
        assert engine.open(asked) is not None
        engine.close()
    codes = next((tmp_path / asked.name).rglob("quantized.data"))
    codes.write_bytes(codes.read_bytes()[:-1])
    assert EdgeEngine(tmp_path).open(asked) is None
    assert not (tmp_path / asked.name).exists()
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        line == f"{tmp_path / asked.name}: removed, and to be built again: files changed since the collection was built"
    )


def test_a_whole_collection_that_cannot_be_loaded_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = spec(size=32)
    build_collection(EdgeEngine(tmp_path / "collections"), asked, vectors(32))
    folder = tmp_path / "collections" / asked.name

    def fail(reason: OSError) -> Any:
        def failing(*asked: Any) -> Any:
            raise reason

        return failing

    for step in ("manifest_of", "read_state"):
        with monkeypatch.context() as broken:
            broken.setattr(f"qexp.engine.edge.edge_folder.{step}", fail(OSError(errno.EMFILE, "Too many open files")))
            with pytest.raises(EngineError, match=r"Too many open files.*qexp-cache rm collections/test-") as error:
                EdgeEngine(tmp_path / "collections").open(asked)
        assert str(error.value).startswith(f"{folder}: cannot be loaded")
    config = folder / "shard" / "edge_config.json"
    kept = config.read_text()
    config.write_text("{")
    with pytest.raises(EngineError, match=r"cannot be loaded \(Qdrant Edge: .*see that it may be read, or remove it"):
        EdgeEngine(tmp_path / "collections").open(asked)
    config.write_text(kept)
    engine = EdgeEngine(tmp_path / "collections")
    assert engine.open(asked) is not None
    engine.close()


def test_memory_is_known_below_a_symlink_and_not_where_the_system_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    asked = spec(size=32)
    build_collection(EdgeEngine(tmp_path / "link"), asked, vectors(32))
    engine = EdgeEngine(tmp_path / "link")
    engine.open(asked)
    memory = engine.memory()
    assert memory is not None
    assert sum(memory.mapped.values()) > 0
    monkeypatch.setattr("qexp.engine.process._PAGEMAP", tmp_path / "not there")  # as on macOS
    assert engine.memory() is None
    engine.close()


def test_vectors_that_were_scanned_and_read_one_by_one_are_in_memory_once(tmp_path: Path) -> None:
    asked, points = spec("none", size=512, vectors="cached"), vectors(512)
    build_collection(EdgeEngine(tmp_path), asked, points)
    engine = EdgeEngine(tmp_path)
    build = engine.open(asked)
    assert build is not None
    for point in (OperatingPoint(10, exact=True), OperatingPoint(10)):  # each through a mapping of its own
        search = engine.search(point)
        for query in points[:20]:
            search.call(search.prepare(query.tolist()))
    memory = engine.memory()
    engine.close()
    assert memory is not None
    assert memory.mapped["vectors"] == pytest.approx(build.state.files["vectors"], rel=0.01)


def test_an_unfinished_build_is_never_found(tmp_path: Path) -> None:
    asked = spec(size=32)
    engine = EdgeEngine(tmp_path)
    engine.create(asked)
    engine.upload(vectors(32))
    assert EdgeEngine(tmp_path).open(asked) is None
    engine.drop()
    assert not any(tmp_path.iterdir())


def test_everything_that_determines_a_collection_changes_its_name() -> None:
    names = {
        spec().name,
        spec(m=8).name,
        spec(digest="1").name,
        spec(quantized="cached").name,
        spec(engine="edge-2").name,
        spec("binary").name,
        spec().unquantized().name,
    }
    assert len(names) == 7


def test_a_collection_that_is_not_what_was_asked_for_is_refused(tmp_path: Path) -> None:
    asked = spec(size=32)
    state = build_collection(EdgeEngine(tmp_path), asked, vectors(32)).state
    for wrong, trap in [
        (replace(asked, points=POINTS + 1), "T02"),
        (replace(asked, m=8), "T05"),
        (replace(asked, hnsw="pinned"), "T05"),
        (replace(asked, quantization=METHODS["binary"]), "T05"),
    ]:
        with pytest.raises(BenchmarkError, match=trap):
            check_state(wrong, state, Checks())
    with pytest.raises(BenchmarkError, match="T06"):
        check_state(asked, replace(state, files=state.files | {"codes": 0}), Checks())


def test_a_shard_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    build_collection(EdgeEngine(tmp_path), spec(size=32), vectors(32))
    shutil.rmtree(next((tmp_path / spec(size=32).name).glob("shard/segments")))
    assert EdgeEngine(tmp_path).open(spec(size=32)) is None
