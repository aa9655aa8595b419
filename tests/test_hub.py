"""Loading from the hub: the real call, against a local stand-in for the hub where an answer of it is wanted."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetGenerationError

from qexp.config import ExperimentConfig, HubDataset, QueriesConfig
from qexp.data.hub import load_hub
from qexp.data.vectors import load_data
from qexp.errors import DataError
from tests.conftest import Qexp
from tests.support.http_server import HttpServer, Reply, Request
from tests.support.running import ran, runs_of
from tests.test_files import fixed_size_with_a_null

LOAD = """
from pathlib import Path
from qexp.data.hub import load_hub
from qexp.errors import DataError
try:
    load_hub("someone/{name}", None, None, None, Path("."))
except DataError as error:
    print(error)
"""


class Hub:
    """Answers as the hub does: for a gated dataset, one that is not there, and `someone/open` at its newest commit."""

    def __init__(self) -> None:
        self.newest = "1" * 40
        self.endpoint = ""

    def answer(self, request: Request) -> Reply:
        place, _, name = request.path.partition("/resolve/")
        commit, _, file = name.partition("/")
        commit = self.newest if commit in ("", "main") else commit
        files = published(commit)
        if "someone/open" not in place:
            status, reason = (403, "GatedRepo") if "gated" in place else (404, "RepoNotFound")
            return Reply(status, headers={"X-Error-Code": reason})
        if file in files:
            return Reply(200, files[file], {"X-Repo-Commit": commit, "ETag": f'"{commit}{file}"'})
        if "/revision/" in place:
            siblings = [{"rfilename": file} for file in files]
            return Reply(200, {"id": "someone/open", "sha": place.rpartition("/")[2], "siblings": siblings})
        if "/tree/" in place:
            return Reply(200, [{"type": "file", "path": file, "size": 1, "oid": commit + file} for file in files])
        return Reply(404, headers={"X-Error-Code": "EntryNotFound"})


def published(commit: str) -> dict[str, bytes]:
    """The files of `someone/open`, whose vectors differ between commits."""
    file = io.BytesIO()
    vectors = np.random.default_rng(int(commit[0])).standard_normal((600, 16)).astype(np.float32)
    pq.write_table(pa.table({"vector": list(vectors)}), file)
    card = b"---\nconfigs:\n- config_name: default\n  data_files: points.parquet\n---\n"
    return {"README.md": card, "points.parquet": file.getvalue()}


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub()
    with HttpServer(found.answer) as server:
        found.endpoint = server.url
        yield found


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("missing", {}, "no such dataset on the hub and no such folder here (or private: then set HF_TOKEN)"),
        ("gated", {}, "gated: ask for access on its hub page, then set HF_TOKEN or run `hf auth login`"),
        ("offline", {"HF_HUB_OFFLINE": "1"}, "offline mode is on and the dataset is not in the local cache; go online"),
    ],
)
def test_why_the_hub_gives_nothing_is_one_line(
    name: str, more: dict[str, str], message: str, tmp_path: Path, hub: Hub
) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)} | more
    done = ran(environment, tmp_path, "-c", LOAD.format(name=name))
    assert done.stdout.startswith(f"someone/{name}: {message}"), done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
def test_the_commit_of_a_hub_dataset_is_recorded_and_measured_again(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path, hub: Hub
) -> None:
    first, second = "1" * 40, "2" * 40
    words = ["dataset=hub", "dataset.path=someone/open", "index.full_scan_threshold=10", "search=quick"]
    words += ["search.rounds=2", "search.warmup=5", "search.rescore=[false]"]
    done = qexp(*words, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stderr
    assert f"this is commit {first}: add dataset.revision={first}" in done.stderr
    (run,) = runs_of(environment, "collection")
    assert run.data.tags["qexp.dataset_revision"] == first
    assert f"dataset.revision={first}" in run.data.tags["qexp.reproduce"]
    assert run.inputs.dataset_inputs[0].dataset.source == f'{{"path": "someone/open", "revision": "{first}"}}'

    hub.newest = second
    again = environment | {"HF_ENDPOINT": hub.endpoint}
    reproduced = ran(again, tmp_path, "-m", "qexp.reproduce", run.info.run_id)
    assert reproduced.returncode == 0, reproduced.stdout
    assert "the same to the bit" in reproduced.stdout
    assert "not pinned" not in reproduced.stderr
    moved = qexp(*words, HF_ENDPOINT=hub.endpoint)
    assert f"this is commit {second}" in moved.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {"id": list(range(30)), "vector": [[float(row), 1.0] for row in range(30)]}
    pq.write_table(pa.table(rows), tmp_path / "corpus.parquet")
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: corpus\n  data_files: corpus.parquet\n---\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("corpse", None, r"no such configuration \(did you mean 'corpus'\?\)"),
        ("corpus", "trian", r"no split 'trian' \(did you mean 'train'\?\)"),
    ],
)
def test_unknown_configurations_and_splits_are_named(name: str, split: str | None, message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_hub(str(folder), name, split, None, folder / "cache")


def test_an_empty_split_is_named(folder: Path) -> None:
    empty = {"id": pa.array([], pa.int64()), "vector": pa.array([], pa.list_(pa.float64()))}
    pq.write_table(pa.table(empty), folder / "corpus.parquet")
    with pytest.raises(DataError, match="/corpus: split 'train' is empty"):
        load_hub(str(folder), "corpus", None, None, folder / "cache")


def test_a_truncated_file_of_a_folder_says_so(folder: Path) -> None:
    file = folder / "corpus.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="magic bytes not found in footer"):
        load_hub(str(folder), "corpus", None, None, folder / "cache")


def test_a_row_without_a_vector_of_fixed_size_has_a_remedy_in_a_folder_too(tmp_path: Path) -> None:
    fixed_size_with_a_null(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"from a column of fixed size: leave them out, or write lists\)$"):
        load_hub(str(tmp_path), None, None, None, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("README.md", "---\nconfigs: [\n---\n", "cannot load split 'train': while parsing a flow node expected"),
        ("corpus.py", "", "cannot load split 'train': Dataset scripts are no longer supported"),
        ("a.zip", "x", "cannot load split 'train': File is not a zip file"),
    ],
)
def test_a_folder_that_is_no_dataset_is_one_line_whatever_is_raised(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=f"^{folder}: {message}"):
        load_hub(str(folder), None, None, None, tmp_path / "cache")


def test_a_file_given_as_hub_dataset_names_the_other_kind(folder: Path) -> None:
    (folder / "x.feather").write_text("x")
    with pytest.raises(DataError, match="this is a file; use dataset=file"):
        load_hub(str(folder / "x.feather"), None, None, None, folder / "cache")


def test_a_folder_whose_name_is_a_pattern_is_refused(tmp_path: Path) -> None:
    for name in ("a[b]", "ab"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"v": [[1.0, 2.0]]}), tmp_path / name / "train.parquet")
    with pytest.raises(DataError, match=r"takes its name for a pattern; rename the folder"):
        load_hub(str(tmp_path / "a[b]"), None, None, None, tmp_path)


def test_queries_without_a_split_of_their_own_are_held_out(folder: Path) -> None:
    dataset = HubDataset(path=str(folder), name="corpus", distance="dot", queries=QueriesConfig(held_out=3))
    data = load_data(ExperimentConfig(dataset=dataset), folder / "cache")
    points, queries = data.points()[:, 0].tolist(), data.query_vectors()[:, 0].tolist()
    assert (len(points), len(queries)) == (27, 3)
    assert sorted(points + queries) == list(range(30))
    assert data.facts.revision is None
    assert data.warnings == ()


def test_a_disk_without_room_for_the_copy_is_named_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*asked: object, **named: object) -> None:
        raise DatasetGenerationError("An error occurred") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("datasets.load_dataset", full)
    with pytest.raises(DataError, match="someone/name: there is no room for a copy of it: free space"):
        load_hub("someone/name", None, None, None, tmp_path)


def test_a_split_is_loaded_once_until_a_file_of_its_folder_changes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache")  # elsewhere: its files would be the folder's
    first, state = load_hub(str(folder), "corpus", None, None, cache)
    assert load_hub(str(folder), "corpus", None, None, cache) == (first, state)
    assert load_hub(str(folder), "corpus", None, None, cache)[0] is first
    fewer = {"id": pa.array([1], pa.int64()), "vector": pa.array([[1.0, 0.0]])}
    pq.write_table(pa.table(fewer), folder / "corpus.parquet")
    again, changed = load_hub(str(folder), "corpus", None, None, cache)
    assert len(again) == 1
    assert changed != state
