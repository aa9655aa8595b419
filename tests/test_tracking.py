"""What MLflow is given, within what it takes, and how a collection's run ends."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from qexp import history, store, sweep, tracking
from qexp.config import ExperimentConfig, FileDataset, QueriesConfig
from qexp.errors import TrackingError
from qexp.report.export import export
from qexp.report.table import LEGEND
from qexp.results import Row
from qexp.runner import run
from tests.support.running import all_runs
from tests.test_edge import vectors


def test_a_note_that_is_too_long_keeps_whole_lines_and_says_where_the_rest_is() -> None:
    line = "x" * 99
    assert tracking.note(line, "table.md") == line
    assert tracking.note("\n".join([line] * 80), "table.md").endswith(line)
    *kept, empty, rest = tracking.note("\n".join([line] * 81), "table.md").splitlines()
    assert set(kept) == {line}
    assert len(kept) == 79
    assert (empty, rest) == ("", "This is cut short: all of it is in the artifacts, table.md.")


def artifact(run_id: str, folder: Path) -> str:
    path = store.file_artifact(run_id, tracking.TABLE_FILE, str(folder))
    assert path is not None
    return path.read_text()


def test_jobs_of_a_sweep_are_named_by_what_sets_them_apart(
    small: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["dataset=synthetic", "quantization=scalar", "storage=hot", "+index.m=8", "search.limit=5"]
    assert tracking._method(small, words) == small.quantization.name
    monkeypatch.setenv("QEXP_SWEPT", "quantization,storage,index.m")
    assert tracking._method(small, words) == f"{small.quantization.name} storage=hot index.m=8"


def test_the_table_of_a_long_sweep_is_whole_in_its_file(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, experiment_id = store.connect()
    run_id = store.start_run(client, experiment_id, "sweep", "sweep", {})
    rows = [Row({"quantization": f"method_{number}"}, {"recall": 0.5}) for number in range(200)]
    monkeypatch.setattr(sweep, "collect", lambda run_id: (rows, "title"))
    sweep.finish(run_id, "FINISHED")
    shown = client.get_run(run_id).data.tags["mlflow.note.content"]
    table = artifact(run_id, tmp_path)
    assert "| method_199 |" in table
    assert table.endswith(LEGEND)
    assert len(shown) <= tracking.NOTE
    assert shown.endswith("all of it is in the artifacts, table.md.")
    *kept, _, _ = shown.splitlines()
    assert table.startswith("\n".join(kept) + "\n")


def test_a_collections_note_is_whole_in_its_files(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "NOTE", 600)
    run(small, [])
    _, experiment_id = store.connect()
    (found,) = store.search(experiment_id, "tags.`qexp.level` = 'collection'")
    shown = found.data.tags["mlflow.note.content"]
    assert len(shown) <= 600
    assert shown.endswith("all of it is in the artifacts, table.md and validity.md.")
    table = artifact(found.info.run_id, tmp_path)
    assert table.endswith(LEGEND)


def test_a_run_that_the_store_could_not_start_ends_as_failed(
    small: ExperimentConfig, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*asked: object) -> None:
        raise MlflowException("no place for artifacts")

    monkeypatch.setattr(MlflowClient, "log_text", fail)
    message = "the tracking store failed while starting a run: no place for artifacts"
    with pytest.raises(TrackingError, match=f"^{message}$"), tracking.collection_run(small, []):
        pass
    (found,) = all_runs(environment)
    assert (found.info.status, found.data.tags["qexp.error"]) == ("FAILED", message)


def test_a_run_that_is_measured_but_not_logged_stays_open(
    small: ExperimentConfig, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*asked: object) -> None:
        raise TrackingError("the store is gone")

    monkeypatch.setattr(tracking, "_record", fail)
    with pytest.raises(TrackingError), tracking.collection_run(small, []) as record:
        record(None)
    (found,) = all_runs(environment)
    assert found.info.status == "RUNNING"


def test_a_verdict_is_noted_on_its_own_run_whoever_else_measures_the_same_again(
    small: ExperimentConfig, environment: dict[str, str]
) -> None:
    first, _ = run(small, [], "measured")
    other, _ = run(small, [], "measured")
    tracking.record_verdict(first, "reproduced", "as before")
    tags = {found.info.run_id: found.data.tags for found in all_runs(environment)}
    assert tags[first]["qexp.reproduces"] == tags[other]["qexp.reproduces"] == "measured"
    assert tags[first]["qexp.verdict"] == "reproduced"
    assert "qexp.verdict" not in tags[other]


def test_payload_indexes_of_any_name_are_one_parameter_and_files_to_deploy(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    indexes = {"cities[].name": "keyword", "year": "integer"}
    names = [[{"name": name}] for name in ("Rome", "Oslo")] * 525
    rows = {"vector": vectors(32, 1050).tolist(), "cities": names, "year": range(1050)}
    pq.write_table(pa.table(rows), tmp_path / "mine.parquet")
    held_out = QueriesConfig(held_out=50)
    mine = FileDataset(
        path=f"{tmp_path}/mine.parquet", payload_columns=["cities", "year"], payload_indexes=indexes, queries=held_out
    )
    run(replace(small, dataset=mine), [])
    _, experiment_id = store.connect()
    (found,) = store.search(experiment_id, "tags.`qexp.level` = 'collection'")
    assert json.loads(found.data.params["dataset.payload_indexes"]) == indexes
    record = history.read(found.info.run_id)
    export(tmp_path / "deploy", record, record.rows[1], [])
    bodies = [json.loads(path.read_text()) for path in sorted((tmp_path / "deploy").glob("payload_index_*"))]
    script = (tmp_path / "deploy" / "deploy.py").read_text()
    made = [line.strip() for line in script.splitlines() if "create_payload_index" in line]
    assert made == [
        "client.create_payload_index(name, 'cities[].name', models.PayloadSchemaType.KEYWORD)",
        "client.create_payload_index(name, 'year', models.PayloadSchemaType.INTEGER)",
    ]
    assert "Before any point is uploaded" in (tmp_path / "deploy" / "README.md").read_text()
    assert {body["field_name"]: body["field_schema"] for body in bodies} == indexes
