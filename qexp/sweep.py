"""A multirun's parent in MLflow: there before its jobs start, and with their table when they have ended."""

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from qexp import tracking
from qexp.errors import QexpError
from qexp.footprint import Cliff
from qexp.report.cliff import from_json, merged
from qexp.report.cliff import markdown as cliff_markdown
from qexp.report.plots_cliff import plot_cliff
from qexp.report.sizing import CLIFF_FILE
from qexp.report.table import markdown
from qexp.results import Row

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

OWNED = "QEXP_SWEEP_OWNED"  # environment: set if this process started the sweep's run and so must end it
FAILURE = "QEXP_SWEEP_FAILURE"  # environment: why the sweep's run could not be started; callbacks may not raise


class SweepCallback(Callback):
    """Start the sweep's run, unless `mlflow run` has started one already."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Leave the run's id in the environment, where jobs in other processes find it too."""
        try:
            start(_name(config))
        except QexpError as error:
            os.environ[FAILURE] = str(error)


def _name(config: Any) -> str:
    """Name the sweep after its experiment preset, else its swept overrides."""
    choices = config.hydra.runtime.choices
    swept = [word for word in config.hydra.overrides.task if "," in word]
    return f"sweep {choices.get('experiment') or ' '.join(swept) or choices.get('dataset')}"


def adopt_mlflow_run() -> None:
    """Make the run that `mlflow run` has started the parent, instead of writing into it."""
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    if run_id:
        client, _ = tracking.connect()
        client.set_tag(run_id, "qexp.level", "sweep")
        os.environ[tracking.SWEEP_RUN] = run_id


def start(name: str) -> None:
    """Start the sweep's run if there is none yet; this also initialises a fresh store before jobs touch it."""
    if os.environ.get(tracking.SWEEP_RUN):
        return
    client, experiment_id = tracking.connect()
    os.environ[tracking.SWEEP_RUN] = tracking.start_run(client, experiment_id, name, "sweep", {})
    os.environ[OWNED] = "1"


def current() -> str | None:
    """Return the id of the sweep's run, if there is a sweep; raise QexpError if it could not be started."""
    if FAILURE in os.environ:
        raise QexpError(os.environ.pop(FAILURE))
    return os.environ.get(tracking.SWEEP_RUN)


def finish(run_id: str, status: str) -> tuple[list[Row], str]:
    """Log the table of all trials to the sweep's run and end it; return the rows and the table's title."""
    client, _ = tracking.connect()
    rows, title = collect(run_id)
    if rows:
        text = markdown(rows, title)
        client.set_tag(run_id, "mlflow.note.content", text)
        client.log_text(run_id, text, "table.md")
    if os.environ.pop(OWNED, None):
        client.set_terminated(run_id, status)
    os.environ.pop(tracking.SWEEP_RUN, None)
    return rows, title


def finish_cliff(run_id: str, title: str) -> Cliff | None:
    """Log all jobs' measurements under memory caps to the sweep's run, as one; return them, None without any."""
    import mlflow

    client, experiment_id = tracking.connect()
    jobs = _search(client, experiment_id, f"tags.`qexp.sweep` = '{run_id}' AND tags.`qexp.level` = 'collection'")
    found = [
        from_json(mlflow.artifacts.load_text(f"runs:/{job.info.run_id}/{CLIFF_FILE}"))
        for job in jobs
        if any(file.path == CLIFF_FILE for file in client.list_artifacts(job.info.run_id))
    ]
    if not found:
        return None
    cliff = merged(found)
    client.log_text(run_id, cliff_markdown(cliff), "cliff.md")
    with tempfile.TemporaryDirectory() as folder:
        client.log_artifact(run_id, str(plot_cliff(cliff, Path(folder) / "cliff.png", title)))
    return cliff


def collect(run_id: str) -> tuple[list[Row], str]:
    """Return the rows of all finished collections of a sweep, as MLflow has them, and a title."""
    client, experiment_id = tracking.connect()
    chosen = f"tags.`qexp.sweep` = '{run_id}'"
    runs = _search(client, experiment_id, chosen)
    rows = []
    titles = []
    for collection in (run for run in runs if run.data.tags["qexp.level"] == "collection"):
        trials = [
            Row(dict(run.data.params), dict(run.data.metrics))
            for run in runs
            if run.data.tags.get("mlflow.parentRunId") == collection.info.run_id
        ]
        if trials:
            rows += [tracking.baseline_row(trials[0].params, dict(collection.data.metrics)), *trials]
            titles.append(collection.data.tags["mlflow.note.content"].splitlines()[0].strip("*"))
    return rows, titles[0] if len(set(titles)) == 1 else f"{len(titles)} collections"


def _search(client: Any, experiment_id: str, filter_string: str) -> "list[Run]":
    """Return all runs that match, oldest first."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], filter_string, max_results=1000, order_by=["attributes.start_time ASC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs
