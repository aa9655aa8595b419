from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from qexp.cache import evict
from qexp.config import CollectionDataset, ExperimentConfig, QueriesConfig, SearchConfig, StorageConfig
from qexp.data import snapshot
from qexp.data.snapshot import take_snapshot
from qexp.data.untaken import hindrances
from qexp.data.vectors import load_data
from qexp.engine.configured import collection_spec
from qexp.errors import ConfigError, DataError, EngineError
from qexp.progress import warn_once
from tests.support.live_collection import KEY, LiveCollection, served


def collection(n: int = 1200, **more: Any) -> LiveCollection:
    vectors = np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32)
    return LiveCollection([3 * row for row in range(n)], vectors, [{"row": row} for row in range(n)], **more)


def config(live: LiveCollection, **more: Any) -> CollectionDataset:
    return CollectionDataset(url=live.url, collection="mine", queries=QueriesConfig(held_out=20), **more)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MOST_IN_PAGE", 100)
    monkeypatch.setattr(snapshot, "PAGES_A_PART", 2)


def test_everything_of_a_collection_is_taken_over(tmp_path: Path) -> None:
    with served(collection(distance="Dot")) as live:
        data = load_data(ExperimentConfig(dataset=config(live), search=SearchConfig(limit=5)), tmp_path)
    assert (data.facts.points, data.facts.queries, data.facts.size) == (1180, 20, 8)
    assert data.facts.distance == "dot"
    spec = collection_spec(ExperimentConfig(dataset=config(live)), data.facts, "edge")
    assert (spec.m, spec.ef_construct, spec.full_scan_threshold) == (24, 150, 2000)
    assert data.payload is not None
    rows = [int(line.split(":")[1].strip("} \n")) for line in data.payload.read_text().splitlines()]
    assert np.array_equal(data.points(), live.vectors[rows])
    assert {path for path, _ in live.requests} == {
        "/collections/mine",
        "/collections/mine/points/count",
        "/collections/mine/points/scroll",
        "/collections/mine/points",
    }


def test_payload_indexes_are_taken_over_and_what_is_not_of_them_is_told(tmp_path: Path) -> None:
    schema = {
        "row": {"data_type": "integer", "params": {"type": "integer", "lookup": False}, "points": 1200},
        "city": {"data_type": "keyword", "points": 900},
    }
    with served(collection(payload_schema=schema)) as live:
        data = load_data(ExperimentConfig(dataset=config(live)), tmp_path)
        bare = load_data(ExperimentConfig(dataset=config(live, payload=False)), tmp_path)
    assert data.warnings.count("mine: measured without the parameters of its index on: row") == 1

    def indexes(**asked: Any) -> dict[str, str]:
        composed = ExperimentConfig(dataset=config(live, **asked))
        return collection_spec(composed, data.facts, "edge").payload_indexes

    assert indexes() == {"city": "keyword", "row": "integer"}
    assert indexes(payload_indexes={"row": "float"}) == {"row": "float"}
    assert bare.facts.payload_indexes == {}


