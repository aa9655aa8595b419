"""Predicted beside measured, by exact numbers and in a worker of the engine's."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.results import Build, Collection, Component, MemoryUse, OperatingPoint, RamEstimate
from qexp.sizing.measured import compare
from qexp.sizing.ram import predict_ram
from tests.support.by_hand import state
from tests.test_edge import POINTS, spec, vectors

ESTIMATE = RamEstimate(
    (
        Component("vectors", 4000, "disk", 4000, 4000),
        Component("codes", 1000, "resident", 1000, 1000),
        Component("graph", 550, "hot", 550, 1500),
        Component("id tracker", 520, "resident", 210, 520),
    )
)
FILES = {"vectors": 4004, "codes": 1000, "graph": 500, "id tracker": 211, "payload": 32 << 20, "other": 1 << 20}


def test_every_component_keeps_its_own_disagreement() -> None:
    loaded = MemoryUse({"id tracker": 80}, 1400)
    last = MemoryUse({"vectors": 2000, "graph": 500, "id tracker": 80, "payload": 4096}, 1480)
    found = {part.name: part for part in compare(ESTIMATE, state(FILES), [loaded, loaded, last])}
    assert found.pop("working memory").heap == 80  # came after loading
    assert (found["payload"].file, found["payload"].resident, found["payload"].ram_disagreement) == (
        32 << 20,
        4096,
        None,
    )
    assert found["codes"].heap == 1000  # pinned, and no page of it is mapped
    assert found["codes"].ram_disagreement == 0.0
    assert found["graph"].ram_disagreement == pytest.approx(10.0)
    assert found["graph"].file_disagreement == pytest.approx(10.0)
    assert (found["graph"].loaded, found["graph"].resident, found["graph"].guide) == (0, 500, 1500)
    assert found["id tracker"].heap == 400  # what is left of the heap after loading
    assert found["id tracker"].resident == 480
    assert found["vectors"].ram_disagreement is None  # meant to stay on disk, so there is nothing to be off
    assert found["vectors"].file_disagreement == pytest.approx(100 * (4000 / 4004 - 1))
    whole = Collection("c", Build(1, 1, state(FILES)), ESTIMATE, last, tuple(found.values()))
    assert whole.hot_bytes == 1000 + 500 + 480
    assert whole.file_bytes == 4004 + 1000 + 500 + 211


def test_payload_indexes_share_the_rest_of_the_heap_with_the_id_tracker() -> None:
    indexes = Component("payload indexes", 260, "resident", 290, 0, spare=40)
    loaded = MemoryUse({"id tracker": 80, "payload indexes": 30}, 1391)  # shared out in whole bytes
    files = FILES | {"payload indexes": 340}
    compared = compare(RamEstimate((*ESTIMATE.components, indexes)), state(files), [loaded, loaded, loaded])
    found = {part.name: part for part in compared}
    assert (found["id tracker"].heap, found["payload indexes"].heap) == (260, 130)
    assert found["payload indexes"].resident == 160
    assert found["payload indexes"].file_disagreement == pytest.approx(100 * (330 / 340 - 1))
    whole = Collection("c", Build(1, 1, state(files)), ESTIMATE, loaded, compared)
    assert whole.file_bytes == 4004 + 1000 + 500 + 211 + 300
    assert whole.hot_bytes is None  # no page of the graph has been read
    walked = replace(found["graph"], mapped=490)
    whole = replace(whole, comparisons=(*(part for part in compared if part.name != "graph"), walked))
    assert whole.hot_bytes == 1000 + 490 + 340 + 160
    few = replace(walked, mapped=489)
    assert replace(whole, comparisons=(*whole.comparisons[:-1], few)).hot_bytes is None


def test_a_pinned_component_with_mapped_pages_is_not_counted_twice() -> None:
    last = MemoryUse({"codes": 1000}, 300)
    codes, tracker = compare(ESTIMATE, state(FILES), [last, last, last])[1:4:2]
    assert (codes.mapped, codes.heap, tracker.heap) == (1000, 0, 300)
    small = MemoryUse({}, 900)  # less than the codes are said to have leaves nothing for others
    codes, tracker = compare(ESTIMATE, state(FILES), [small, small, small])[1:4:2]
    assert (codes.heap, tracker.heap) == (1000, 0)


def test_what_the_engine_does_not_say_is_unknown() -> None:
    found = compare(ESTIMATE, state({}), [None, None, None])
    assert [(part.loaded, part.warm, part.mapped, part.heap) for part in found] == [(None,) * 4] * 4
    assert [part.resident for part in found] == [None] * 4
    assert [part.file_disagreement for part in found] == [None] * 4
    assert Collection("c", Build(1, 1, state({})), ESTIMATE, None, found).hot_bytes is None
    payload, other = compare(ESTIMATE, state(FILES), [None, None, None])[4:]
    assert (payload.file, payload.loaded, payload.warm, payload.mapped, payload.heap) == (32 << 20, *[None] * 4)
    assert (other.name, other.resident) == ("other", None)
    last = MemoryUse({"graph": 1}, 0)
    for files, moment in ((FILES, None), ({}, last)):
        assert not any(part.half_read for part in compare(ESTIMATE, state(files), [moment] * 3))


def test_an_engine_that_knows_its_heap_is_believed() -> None:
    last = MemoryUse({"graph": 500}, 1700, heap_parts={"codes": 1010, "id tracker": 600})
    found = {part.name: (part.mapped, part.heap) for part in compare(ESTIMATE, state(FILES), [last, last, last])}
    assert {name: used for name, used in found.items() if any(used)} == {
        "codes": (0, 1010),
        "graph": (500, 0),
        "id tracker": (0, 600),
        "working memory": (0, 90),
    }


@pytest.mark.parametrize(("files", "pinned"), [({"codes": 1010}, 1310), ({}, 300)])
def test_pinned_codes_have_the_bytes_of_their_file_and_of_centroids(files: dict[str, int], pinned: int) -> None:
    estimate = RamEstimate((Component("codes", 1300, "resident", 1000, 0), ESTIMATE.components[3]))
    codes, tracker = compare(estimate, state(files), [MemoryUse({}, 2000)] * 3)[:2]
    assert (codes.heap, tracker.heap) == (pinned, 2000 - pinned)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_moment_that_nobody_knows_leaves_what_others_tell(missing: int) -> None:
    moments: list[MemoryUse | None] = [MemoryUse({"graph": 500}, heap) for heap in (1400, 1450, 1480)]
    moments[missing] = None
    found = {part.name: part for part in compare(ESTIMATE, state(FILES), moments)}
    assert "working memory" not in found  # which is what has come since loading, and stayed
    tracker, other = found["id tracker"], found["other"]
    told = [400] * 3 if missing else [400, 450, 480]  # as much as after loading; without that moment, all that is there
    for part, used in ((tracker, told), (other, [0] * 3)):
        expected = [None if at == missing else size for at, size in enumerate(used)]
        assert [part.loaded, part.warm, part.heap] == expected


@pytest.mark.parametrize(("vectors_placed", "hot"), [("cold", 0.0), ("cached", 1.0)])
def test_a_worker_measures_its_collection(vectors_placed: str, hot: float, tmp_path: Path) -> None:
    size = 512
    points, asked = vectors(size), spec("scalar", size=size, vectors=vectors_placed)
    np.save(tmp_path / "queries.npy", vectors(size, 50, seed=1))
    build_collection(EdgeEngine(tmp_path / "c"), asked, points)
    with Worker(partial(EdgeEngine, tmp_path / "c"), tmp_path / "queries.npy", "test") as worker:
        build = worker.open(asked)
        assert build is not None
        moments = [worker.memory()]
        worker.block(OperatingPoint(10), warmup=0, with_ids=False)
        moments += [worker.memory()] * 2
    found = {part.name: part for part in compare(predict_ram(asked), build.state, moments)}
    assert found["codes"].heap == build.state.files["codes"]
    assert found["codes"].ram_disagreement == pytest.approx(0.0, abs=1.0)
    assert found["vectors"].loaded is not None
    if hot:
        assert found["vectors"].loaded == pytest.approx(POINTS * size * 4, rel=0.02)
    process = moments[0].process
    assert process is not None
    assert process.peak >= process.anonymous
    assert process.anonymous > moments[0].heap
    assert process.minor > 0


def test_each_moment_has_its_own_bytes() -> None:
    moments = [
        MemoryUse({"graph": 100, "id tracker": 80, "payload": 1}, 1400),
        MemoryUse({"graph": 300, "id tracker": 90, "payload": 2}, 1450),
        MemoryUse({"graph": 500, "id tracker": 95, "payload": 3}, 1480),
    ]
    found = {part.name: part for part in compare(ESTIMATE, state(FILES), moments)}
    told = {name: (part.loaded, part.warm, part.mapped, part.heap) for name, part in found.items()}
    assert told == {
        "vectors": (0, 0, 0, 0),
        "codes": (1000, 1000, 0, 1000),
        "graph": (100, 300, 500, 0),
        "id tracker": (480, 490, 95, 400),
        "payload": (1, 2, 3, 0),
        "other": (0, 0, 0, 0),
        "working memory": (0, 50, 0, 80),
    }
    for name in ("payload", "other", "working memory"):
        assert (found[name].predicted, found[name].guide, found[name].predicted_file) == (0, 0, 0)
        assert (found[name].file_disagreement, found[name].ram_disagreement) == (None, None)
    assert found["working memory"].file is None


def test_a_graph_on_disk_is_read_through_at_98_percent_of_what_is_in_its_file() -> None:
    graph = Component("graph", 500, "hot", 500, 0, spare=500)
    files = {"graph": 1000}
    for read, half in ((490, False), (489, True)):
        last = MemoryUse({"graph": read}, 0)
        (part,) = (one for one in compare(RamEstimate((graph,)), state(files), [last] * 3) if one.name == "graph")
        assert part.half_read == half
        assert part.predicted_file == 1000


def test_pages_and_the_heap_are_in_use_together() -> None:
    assert MemoryUse({"graph": 500, "codes": 20}, 1480).total == 2000
    estimate = RamEstimate((*ESTIMATE.components, Component("payload", 70, "hot", 70, 0)))
    assert (estimate.resident, estimate.ram, estimate.disk) == (1520, 2140, 5830)


def test_working_memory_is_not_what_searching_wants() -> None:
    last = MemoryUse({"graph": 500, "id tracker": 80}, 1480)
    found = compare(ESTIMATE, state(FILES), [MemoryUse({"id tracker": 80}, 1400), last, last])
    assert found[-1].heap == 80
    assert Collection("c", Build(1, 1, state(FILES)), ESTIMATE, last, found).hot_bytes == 1000 + 500 + 480


@pytest.mark.slow
def test_centroids_are_within_15_percent_of_the_heap(tmp_path: Path) -> None:
    asked, queries = spec("product_x64", size=3072, points=1000, m=4, ef_construct=4), tmp_path / "queries.npy"
    np.save(queries, vectors(3072, 10))
    engine = partial(EdgeEngine, tmp_path)
    state = build_collection(engine(), asked, vectors(3072, 1000)).state
    with Worker(engine, queries, "test") as worker:
        worker.open(asked)
        memory = worker.memory()
    assert memory is not None
    estimate = predict_ram(asked)
    assert sum(part.bytes for part in estimate.components if part.need == "resident") == pytest.approx(
        memory.heap, rel=0.15
    )
    found = {part.name: part for part in compare(estimate, state, [memory] * 3)}
    assert found["codes"].ram_disagreement == 0.0
    assert 0 <= (found["id tracker"].heap or 0) < 0.1 * memory.heap
