"""Figures agree with those of others: exact neighbours with faiss, and one run's records with each other."""

from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest

from qexp.data.truth import neighbours
from qexp.report.table import cells
from qexp.results import Row
from tests.conftest import QUICK, Qexp
from tests.support.running import runs_of
from tests.test_edge import vectors


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
def test_exact_neighbours_are_those_of_faiss(distance: str) -> None:
    import faiss

    metric = {
        "cosine": faiss.METRIC_INNER_PRODUCT,
        "dot": faiss.METRIC_INNER_PRODUCT,
        "euclid": faiss.METRIC_L2,
        "manhattan": faiss.METRIC_L1,
    }
    points, queries = vectors(24, 3000), vectors(24, 60, seed=1)
    if distance == "dot":
        points = points * np.linspace(0.5, 2, len(points), dtype=np.float32)[:, None]
    index = faiss.IndexFlat(24, metric[distance])
    index.add(points)
    scores, theirs = index.search(queries, 10)
    ours = neighbours(points, queries, 10, distance)
    exact = {"euclid": -np.sqrt(scores), "manhattan": -scores}.get(distance, scores)
    np.testing.assert_allclose(ours.scores, exact, rtol=1e-4, atol=1e-5)
    gaps = np.diff(ours.scores, axis=1)
    clear = (np.abs(gaps) > 1e-5).all(axis=1)  # elsewhere single precision may swap neighbours
    assert clear.sum() > 50
    assert (ours.ids[clear] == theirs[clear]).all()


def test_one_runs_table_metrics_note_and_raw_latencies_agree(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    done = qexp("quantization=scalar", *QUICK, "search.clients=[1]", "search.load_seconds=0.2")
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (collection,), trials, loads = (runs_of(environment, level) for level in ("collection", "trial", "load"))
    raw = pq.read_table(client.download_artifacts(collection.info.run_id, "latencies.parquet", str(tmp_path)))
    frame = raw.to_pandas()
    assert len(frame) == 6 * 2 * 100  # visits × rounds × queries
    means = {visit: rows.groupby("round").nanoseconds.mean() for visit, rows in frame.groupby("visit", observed=True)}
    note = collection.data.tags["mlflow.note.content"]
    assert len(trials) == 4
    for trial in trials:
        params, metrics = trial.data.params, trial.data.metrics
        title = f"rescore {params['oversampling']}×" if params["rescore"] == "true" else "no rescore"
        samples = frame[frame.visit == f"trial: {title}"].nanoseconds.to_numpy() / 1e6
        assert len(samples) == 200
        assert metrics["latency_mean_ms"] == pytest.approx(samples.mean(), rel=1e-12)
        for percentile in (50, 95):
            expected = np.percentile(samples, percentile)
            assert metrics[f"latency_p{percentile}_ms"] == pytest.approx(expected, rel=1e-12)
        assert "latency_p99_ms" not in metrics  # T15: 200 samples
        ratios = np.log(means["baseline: no rescore"] / means[f"trial: {title}"])
        if collection.data.tags["qexp.noisy"] == "false":
            half = np.log(metrics["speedup_mean_high"] / metrics["speedup_mean_low"]) / 2
            assert half == pytest.approx(12.706 * ratios.std(ddof=1) / 2**0.5, rel=1e-3)
        assert metrics["speedup_mean"] == pytest.approx(np.exp(ratios.mean()), rel=1e-9)
        assert metrics["recall_low"] <= metrics["recall"] <= metrics["recall_high"]
        steps = -metrics["loss_hnsw"] - metrics["loss_code_graph"] - metrics["loss_codes"] + metrics["gain_rescoring"]
        assert metrics["recall"] == pytest.approx(1 + steps, abs=1e-12)
        shown = cells(Row(params, metrics))
        assert f"| {' | '.join(shown)} |" in note
        assert shown[3] in done.stdout
    base = frame[frame.visit == "baseline: no rescore"].nanoseconds.to_numpy() / 1e6
    assert collection.data.metrics["baseline_latency_mean_ms"] == pytest.approx(base.mean(), rel=1e-12)
    assert collection.data.metrics["rounds"] == 2
    assert len(loads) == 5
    assert all(load.data.params["clients"] == "1" and load.data.metrics["qps"] > 0 for load in loads)
    raw = pq.read_table(client.download_artifacts(collection.info.run_id, "load_latencies.parquet", str(tmp_path)))
    assert raw.column_names == ["visit", "load", "round", "sample", "nanoseconds"]
    pooled = raw.to_pandas().groupby(["visit", "load"], observed=True).nanoseconds.mean() / 1e6
    assert {level for _, level in pooled.index} == {"1 client"}
    assert sorted(pooled) == pytest.approx(sorted(load.data.metrics["latency_mean_ms"] for load in loads), rel=1e-11)
    validity = Path(client.download_artifacts(collection.info.run_id, "validity.md", str(tmp_path))).read_text()
    assert validity in note
    assert "| T20 | held |" in validity
