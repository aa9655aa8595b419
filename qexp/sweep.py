"""A multirun's parent in MLflow: there before its jobs start, and with their table when they have ended."""

import json
import logging
import os
import shlex
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from qexp import __version__, tracking
from qexp.cache import locked, writable
from qexp.config import ExperimentConfig, SloConfig
from qexp.environment import SWEEP_FOLDER, SWEEP_RUN, SWEPT, remedy, sweep_run, swept_keys
from qexp.errors import ConfigError, Refused
from qexp.jobs import FINISHED, REUSED, cliff_of, collect, jobs_of, lost_trials, rows_of, runs_of
from qexp.locks import Lock
from qexp.paths import cache_root
from qexp.provenance import code_tags, inputs, reproduce_command
from qexp.report.sizing import write_cliff
from qexp.report.table import markdown
from qexp.results import Row
from qexp.results.footprint import Cliff
from qexp.store import UNNAMED, connect, fitting, name_mlflow_run, search, start_run, store_faults
from qexp.swept import kept_words, own_folder, plan, task_words, told_words

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

OWNED = "QEXP_SWEEP_OWNED"  # environment: set if this process started the sweep's run and so must end it
JOBS = "QEXP_SWEEP_JOBS"  # environment: the number of jobs, where the sweeper knows it beforehand
MANY = 20  # jobs that Hydra composes for seconds, in silence
WORDS = "qexp.words"  # tag of a sweep: the overrides that it was started with, they and their values sorted

_locks: list[Lock] = []  # of the sweep that this process has started; it is released when the process ends
_seconds: list[float] = []  # of the jobs that were measured in this process


class SweepCallback(Callback):
    """Start the sweep's run, or take up the one that is to be resumed or that `mlflow run` has started."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Leave the run's id in the environment, where jobs in other processes find it too."""
        try:
            os.environ[SWEEP_FOLDER] = str(Path(config.hydra.sweep.dir).absolute())
            swept, jobs = plan(config)
            words = told_words(task_words(config.hydra))
            begin(_name(config, swept), cache_root(config.cache_dir), config.sweep.resume, words)
            _compare_words(words, [*own_folder(config.hydra), *task_words(config.hydra)])
        except Exception as error:  # of which Hydra would make a warning, and go on
            raise Refused(error) from error
        os.environ[SWEPT] = ",".join(swept)
        if jobs:
            os.environ[JOBS] = str(jobs)
            if jobs >= MANY:
                log.info("composing %d jobs", jobs)


def _name(config: Any, keys: list[str]) -> str:
    """Name the sweep after its experiment preset, else its swept overrides."""
    choices = config.hydra.runtime.choices
    swept = [word for word in task_words(config.hydra) if word.split("=", 1)[0] in keys]
    return f"sweep {choices.get('experiment') or ' '.join(swept) or choices.get('dataset')}"


def adopt_mlflow_run() -> None:
    """Make the run that `mlflow run` has started the parent, instead of writing into it."""
    if run := name_mlflow_run():
        run_id = os.environ.pop("MLFLOW_RUN_ID")
        with store_faults(f"looking for MLFLOW_RUN_ID={run_id}"):
            client, _ = connect()
            experiment = client.get_experiment(run.info.experiment_id)
            os.environ["MLFLOW_EXPERIMENT_ID"] = experiment.experiment_id  # jobs are looked for where their parent is
            os.environ["MLFLOW_EXPERIMENT_NAME"] = experiment.name
            client.set_tag(run_id, "qexp.level", "sweep")
        os.environ[SWEEP_RUN] = run_id


def begin(name: str, root: Path, resume: str | None, words: str = "") -> None:
    """Start or take up the sweep's run; this also initialises a fresh store before jobs touch it.

    `words` are those that it is started with, as its tag has them.
    Raises ConfigError if the cache cannot be written, or the sweep to resume is not there or still running,
    TrackingError if the store fails.
    """
    writable(root)
    with store_faults("starting the sweep"):
        client, experiment_id = connect()
        tracking.log_pending(client, root)
        adopted, left = sweep_run(), _to_resume(experiment_id, resume, words) if resume else None
        run_id = left.info.run_id if left else adopted or start_run(client, experiment_id, name, "sweep", {})
        _locks.append(_hold(root, run_id))
        if left:
            _close_unfinished(client, left)
            if tracking.SLO in left.data.tags:  # the limits are those of this command
                client.delete_tag(run_id, tracking.SLO)
            if adopted:
                client.set_tag(adopted, "qexp.level", "resume")
            client.update_run(run_id, status="RUNNING")
            log.info("resuming %s (%s)", left.info.run_name, run_id)
        elif adopted and (client.get_run(run_id).info.run_name or "").startswith(UNNAMED):
            client.set_tag(run_id, "mlflow.runName", fitting(name))
    os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id  # a job's own environment may name another
    if run_id != adopted:
        os.environ[OWNED] = "1"
    os.environ[SWEEP_RUN] = run_id


