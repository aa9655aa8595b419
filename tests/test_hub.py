"""Loading from the hub: the real call, against a local stand-in for the hub where an answer of it is wanted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qexp.config import ExperimentConfig, HubDataset, QueriesConfig
from qexp.data.hub import load_hub
from qexp.data.vectors import load_data
from qexp.errors import DataError

LOAD = """
from pathlib import Path
from qexp.data.hub import load_hub
from qexp.errors import DataError
try:
    load_hub("someone/{name}", None, None, None, Path("."))
except DataError as error:
    print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for a gated dataset, and for one that is not there."""

    def do_HEAD(self) -> None:
        gated = "gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("missing", {}, "no such dataset on the hub and no such folder here (or private: then set HF_TOKEN)"),
        ("gated", {}, "gated: ask for access on its hub page, then set HF_TOKEN or run `hf auth login`"),
        ("offline", {"HF_HUB_OFFLINE": "1"}, "offline mode is on and the dataset is not in the local cache; go online"),
    ],
)
def test_why_the_hub_gives_nothing_is_one_line(
    name: str, more: dict[str, str], message: str, tmp_path: Path, endpoint: str
) -> None:
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)} | more
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(name=name)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith(f"someone/{name}: {message}"), done.stderr
    assert done.stdout.count("\n") == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {"id": list(range(30)), "vector": [[float(row), 1.0] for row in range(30)]}
    pq.write_table(pa.table(rows), tmp_path / "corpus.parquet")
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: corpus\n  data_files: corpus.parquet\n---\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("corpse", None, r"no such configuration"),
        ("corpus", "trian", r"no split 'trian' \(did you mean 'train'\?\)"),
    ],
)
def test_unknown_configurations_and_splits_are_named(name: str, split: str | None, message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_hub(str(folder), name, split, None, folder / "cache")


def test_a_truncated_file_of_a_folder_says_so(folder: Path) -> None:
    file = folder / "corpus.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="magic bytes not found in footer"):
        load_hub(str(folder), "corpus", None, None, folder / "cache")


def test_a_file_given_as_hub_dataset_names_the_other_kind(folder: Path) -> None:
    (folder / "x.feather").write_text("x")
    with pytest.raises(DataError, match="this is a file; use dataset=file"):
        load_hub(str(folder / "x.feather"), None, None, None, folder / "cache")


def test_queries_without_a_split_of_their_own_are_held_out(folder: Path) -> None:
    dataset = HubDataset(path=str(folder), name="corpus", distance="dot", queries=QueriesConfig(held_out=3))
    data = load_data(ExperimentConfig(dataset=dataset), folder / "cache")
    points, queries = data.points()[:, 0].tolist(), data.query_vectors()[:, 0].tolist()
    assert (len(points), len(queries)) == (27, 3)
    assert sorted(points + queries) == list(range(30))