@pytest.mark.parametrize(
    ("has", "told"),
    [
        ({"hnsw": {"payload_m": 32}}, "payload_m=32"),
        ({"hnsw": {"payload_m": 32}, "own_hnsw": {"m": 8}}, "payload_m=32"),
        ({"hnsw": {"payload_m": 32}, "own_hnsw": {"payload_m": 0}}, "payload_m=0"),
        ({"hnsw": {"inline_storage": True}}, "inline_storage=true"),
        ({"hnsw": {"inline_storage": True}, "own_hnsw": {"m": 8}}, "inline_storage=true"),
        ({"hnsw": {"inline_storage": True}, "own_hnsw": {"inline_storage": False}}, None),
        ({"shared": {"shard_number": 3}}, "3 shards"),
        ({"shared": {"shard_number": 1, "sharding_method": "custom"}}, "shards by shard key"),
        ({"shared": {"shard_number": 2, "sharding_method": "custom"}}, "shards by shard key"),
        ({"shared": {"shard_number": 1, "sharding_method": "auto"}}, None),
        ({"shared": {"on_disk_payload": False}}, "its payload in RAM"),
        ({"shared": {"on_disk_payload": False, "payload": {"memory": "cold"}}}, None),
        ({"shared": {"payload": {"memory": "cached"}}}, "its payload in RAM"),
        ({"shared": {"id_tracker": {"memory": "cold"}}}, "id_tracker.memory=cold"),
        ({"shared": {"shard_number": 1, "on_disk_payload": True}}, None),
        ({"optimizers": {"max_segment_size": 37}}, "max_segment_size=37"),
        ({"optimizers": {"max_segment_size": 38}}, None),  # 1,200 points of 32 bytes are 37 KiB
        ({"optimizers": {"max_optimization_threads": 0}}, "max_optimization_threads=0"),
        ({"optimizers": {"indexing_threshold": 0}}, None),  # which the patch says
    ],
)
def test_what_a_collection_has_and_its_copies_have_not_is_told(
    has: dict[str, Any], told: str | None, tmp_path: Path
) -> None:
    with served(collection(**has)) as live:
        said = take_snapshot(config(live), tmp_path).warnings
    assert said == ([f"mine: measured without what it has and keeps when it is patched: {told}"] if told else [])


@pytest.mark.parametrize(("threshold", "told"), [(None, 10_000), (38, 38), (37, None), (0, 0)])
def test_the_patch_of_a_named_vector_indexes_nothing_and_that_is_told(
    threshold: int | None, told: int | None, tmp_path: Path
) -> None:
    optimizers = {"default_segment_number": 1, "indexing_threshold": threshold}
    with served(collection(vector_name="title", optimizers=optimizers)) as live:
        said = take_snapshot(config(live, vector="title"), tmp_path).warnings
    kept = f"mine: measured without what it has and keeps when it is patched: indexing_threshold={told}"
    assert said == ([] if told is None else [kept])


def test_the_segments_of_a_named_vector_stay_and_that_is_told(tmp_path: Path) -> None:
    with served(collection(vector_name="title", optimizers={"indexing_threshold": 1})) as live:
        said = take_snapshot(config(live, vector="title"), tmp_path).warnings
    assert said == ["mine: measured without what it has and keeps when it is patched: default_segment_number=0"]


@pytest.mark.parametrize(
    ("kib", "named", "told"), [(256_000, False, True), (256_001, False, False), (256_001, True, True)]
)
def test_the_patch_of_many_points_says_the_size_of_segments(kib: int, named: bool, told: bool) -> None:
    optimizers = models.OptimizersConfig(
        default_segment_number=1,
        deleted_threshold=0.2,
        flush_interval_sec=5,
        indexing_threshold=1,
        max_segment_size=1000,
        vacuum_min_vector_number=1000,
    )
    assert list(hindrances(optimizers, kib, named)) == (["max_segment_size=1000"] if told else [])


def test_what_strict_mode_refuses_is_told_and_kept_to(tmp_path: Path) -> None:
    strict = {"max_query_limit": 70, "search_max_oversampling": 2.0, "search_max_hnsw_ef": 200}
    with served(collection(strict={**strict, "enabled": True})) as live:
        taken = take_snapshot(config(live), tmp_path)
        assert len(taken.rows) == 1200
        assert {asked["limit"] for path, asked in live.requests if path.endswith("scroll")} == {70}
    told = "mine: its strict mode refuses searches beyond max_query_limit=70, search_max_hnsw_ef=200, "
    assert taken.warnings == [f"{told}search_max_oversampling=2; ask for none"]
    with served(collection(strict={**strict, "enabled": False})) as live:
        assert take_snapshot(config(live), tmp_path).warnings == []


