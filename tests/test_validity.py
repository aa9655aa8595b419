"""Traps of a collection: each is provoked on a real one and refused by its id, or shown to be ruled out."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from qexp import runner
from qexp.bench import validity
from qexp.bench.accuracy import recall
from qexp.bench.checks import Checks
from qexp.bench.judge import judge
from qexp.config import QuantizationConfig, ServerConfig
from qexp.data.truth import neighbours
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.errors import BenchmarkError, ConfigError
from qexp.results import Interval, OperatingPoint, Reads
from tests.test_edge import spec, vectors
from tests.test_judge import evidence
from tests.test_retention import overlap
from tests.test_validity_built import built


def test_t01_local_mode_is_no_engine() -> None:
    with pytest.raises(ConfigError, match=r"^T01 .*use engine=edge"):
        ServerConfig("server", url=":memory:")
    mode = QdrantClient(":memory:")
    int8 = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))
    space = models.VectorParams(size=4, distance=models.Distance.COSINE)
    mode.create_collection("c", vectors_config=space, quantization_config=int8)
    assert mode.get_collection("c").config.quantization_config is None  # the trap
    package = Path(runner.__file__).parent
    code = {file: file.read_text() for file in package.rglob("*.py")}
    makers = {file.name for file, text in code.items() if "QdrantClient(" in text and file.parent.name == "engine"}
    assert makers <= {"connection.py"}
    assert not [file for file, text in code.items() if re.search(r"QdrantClient\([^)]*(path=|:memory:)", text)]


@pytest.mark.parametrize(
    ("points", "threshold", "remedy"),
    [
        (11, 2, "use more points"),
        (159, 40, "use more points"),  # 9 KiB
        (160, 40, "use more points or index.full_scan_threshold=10"),
        (400, 40, "use more points or index.full_scan_threshold=12"),
    ],
)
def test_t02_a_collection_too_small_for_its_index(points: int, threshold: int, remedy: str) -> None:
    asked = spec(size=16, points=points, full_scan_threshold=threshold)
    with pytest.raises(BenchmarkError, match=rf"^T02 .* skip the index; {remedy}$"):
        validity.check_spec(asked, Checks())


def test_t02_segments_too_small_for_their_index() -> None:
    asked = spec(size=16, points=4000, full_scan_threshold=100)  # 250 KiB
    validity.check_spec(replace(asked, segments=2), Checks())
    with pytest.raises(BenchmarkError, match=r"^T02 .* skip the index"):
        validity.check_spec(replace(asked, segments=3), Checks())


def filtered(matching: int, **indexes: str) -> list[str]:
    checks, asked = Checks(), spec(size=16, points=4000, full_scan_threshold=100)
    validity.check_filter(replace(asked, payload_indexes=indexes), {"city": ("keyword", "uuid")}, matching, checks)
    return checks.warnings


def test_t02_a_filter_that_leaves_so_few_points_that_they_are_scanned() -> None:
    assert filtered(1600, city="keyword") == []
    assert filtered(1599, city="keyword") == [
        "T02 search.filter lets 1599 points through, 99 KiB of vectors, below index.full_scan_threshold=100: searches "
        "scan those and use no index, so figures are of scans"
    ]


def test_t02_a_filter_without_a_payload_index() -> None:
    (warning,) = filtered(1599)
    assert warning.startswith(
        "T02 search.filter: no payload index that serves it on city: Qdrant guesses how many points match"
    )
    assert warning.endswith("add 'dataset.payload_indexes={city: keyword}'")  # as a shell wants it
    for other in ({"city_name": "keyword"}, {"city": "integer"}):
        assert filtered(1599, **other) == [warning]
    assert filtered(1600, **{"city[].name": "keyword"}) == filtered(1600, **{"city.name": "keyword"}) == []


def test_t02_a_filter_that_no_index_of_ours_serves() -> None:
    checks, asked = Checks(), replace(spec(size=16, points=4000), payload_indexes={"title": "text"})
    validity.check_filter(asked, {"title": ()}, 1600, checks)
    assert checks.warnings[0].endswith("may find less; qexp makes none")
    validity.check_filter(asked, {"title": (), "city": ("keyword", "uuid"), "year": ("integer",)}, 1600, checks)
    assert "on title, city, year: " in checks.warnings[1]
    assert checks.warnings[1].endswith("add 'dataset.payload_indexes={city: keyword}'")  # the first that can be served


def test_t02_a_phrase_that_a_text_index_finds_nowhere(tmp_path: Path) -> None:
    (tmp_path / "payload.jsonl").write_text('{"title": "big red fox"}\n{"title": "red big fox"}\n' * 200)
    found = {}
    for kind in ("text", "keyword"):
        asked = spec(size=32, points=400, payload_indexes={"title": kind})
        engine = EdgeEngine(tmp_path / kind, {"must": [{"key": "title", "match": {"phrase": "big red"}}]})
        build_collection(engine, asked, vectors(32, 400), tmp_path / "payload.jsonl")
        assert engine.open(asked)
        found[kind] = len(engine.matching())
        engine.close()
    assert found == {"text": 0, "keyword": 200}  # so a text index without phrase_matching must not be taken for one
    validity.check_phrases(asked, ["title"], Checks())
    with pytest.raises(BenchmarkError, match=r"^T02 search.filter: match.phrase finds nothing in title, because"):
        validity.check_phrases(replace(asked, payload_indexes={"title": "text"}), ["title"], Checks())


def test_t02_a_filter_that_filters_nothing() -> None:
    (warning,) = filtered(4000, city="keyword")
    assert warning.startswith("T02 search.filter lets all 4,000 points through")


def test_t03_rescoring_is_never_left_to_the_engine(tmp_path: Path) -> None:
    engine = built(tmp_path, spec("binary", size=64))
    queries = vectors(64, 30, seed=1).tolist()

    def raw(rescore: bool | None) -> list[list[int]]:
        params = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=rescore, oversampling=1.0))
        requests = [edge.QueryRequest(limit=10, query=edge.Query.Nearest(query), params=params) for query in queries]
        return [[hit.id for hit in engine._shard.query(request)] for request in requests]

    def ours(rescore: bool) -> list[list[int]]:
        search = engine.search(OperatingPoint(10, None, rescore))
        return [search.ids(search.call(search.prepare(query))) for query in queries]

    assert raw(None) == raw(True) != raw(False)  # the trap: saying nothing means rescoring
    assert ours(False) == raw(False)
    assert ours(True) == raw(True)
    engine.close()


@pytest.mark.parametrize("given", [{"binary": {"rescore": True}}, {"scalar": {}, "oversampling": 2.0}])
def test_t04_search_parameters_are_no_property_of_a_collection(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^T04 quantization\.config: .*; set search\."):
        QuantizationConfig("mine", given)


def test_t11_a_result_as_near_as_the_kth_is_a_hit(tmp_path: Path) -> None:
    points = np.repeat(vectors(32, 50), 40, axis=0)  # every vector forty times: any ten of them are right
    asked = spec("none", size=32)
    build_collection(EdgeEngine(tmp_path), asked, points)
    engine = EdgeEngine(tmp_path)
    engine.open(asked)
    queries = vectors(32, 20, seed=1)
    search = engine.search(OperatingPoint(10, 200))
    found = np.array([search.ids(search.call(search.prepare(query))) for query in queries.tolist()])
    engine.close()
    exact = neighbours(points, queries, 10, "cosine")
    scores = np.einsum("qkd,qd->qk", points[found].astype(float), queries.astype(float))
    assert overlap(found, exact.ids).mean() < 0.9
    assert recall(scores, exact.scores, np.ones((20, 1))).mean() > overlap(found, exact.ids).mean() + 0.1


def test_t13_searches_that_wait_for_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", vectors(128))
    np.save(tmp_path / "queries.npy", vectors(128, 30, seed=1))
    asked = spec("none", size=128)
    make = partial(EdgeEngine, tmp_path / "c")
    with Worker(make, tmp_path / "queries.npy", "t") as builder:
        builder.build(asked, tmp_path / "vectors.npy")
    with Worker(make, tmp_path / "queries.npy", "t") as worker:
        worker.open(asked)
        worker.block(OperatingPoint(10), 0, True)
        validity.check_reads("warm", worker.block(OperatingPoint(10), 0, False).reads, 30, Checks())
        cold = worker.cold_block(OperatingPoint(10), False).reads
    if not cold.major_faults:
        pytest.skip("the file system of the temporary directory keeps its pages in memory")
    with pytest.raises(BenchmarkError, match=r"^T13 cold: \d+ major page faults in 30 .*search\.cache=cold"):
        validity.check_reads("cold", cold, 30, Checks())


@pytest.mark.parametrize(("engine", "home"), [("edge-0.9.0", "cache"), ("server-1.19.0", "server")])
def test_t12_a_trial_with_recall_zero(engine: str, home: str) -> None:
    baselines, (good, *_) = judge(evidence())
    checks = Checks()
    bad = replace(good, accuracy=replace(good.accuracy, recall=Interval(0.0, 0.0, 0.0)))
    asked = spec(engine=engine)
    validity.check_accuracy(asked, baselines, [good, bad], checks)
    (warning,) = checks.warnings
    assert warning.startswith(f"T12 scalar, {bad.point.title}: recall is 0, ")
    assert f"; use more bits, or remove {asked.name} from the {home} and build it again" in warning
    none = [replace(baselines[0], accuracy=bad.accuracy)]
    with pytest.raises(BenchmarkError, match=f"^T12 baseline, .*; remove {asked.unquantized().name} from the {home} "):
        validity.check_accuracy(asked, none, [good], Checks())


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (Interval(1.0, 1 / 1.09, 1.09), None),
        (Interval(1.0, 1 / 1.11, 1.11), r"T14 .* ± 11%: too wide"),
        (Interval(0.96, 0.5, 1.85), r"T14 the baseline against itself is 0\.500–1\.850×, ± 92%: too wide .* rounds"),
        (Interval(0.9, 0.85, 0.95), r"T14 noisy: the baseline against itself is 0\.850–0\.950×, which excludes 1"),
        (Interval(3.0, 1.5, 6.0), r"T14 noisy: .*, which excludes 1"),
        (
            Interval(1.0, 1e-6, 1e6),
            r"T14 the baseline against itself is 0\.000–≥100×, ± 1000% or more: too wide to say",
        ),
    ],
)
def test_t14_a_control_holds_only_where_it_could_have_failed(control: Interval, said: str | None) -> None:
    (base,), _ = judge(evidence())
    checks = Checks()
    validity.check_noise([replace(base, control=control)], 0.05, checks)
    assert len(checks.warnings) == (said is not None)
    assert all(re.match(said or "", warning) for warning in checks.warnings)


def test_t14_controls_of_several_hnsw_ef_are_told_apart() -> None:
    (base,), _ = judge(evidence())
    noisy = replace(base, control=Interval(0.9, 0.85, 0.95))
    checks = Checks()
    validity.check_noise([replace(noisy, point=OperatingPoint(10, ef)) for ef in (None, 64)], 0.05, checks)
    told = [re.match(r"T14 noisy: the baseline \(ef (\w+)\) against itself", warning) for warning in checks.warnings]
    assert [name and name[1] for name in told] == ["default", "64"]


def test_t13_a_few_faults_in_many_queries_are_none() -> None:
    validity.check_reads("warm", Reads(25, None), 2500, Checks())
    with pytest.raises(BenchmarkError):
        validity.check_reads("warm", Reads(26, None), 2500, Checks())


def test_t02_as_many_kib_as_the_threshold_are_searched_by_the_index() -> None:
    asked = spec(size=16, points=4000, full_scan_threshold=250)  # 250 KiB
    validity.check_spec(asked, Checks())
    with pytest.raises(BenchmarkError, match=r"^T02 .*: 249 KiB of vectors are below"):
        validity.check_spec(replace(asked, points=3999), Checks())


def test_t02_each_shard_and_each_segment_has_a_part_of_the_points() -> None:
    asked = spec(size=16, points=4000, full_scan_threshold=100)
    validity.check_spec(replace(asked, shards=2), Checks())
    for parts in ({"shards": 3}, {"shards": 2, "segments": 2}):
        with pytest.raises(BenchmarkError, match=r"^T02 .* skip the index"):
            validity.check_spec(replace(asked, **parts), Checks())
    for parts, enough in (({"shards": 2}, 3200), ({"segments": 2}, 3200)):
        for matching in (enough, enough - 2):
            checks = Checks()
            validity.check_filter(replace(asked, **parts), {}, matching, checks)
            assert bool(checks.warnings) == (matching < enough)


@pytest.mark.parametrize(("recall", "good"), [(0.9, True), (0.899, False)])
def test_t08_a_baseline_is_a_yardstick_from_a_recall_of_nine_tenths(recall: float, good: bool) -> None:
    baselines, trials = judge(evidence())
    checks = Checks()
    bases = [replace(baselines[0], accuracy=replace(baselines[0].accuracy, recall=Interval(recall, recall, recall)))]
    validity.check_accuracy(spec(), bases, trials, checks)
    assert bool(checks.warnings) != good
    lossy = Checks()
    validity.check_accuracy(spec(datatype="turbo4"), bases, trials, lossy)
    assert lossy.warnings == [one.replace("raise", "set storage.datatype=float32, or raise") for one in checks.warnings]


@pytest.mark.parametrize(("server_ms", "told"), [(1.0, False), (0.9, True)])
def test_t20_more_than_half_of_the_time_on_the_way_is_told(server_ms: float, told: bool) -> None:
    checks = Checks()
    validity.check_network(2.0, server_ms, checks)
    assert bool(checks.warnings) == told
