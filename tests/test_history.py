"""What is read back is what the run itself recorded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from qexp import history, jobs, store
from qexp.config import ExperimentConfig, FileDataset, IndexConfig, QuantizationConfig, SyntheticDataset
from qexp.environment import experiment_name
from qexp.errors import DataError
from qexp.report.bodies import create_body
from qexp.report.conditions import LOAD
from qexp.report.elements import Grid
from qexp.report.frontier import questions
from qexp.report.recommend import recommend
from qexp.report.record import CollectionRecord, warnings
from qexp.report.story import story
from qexp.runner import run


def logged(level: str, start: int, **more: str) -> str:
    client, experiment_id = store.connect()
    tags = {"qexp.level": level, **more}
    return str(client.create_run(experiment_id, start_time=start, tags=tags).info.run_id)


def test_runs_that_share_a_dataset_keep_their_own_facts(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    def measured(distance: str, queries: int, m: int) -> Run:
        asked = replace(
            small,
            dataset=SyntheticDataset(points=1000, size=32, queries=50, distance=distance),
            search=replace(small.search, queries=queries),
            index=IndexConfig(m=m, ef_construct=10 * m, full_scan_threshold=10),
        )
        run(asked, [])
        _, experiment_id = store.connect()
        found = store.search(experiment_id, "tags.`qexp.level` = 'collection'")
        return next(one for one in found if one.data.params["dataset.distance"] == distance)

    first, second = measured("euclid", 50, 16), measured("dot", 40, 8)
    entries = [one.inputs.dataset_inputs[0].dataset for one in (first, second)]
    assert entries[0].digest == entries[1].digest
    assert json.loads(entries[0].schema) | json.loads(entries[0].profile) == {"vector": "float32[32]", "points": 1000}
    for own, distance, queries, m in ((first, "Euclid", 50, 16), (second, "Dot", 40, 8)):
        (collection,) = history.read(own.info.run_id).collections
        body = create_body(collection, quantized=True)
        assert body["vectors"]["distance"] == distance
        assert (body["hnsw_config"]["m"], body["hnsw_config"]["ef_construct"]) == (m, 10 * m)
        assert (collection.dataset["queries"], collection.dataset["name"]) == (queries, "synthetic")


def test_what_a_file_held_at_other_times_is_not_compared(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    asked = replace(small, dataset=FileDataset(path=str(tmp_path / "points.npy")))
    binary = QuantizationConfig("binary", {"binary": {}})
    for seed, quantization in enumerate((asked.quantization, binary)):
        np.save(tmp_path / "points.npy", np.random.default_rng(seed).standard_normal((1000, 32)))
        run(replace(asked, quantization=quantization), [])
    told = [{row.params["quantization"] for row in rows} for rows in questions(history.read(experiment_name()).rows)]
    assert told == [{"baseline (A/A)", "scalar"}, {"baseline (A/A)", "binary"}]


@pytest.mark.slow
def test_what_was_measured_under_load_has_the_settings_of_its_job(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    search = replace(small.search, rescore=[True], clients=[1], load_seconds=0.1)
    for m in (16, 8):
        run(replace(small, search=search, index=IndexConfig(m=m, full_scan_threshold=10)), [])
    record = history.read(experiment_name())
    told = [[row.params.get("settings") for row in one.loads] for one in record.collections]
    assert told == [["index.m=16"] * 2, ["index.m=8"] * 2]
    assert [row.params.get("role") for row in record.collections[0].loads] == ["baseline", None]
    decided = recommend(record.rows, record.slo)
    grids = [block for block in story(record, decided, ()) if isinstance(block, Grid) and block.header == LOAD]
    names = [(line[0], line[1]) for line in grids[0].rows]
    assert names[::2] == [("scalar (index.m=16)", "baseline"), ("scalar (index.m=8)", "baseline")]


def test_artifacts_that_are_damaged_or_gone_are_one_line(
    small: ExperimentConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    run(replace(small, search=replace(small.search, rescore=[True])), [])
    (collection,) = store.search(store.connect()[1], "tags.`qexp.level` = 'collection'")
    client, run_id = MlflowClient(), collection.info.run_id
    for name, text in (("validity.json", "[{"), ("dataset.json", "{}"), ("config.json", '{"se')):
        whole = Path(client.download_artifacts(run_id, name, str(tmp_path))).read_text()
        client.log_text(run_id, text, name)
        with pytest.raises(DataError, match=rf"^run \w+: (its|has no) {name}.*; delete the run and measure it again$"):
            history.read(run_id)
        client.log_text(run_id, whole, name)
    assert history.read(run_id).collections


def test_a_record_that_cannot_be_read_is_left_out_and_named(
    small: ExperimentConfig, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    few = replace(small, search=replace(small.search, rescore=[True]))
    run(few, [])
    client, experiment_id = store.connect()
    (old,) = store.search(experiment_id, "tags.`qexp.level` = 'collection'")
    client.log_text(old.info.run_id, "{}", "dataset.json")  # as of a version that kept none
    run(replace(few, quantization=QuantizationConfig("binary", {"binary": {}})), [])
    record = history.read(experiment_name())
    assert [one.name for one in record.collections] == ["binary"]
    ((name, reason),) = record.failures
    assert name == old.info.run_name
    assert reason.startswith(f"run {old.info.run_id}: has no dataset.json (it is gone, or an older qexp kept none)")
    assert f"{name}: left out: {reason}" in caplog.text


def test_a_run_whose_trials_were_deleted_says_so(small: ExperimentConfig, environment: dict[str, str]) -> None:
    run(replace(small, search=replace(small.search, rescore=[True])), [])
    client, experiment_id = store.connect()
    for trial in store.search(experiment_id, "tags.`qexp.level` = 'trial'"):
        client.delete_run(trial.info.run_id)
    (collection,) = store.search(experiment_id, "tags.`qexp.level` = 'collection'")
    with pytest.raises(DataError, match=r"no finished collection to report on: its trials were deleted$"):
        history.read(collection.info.run_id)


def test_deleted_trials_are_told(
    small: ExperimentConfig, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    run(small, [])
    client, experiment_id = store.connect()
    trials = store.search(experiment_id, "tags.`qexp.level` = 'trial'")
    assert len(trials) > 1
    client.delete_run(trials[0].info.run_id)
    record = history.read(history.LAST)
    assert len(record.rows) == len(trials)  # one less, and the baseline
    said = "1 of its trials were deleted in MLflow and are left out"
    assert said in caplog.text
    assert said in warnings(record.collections)


def test_a_trial_that_is_deleted_does_not_stand_for_its_collection(environment: dict[str, str]) -> None:
    client, _ = store.connect()
    trial = logged("trial", 1)
    client.delete_run(trial)
    with pytest.raises(DataError, match=rf"^{trial}: is deleted in MLflow; .* runs restore --run-id {trial}$"):
        history.read(trial)


def test_a_run_of_somebody_elses_code_is_none_of_qexp(environment: dict[str, str]) -> None:
    client, experiment_id = store.connect()
    run_id = client.create_run(experiment_id, run_name="theirs").info.run_id
    with pytest.raises(DataError, match=rf"^{run_id}: theirs is no run of qexp"):
        history.read(run_id)


def test_the_last_run_is_not_the_one_that_resumed_it(environment: dict[str, str]) -> None:
    sweep, _ = logged("sweep", 1), logged("resume", 2)
    _, experiment_id = store.connect()
    assert history._last(experiment_id).info.run_id == sweep


def test_the_last_run_is_one_with_figures(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    client, experiment_id = store.connect()
    sweep = logged("sweep", 1)
    job = logged("collection", 2, **{"mlflow.parentRunId": sweep, "qexp.sweep": sweep})
    running = logged("collection", 3)
    assert history._last(experiment_id).info.run_id == running
    client.set_terminated(job)
    assert history._last(experiment_id).info.run_id == sweep
    assert caplog.messages == [f"last: taken is run {sweep}; {running} is newer, but running and without figures"]
    reusing = logged("sweep", 4, **{f"{jobs.REUSED}a": job})
    assert history._last(experiment_id).info.run_id == reusing


def test_the_last_run_is_found_behind_any_number_of_its_own(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = logged("sweep", 1)
    for start in range(2, 7):
        logged("collection" if start % 2 else "load", start, **{"mlflow.parentRunId": sweep})
    _, experiment_id = store.connect()
    monkeypatch.setattr("mlflow.tracking.fluent.NUM_RUNS_PER_PAGE_PANDAS", 2)
    assert history._last(experiment_id).info.run_id == sweep


def test_a_run_under_load_stands_for_its_collection(environment: dict[str, str]) -> None:
    client, _ = store.connect()
    collection = logged("collection", 1)
    below = [logged(level, 2, **{"mlflow.parentRunId": collection}) for level in jobs.BELOW]
    for run_id in (collection, *below):
        top, (found,) = jobs.whole(client.get_run(run_id))
        assert (top.info.run_id, found.info.run_id) == (collection, collection)


def test_what_was_reused_and_is_deleted_since_is_left_out(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = store.connect()
    later, first, gone = logged("collection", 2), logged("collection", 1), "0" * 32
    reused = {f"{jobs.REUSED}{place}": run_id for place, run_id in zip("abc", (later, first, gone), strict=True)}
    sweep = client.get_run(logged("sweep", 3, **reused))
    assert [run.info.run_id for run in jobs.runs_of(sweep)] == [first, later]
    assert caplog.messages == [f"{sweep.info.run_name}: left out what it reused and is deleted since: {gone}"]


def test_artifacts_that_are_damaged_or_gone(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    client, _ = store.connect()
    run_id = logged("collection", 1)
    assert store.json_artifact(run_id, "config.json") == {}
    client.log_text(run_id, '{"search.limit": ', "config.json")
    client.log_text(run_id, "PAR1", "latencies.parquet")
    with pytest.raises(DataError, match=rf"^run {run_id}: its config.json is damaged \(Expecting value"):
        store.json_artifact(run_id, "config.json")
    (tmp_path / "environment.json").write_bytes(b"\xff")
    client.log_artifact(run_id, str(tmp_path / "environment.json"))
    client.log_text(run_id, "null", "validity.json")
    for name, kind, reason in (("environment", dict, "'utf-8' codec"), ("validity", list, "no list")):
        with pytest.raises(DataError, match=rf"its {name}.json is damaged \({reason}"):
            store.json_artifact(run_id, f"{name}.json", kind)
    for one in (run_id, logged("collection", 2)):
        assert history.latencies(CollectionRecord(one, {}, {}, {}, {}, {}, (), (), ())) == {}
        assert f"{one}: its latencies.parquet is gone or damaged" in caplog.text