def test_a_collection_whose_reads_are_rationed_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("qexp.data.live.time.sleep", waited.append)
    strict = {"enabled": True, "read_rate_limit": 30, "search_allow_exact": False}
    with served(collection(strict=strict, waits=iter([7, 2]))) as live:
        taken = take_snapshot(config(live), tmp_path)
    assert (len(taken.rows), waited) == (1200, [7, 2])
    assert taken.warnings == ["mine: its strict mode allows 30 reads a minute of each shard"]


def test_the_servers_own_words_are_told(tmp_path: Path) -> None:
    def stricter(live: LiveCollection, number: int) -> None:
        live.strict = {"enabled": True, "max_query_limit": 1}

    with (
        served(collection(before_scroll=stricter)) as live,
        pytest.raises(EngineError, match=r"400 \(Bad request: Limit"),
    ):
        take_snapshot(config(live), tmp_path)


def test_a_snapshot_is_read_once_and_again_when_the_collection_grew(tmp_path: Path) -> None:
    with served(collection()) as live:
        first = take_snapshot(config(live), tmp_path)
        scrolls = len(live.requests)
        again = take_snapshot(config(live), tmp_path)
        assert (len(live.requests) - scrolls, again.state) == (2, first.state)  # what it is, and how many
        live.ids.append(10_000)
        live.vectors = np.vstack([live.vectors, live.vectors[:1]])
        live.payloads.append({})
        assert len(take_snapshot(config(live), tmp_path).rows) == 1201


def test_another_datatype_than_is_measured_is_said_once_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warn_once.cache_clear()
    with served(collection(datatype="float16")) as live:
        asked = ExperimentConfig(dataset=config(live), search=SearchConfig(limit=5))
        jobs = [load_data(asked, tmp_path) for _ in range(2)]
        said = [line for line in caplog.messages if "datatype" in line]
        assert said == [
            "storage.datatype=float32: mine holds float16; add storage.datatype=float16 to measure what is there"
        ]
        assert [data.warnings[0] for data in jobs] == said * 2
        assert len(caplog.messages) == len(set(caplog.messages))
        caplog.clear()
        load_data(replace(asked, storage=StorageConfig("s", datatype="float16")), tmp_path)
        assert not [line for line in caplog.messages if "datatype" in line]


def test_an_interrupted_snapshot_goes_on_where_it_was(tmp_path: Path) -> None:
    with served(collection(fail_after=9)) as live:
        with pytest.raises(EngineError, match=r"answered 503 .*; 600 points are kept, and a new run goes on from "):
            take_snapshot(config(live), tmp_path)
        parts = sorted(tmp_path.rglob("*.arrow"))
        assert len(parts) == 3
        live.fail_after = None
        live.requests.clear()
        rows = take_snapshot(config(live), tmp_path).rows
        offsets = [asked.get("offset") for path, asked in live.requests if path.endswith("scroll")]
    assert offsets == [3 * row for row in range(600, 1200, 100)]
    assert [int(key) for key in rows["id"]] == live.ids
    assert np.array_equal(np.array(rows["vector"], dtype=np.float32), live.vectors)


def added(live: LiveCollection, number: int) -> None:
    if number == 3:
        live.ids.insert(1, 1)
        live.vectors = np.insert(live.vectors, 1, 1.0, axis=0)
        live.payloads.insert(1, {})


def removed(live: LiveCollection, number: int) -> None:
    if number == 3:
        live.ids.pop()
        live.vectors = live.vectors[:-1]


def overwritten(live: LiveCollection, number: int) -> None:
    if number == 3:
        live.vectors = live.vectors + 1


@pytest.mark.parametrize("change", [added, removed, overwritten])
def test_a_collection_that_changes_while_it_is_read_is_refused(change: Any, tmp_path: Path) -> None:
    with (
        served(collection(before_scroll=change)) as live,
        pytest.raises(DataError, match="the collection changed while it was read"),
    ):
        take_snapshot(config(live), tmp_path)
    assert not list(tmp_path.rglob("*.arrow"))


