"""The folder of an Edge collection, and which component each of its files is part of."""

import json
import os
from pathlib import Path
from socket import gethostname

import pytest

from qexp.engine import edge_folder
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.engine.edge_folder import MANIFEST, begin, complete, component, manifest_of
from qexp.results import Build
from qexp.sizing.payload import allocated, payload_size
from tests.test_edge import spec, vectors


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("vector_storage/matrix.dat", "vectors"),
        ("vector_storage/quantized.data", "codes"),
        ("vector_storage/quantized.meta.json", "other"),
        ("vector_index/links_compressed.bin", "graph"),
        ("id_tracker.mappings", "id tracker"),
        ("payload_storage/page_0.dat", "payload"),
        ("payload_index/config.json", "payload"),
        ("payload_index/abc-city-map/values_to_points.bin", "payload indexes"),
        ("segment.json", "other"),
    ],
)
def test_files_have_their_component(path: str, part: str) -> None:
    indexed = Path("shard/segments/some-id")
    assert component(indexed / path, [Path("shard/segments/another"), indexed]) == part
    assert component(Path("shard/segments/waiting") / path, [indexed]) == "other"


def test_payload_indexes_are_measured_apart_from_the_payload(tmp_path: Path) -> None:
    lines = [json.dumps({"city": f"city {row % 40}", "row": row}) for row in range(2000)]
    (tmp_path / "payload.jsonl").write_text("\n".join(lines) + "\n")
    asked = spec("none", size=32, payload_indexes={"city": "keyword", "row": "integer"})
    build_collection(EdgeEngine(tmp_path), asked, vectors(32), tmp_path / "payload.jsonl")
    engine = EdgeEngine(tmp_path)
    build = engine.open(asked)
    assert build is not None
    assert build.state.files["payload"] == pytest.approx(allocated(asked, payload_size(lines).stored), rel=0.001)
    assert build.state.files["payload indexes"] > 100_000
    assert 0 < engine.memory().mapped["payload indexes"] < 100_000  # they are on the heap
    engine.close()


def test_a_folder_is_known_when_it_is_complete_and_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    asked = spec()
    (tmp_path / f"other.partial-{gethostname()}-999999999").mkdir()
    folder = begin(tmp_path, asked.name)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert folder.name.endswith(f".partial-{gethostname()}-{os.getpid()}")
    (folder / "shard" / "segments").mkdir(parents=True)
    (folder / "shard" / "segments" / "file").write_bytes(b"1234")
    final = complete(folder, asked, Build(1.0, 2.0, None))  # type: ignore[arg-type]
    assert final == tmp_path / asked.name
    assert not folder.exists()
    assert manifest_of(final)["index_seconds"] == 2.0
    second = begin(tmp_path, asked.name)
    (second / "shard").mkdir()
    assert complete(second, asked, Build(1.0, 3.0, None)) == final  # type: ignore[arg-type]
    assert not second.exists()
    assert manifest_of(final)["index_seconds"] == 2.0  # the first stays
    (final / "shard" / "segments" / "file").write_bytes(b"12345")
    with pytest.raises(ValueError, match="files changed since"):
        manifest_of(final)
    for text in ("{", "[]", "{}"):
        (final / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match=r"Expecting|complete\.json is not complete"):
            manifest_of(final)
    (final / MANIFEST).unlink()
    with pytest.raises(OSError, match=r"complete\.json"):
        manifest_of(final)


def test_what_others_make_or_remove_is_no_abandoned_build(tmp_path: Path) -> None:
    """On another machine a process may have any number, and an eviction is under way or was killed."""
    others = {"a.partial-removed", "b.partial-removed.0f", "c.partial-another-host-999999999", "d.partial-999999999"}
    for name in others:
        (tmp_path / name).mkdir()
    folder = begin(tmp_path, "mine")
    assert {path.name for path in tmp_path.iterdir()} == {*others, folder.name}


def test_what_another_process_writes_while_it_loads_is_not_counted(tmp_path: Path) -> None:
    shard = tmp_path / "shard"
    (shard / "segments").mkdir(parents=True)
    (shard / "edge_config.json").write_text("{}")
    (shard / ".atomicwriteX1").write_text("{")
    (shard / "gone").symlink_to(shard / "nothing")
    assert edge_folder._component_bytes(shard, []) == {"other": 2}
