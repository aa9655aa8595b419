"""How a collection's run ends."""

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from qexp import tracking
from qexp.config import ExperimentConfig
from qexp.errors import TrackingError
from tests.test_sweep import all_runs


def test_a_run_that_the_store_could_not_start_ends_as_failed(
    small: ExperimentConfig, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*asked: object) -> None:
        raise MlflowException("no place for artifacts")

    monkeypatch.setattr(MlflowClient, "log_text", fail)
    message = "the tracking store failed while starting a run: no place for artifacts"
    with pytest.raises(TrackingError, match=f"^{message}$"), tracking.collection_run(small, []):
        pass
    (run,) = all_runs(environment)
    assert (run.info.status, run.data.tags["qexp.error"]) == ("FAILED", message)


def test_a_run_that_is_measured_but_not_logged_stays_open(
    small: ExperimentConfig, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*asked: object) -> None:
        raise TrackingError("the store is gone")

    monkeypatch.setattr(tracking, "_record", fail)
    with pytest.raises(TrackingError), tracking.collection_run(small, []) as record:
        record(None)
    (run,) = all_runs(environment)
    assert run.info.status == "RUNNING"