def evicting(cache: Path) -> Any:
    """Let another job make room in the cache when half of the collection is read."""

    def evict_now(live: LiveCollection, number: int) -> None:
        if number == 7:
            evict(cache, 0)

    return evict_now


def test_a_snapshot_is_not_evicted_while_it_is_read(tmp_path: Path) -> None:
    with served(collection(before_scroll=evicting(tmp_path))) as live:
        assert [int(key) for key in take_snapshot(config(live), tmp_path).rows["id"]] == live.ids


def test_a_snapshot_that_has_lost_points_is_refused_and_read_again(tmp_path: Path) -> None:
    with served(collection()) as live:
        take_snapshot(config(live), tmp_path)
        for lost in (sorted(tmp_path.rglob("*.arrow"))[1:2], tmp_path.rglob("*.arrow")):
            for part in list(lost):
                part.unlink()
            with pytest.raises(DataError, match=r"holds \d+ points, .* mine has 1200; it was removed: run again"):
                take_snapshot(config(live), tmp_path)
            assert len(take_snapshot(config(live), tmp_path).rows) == 1200


def test_a_named_vector_must_be_named(tmp_path: Path) -> None:
    with served(collection(vector_name="title")) as live:
        assert len(take_snapshot(config(live, vector="title"), tmp_path).rows) == 1200
        with pytest.raises(DataError, match=r"its vectors have names \(title\); set dataset\.vector"):
            take_snapshot(config(live), tmp_path)
        with pytest.raises(DataError, match=r"no dense vector 'titel' \(did you mean 'title'"):
            take_snapshot(config(live, vector="titel"), tmp_path)
    with served(collection()) as live, pytest.raises(DataError, match=r"vector 'a'; .* leave dataset\.vector out$"):
        take_snapshot(config(live, vector="a"), tmp_path)


def test_a_vector_without_a_name_is_read_beside_others(tmp_path: Path) -> None:
    words = {"words": {"indices": [1, 7], "values": [0.5, 0.25]}}
    with served(collection(others=words, shared={"sparse_vectors": {"words": {}}})) as live:
        rows = take_snapshot(config(live), tmp_path).rows
        assert {str(asked["with_vector"]) for _, asked in live.requests if asked and "with_vector" in asked} == {"['']"}
    assert np.array_equal(np.array(rows["vector"], dtype=np.float32), live.vectors)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_collection_without_a_graph_over_all_points_is_refused(tmp_path: Path) -> None:
    with (
        served(collection(m=0)) as live,
        pytest.raises(DataError, match=r"mine: has no graph over all points \(m: 0\)"),
    ):
        take_snapshot(config(live), tmp_path)


def test_the_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with served(collection(needs_key=True)) as live:
        with pytest.raises(EngineError, match=r"refused \(401: Must provide an API key\); set QDRANT_API_KEY"):
            take_snapshot(config(live), tmp_path)
        monkeypatch.setenv("QDRANT_API_KEY", KEY)
        assert len(take_snapshot(config(live), tmp_path).rows) == 1200


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    with served(collection()) as live:
        with pytest.raises(EngineError, match=r"no collection 'other' \(404\)"):
            take_snapshot(CollectionDataset(url=live.url, collection="other"), tmp_path)
        live.ids, live.vectors, live.payloads = [], live.vectors[:0], []
        with pytest.raises(DataError, match="the collection is empty"):
            take_snapshot(config(live), tmp_path)
    with pytest.raises(EngineError, match=r"^http://127\.0\.0\.1:1: cannot be reached[^;]*; start the server[^;]*$"):
        take_snapshot(CollectionDataset(url="http://127.0.0.1:1", collection="mine"), tmp_path)
    with pytest.raises(ConfigError, match=r"^dataset\.url=localhost:6333: must be http://host:port"):
        CollectionDataset(url="localhost:6333", collection="mine")