def _compare_words(now: str, command: list[str]) -> None:
    """Note what the sweep was started with, and say where it is resumed with something else."""
    run_id = sweep_run()
    assert run_id is not None
    with store_faults("starting the sweep"):
        client, _ = connect()
        before = client.get_run(run_id).data.tags.get(WORDS)
        if before is None:
            words = kept_words(command)
            tags = {
                WORDS: now,
                "qexp.version": __version__,
                "qexp.command": shlex.join(["qexp", "-m", *words]),
                "qexp.reproduce": reproduce_command(words, sweep=True),
                **code_tags(),
            }
            for key, value in tags.items():
                client.set_tag(run_id, key, value)
        elif before != now:
            old, new = before.split(" "), now.split(" ")
            told = (" ".join(word for word in mine if word not in its) for mine, its in ((old, new), (new, old)))
            words = [one or "nothing else" for one in told]
            log.warning("the sweep was started with %s, not %s: it will hold the jobs of both", *words)


def _to_resume(experiment_id: str, resume: str, words: str) -> "Run":
    """Return the sweep of that id; for `last` the newest of these words that did not finish, else the newest of all."""
    sweeps = search(experiment_id, "tags.`qexp.level` = 'sweep'")
    chosen = [run for run in sweeps if resume in (run.info.run_id, "last") and run.info.run_id != sweep_run()]
    if not chosen:
        recent = ", ".join(run.info.run_id for run in sweeps[-3:])
        hint = f"; the latest are {recent}" if recent else ""
        raise ConfigError(f"sweep.resume={resume}: there is no such sweep in this MLflow experiment{hint}")
    left = [run for run in chosen if run.info.status != "FINISHED" and run.data.tags.get(WORDS) == words]
    return (left or chosen)[-1]


def _hold(root: Path, run_id: str) -> Lock:
    try:
        return locked(root, f"sweep-{run_id}", alone=True, wait=False)
    except BlockingIOError as error:
        raise ConfigError(f"run {run_id}: the sweep is still running; wait for it or stop it") from error


def _close_unfinished(client: "MlflowClient", sweep: "Run") -> None:
    """End the runs that a killed process has left open; their jobs are done again."""
    for run in runs_of(sweep):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def finished(config: ExperimentConfig) -> tuple[str, list[Row]] | None:
    """Return run and rows of this very experiment where it is measured already; None where it is to be measured.

    With `sweep.resume` it may have been measured by this sweep, with `skip_existing` by any run in the experiment.
    """
    sweep_id = sweep_run()
    if not (config.skip_existing or (config.sweep.resume and sweep_id)):
        return None
    read = inputs(config)
    with store_faults("looking for finished runs"):
        client, experiment_id = connect()
        chosen = f"{FINISHED} AND tags.`qexp.version` = '{__version__}' AND tags.`qexp.config_hash` = '{config.hash}'"
        if not config.skip_existing:
            chosen += f" AND tags.`qexp.sweep` = '{sweep_id}'"
        found = search(experiment_id, chosen)
        found.sort(key=lambda run: run.data.tags.get("qexp.sweep") == sweep_id)  # the sweep's own are the last
        for run in reversed(found):
            changed = run.data.tags.get(tracking.INPUTS, "") != read
            rows = [] if changed else rows_of(run)
            if not rows or lost_trials(run, rows):
                since = "were changed" if tracking.INPUTS in run.data.tags else "may have changed"
                reason = f"files {since} since" if changed else "trials were deleted of"
                log.warning("%s: measured again: %s run %s", run.info.run_name, reason, run.info.run_id)
                continue
            if sweep_id and run.data.tags.get("qexp.sweep") != sweep_id:
                client.set_tag(sweep_id, REUSED + config.hash, run.info.run_id)
            if sweep_id:
                _reuse(client, rows, sweep_id)
            log.info("%s: measured already by run %s%s", run.info.run_name, run.info.run_id, _at_another_commit(run))
            return run.info.run_id, rows
        return None


def _at_another_commit(run: "Run") -> str:
    commit = run.data.tags.get("qexp.git_sha", "")
    return f", at commit {commit[:7]} of qexp" if commit not in ("", code_tags().get("qexp.git_sha")) else ""


def _reuse(client: "MlflowClient", rows: list[Row], sweep_id: str) -> None:
    """Have the search for a sweep's trials find those of a job that it reuses, also of one older than the search."""
    for run_id in filter(None, (row.run_id for row in rows)):
        tags = client.get_run(run_id).data.tags
        known = tags.get(tracking.SWEEPS, tags.get("qexp.sweep", "")).split()
        if sweep_id not in known or tracking.SWEEPS not in tags:
            client.set_tag(run_id, tracking.SWEEPS, " ".join(dict.fromkeys([*known, sweep_id])))


def progress(number: int, words: list[str]) -> None:
    """Say which job starts, of how many, and how long the rest may take, judged by the jobs before it."""
    jobs = int(os.environ.get(JOBS, 0))
    place = f"job {number + 1} of {jobs}" if jobs else f"job {number + 1}"
    left = ""
    if _seconds and jobs:
        left = f", about {duration((jobs - number) * sum(_seconds) / len(_seconds))} left"
    swept = swept_keys()
    told = " ".join(word for word in words if word.split("=", 1)[0] in swept)
    log.info("%s%s%s", place, left, f": {told}" if told else "")


def judge_by(slo: SloConfig, first: bool) -> None:
    """Note on the sweep by which limits it is judged, whatever those of runs are that it reuses.

    They are those of the first job, or where its configuration is not valid of the first job whose is.
    """
    run_id = sweep_run()
    assert run_id is not None
    with store_faults("starting the sweep"):
        client, _ = connect()
        if first or tracking.SLO not in client.get_run(run_id).data.tags:
            client.set_tag(run_id, tracking.SLO, json.dumps(asdict(slo)))


def took(seconds: float) -> None:
    """Remember how long a job took."""
    _seconds.append(seconds)


def duration(seconds: float) -> str:
    """Return a time as people say it: `40 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def folder() -> Path:
    """Return where Hydra keeps the sweep's output; the working directory if Hydra did not start it."""
    return Path(os.environ.get(SWEEP_FOLDER, "."))


def finish(run_id: str, status: str, reason: str = "") -> tuple[list[Row], str]:
    """Log the table of all trials to the sweep's run and end it; return the rows and the table's title.

    Where it failed its tag says for which `reason`, or how many of its jobs did.
    """
    with store_faults(f"ending the sweep; {remedy(run_id)}"):
        client, _ = connect()
        sweep = client.get_run(run_id)
        rows, title = collect(sweep)
        if rows:
            text = markdown(rows, title)
            client.set_tag(run_id, "mlflow.note.content", tracking.note(text, tracking.TABLE_FILE))
            client.log_text(run_id, text, tracking.TABLE_FILE)
        if status == "FAILED":
            failed, jobs = sum(row.failed for row in rows), jobs_of(sweep)
            client.set_tag(run_id, "qexp.error", reason or f"{failed} of {len(jobs)} jobs failed")
        if os.environ.pop(OWNED, None):
            client.set_terminated(run_id, status)
        if status == "KILLED":  # jobs in other processes end without a word
            _close_unfinished(client, sweep)
    os.environ.pop(SWEEP_RUN, None)
    while _locks:
        _locks.pop().release()
    return rows, title


def finish_cliff(run_id: str, title: str) -> Cliff | None:
    """Log all jobs' measurements under memory caps to the sweep's run, as one; return them, None without any."""
    with store_faults(f"collecting measurements under memory caps of run {run_id}"):
        client, _ = connect()
        cliff = cliff_of(client.get_run(run_id))
        if cliff is None:
            return None
        with tempfile.TemporaryDirectory() as made:
            write_cliff(cliff, title, Path(made))
            client.log_artifacts(run_id, made)
        return cliff
