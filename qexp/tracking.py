"""The record in MLflow: one run per collection, and below it one per operating point."""

import json
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp import machine, spool
from qexp.config import ExperimentConfig, located, located_encoder, with_paths
from qexp.environment import sweep_run, swept_keys
from qexp.errors import ConfigError, QexpError, TrackingError
from qexp.paths import cache_root
from qexp.provenance import code_tags, inputs, reproduce_command, uncommitted
from qexp.report.record import FINDINGS, WARNINGS
from qexp.report.sizing import write_sizing
from qexp.report.table import markdown
from qexp.report.trust import trust
from qexp.results import Experiment
from qexp.rows import collection_metrics, dataset_facts, experiment_rows, load_rows, title, trial_row
from qexp.store import address, connect, log_values, search, start_run, store_faults

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

ENVIRONMENT_FILE = "environment.json"  # artifact: the machine and its libraries
CONFIG_FILE = "config.json"  # artifact: the flat configuration
SAVED_CONFIG = "experiment.json"  # artifact from which the experiment can be composed again
DATASET_REVISION = "qexp.dataset_revision"  # tag: the commit that the hub's dataset was loaded from
SLO = "qexp.slo"  # tag of a sweep: the limits by which it is judged
DIGESTS = "qexp.content"  # tag of a collection: digests of its points and of its queries
INPUTS = "qexp.inputs"  # tag: digest of the files of the user's that it read
SWEEPS = "qexp.sweeps"  # tag of a trial: the sweeps that it is in, its own and those that reuse it
TRIALS = "qexp.trials"  # tag of a collection: how many trials were recorded below it
TABLE_FILE = "table.md"  # artifact: all of the table that the note begins with
TRUST_FILE = "validity.md"  # artifact: what a collection's note says below the table
CHECKS_FILE = "validity.json"  # artifact: what was checked, with its verdict
DATASET_FILE = "dataset.json"  # artifact: the facts of the data, and of its index, as this run had them
NOTE = 8000  # characters of a tag that MLflow keeps


@contextmanager
def collection_run(
    config: ExperimentConfig, words: list[str], reproduces: str | None = None
) -> Iterator[Callable[[Experiment], str]]:
    """Keep a collection run while the experiment is measured; what it yields records the result, and returns its id.

    The run ends as FINISHED, as FAILED with the message as tag `qexp.error`, or as KILLED when interrupted. If the
    store fails once the experiment is measured, the run stays open and its record pending on disk.
    """
    tags = _first_tags(config, words, reproduces)
    with store_faults("starting a run"):
        client, experiment_id = connect()
        log_pending(client, cache_root(config.cache_dir))
        name = f"{config.dataset.title} {_method(config, words)}"
        run_id = start_run(client, experiment_id, name, "collection", tags)
    measured: list[Experiment] = []

    def record(experiment: Experiment) -> str:
        measured.append(experiment)
        _record(client, experiment_id, run_id, config, tags, experiment)
        return run_id

    try:
        with store_faults("starting a run"):
            _log_start(client, run_id, config)
            if tags.get("qexp.git_dirty") == "true":
                client.log_text(run_id, uncommitted(), "uncommitted.diff")
        yield record
    except BaseException as error:
        if measured and isinstance(error, TrackingError):
            raise  # its record waits on disk
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with suppress(TrackingError), store_faults("ending a run"):  # the error itself matters more
            if status == "FAILED":
                client.set_tag(run_id, "qexp.error", str(error) if isinstance(error, QexpError) else _bug(error))
            client.set_terminated(run_id, status)
        raise


def _method(config: ExperimentConfig, words: Sequence[str]) -> str:
    """Return the method, and what else sets the job apart from others of its sweep on the same dataset."""
    more = {*swept_keys()} - {"dataset", "quantization"}
    apart = [word.lstrip("+") for word in words if word.lstrip("+").partition("=")[0] in more]
    return " ".join([config.quantization.name, *apart])


def _first_tags(config: ExperimentConfig, words: list[str], reproduces: str | None) -> dict[str, str]:
    """Return what is known before anything is measured: configuration, command, code, and what the run is part of."""
    tags = {
        "qexp.config_hash": config.hash,
        "qexp.command": shlex.join(["qexp", *words]),
        "qexp.reproduce": reproduce_command(words),
        **code_tags(),
    }
    if read := inputs(config):
        tags[INPUTS] = read
    if reproduces:
        tags["qexp.reproduces"] = reproduces
    if sweep := sweep_run():
        tags |= {"mlflow.parentRunId": sweep, "qexp.sweep": sweep, SWEEPS: sweep}
    return tags


def _log_start(client: "MlflowClient", run_id: str, config: ExperimentConfig) -> None:
    """Log the configuration, flat and so that it can be composed again from anywhere, and the machine."""
    log_values(client, run_id, params=_params(config))
    client.log_text(run_id, json.dumps(config.flat(), indent=1), CONFIG_FILE)
    dataset, embedding = with_paths(config.dataset, located), located_encoder(config.embedding)
    from_anywhere = replace(config, dataset=dataset, embedding=embedding)
    client.log_text(run_id, json.dumps(from_anywhere.saved(), indent=1), SAVED_CONFIG)
    client.log_dict(run_id, machine.environment(), ENVIRONMENT_FILE)


def _params(config: ExperimentConfig) -> dict[str, Any]:
    """Return the flat configuration; payload indexes as one value, since fields may have names that MLflow refuses."""
    group = "dataset.payload_indexes"
    values = {key: value for key, value in config.flat().items() if not key.startswith(f"{group}.")}
    return values | {group: json.dumps(config.dataset.payload_indexes)}


def _bug(error: BaseException) -> str:
    """Return one line on an error that is not the user's; the traceback is on the terminal."""
    lines = str(error).strip().splitlines()
    return f"bug: {type(error).__name__}{f': {lines[-1]}' if lines else ''}"


def _record(
    client: "MlflowClient",
    experiment_id: str,
    run_id: str,
    config: ExperimentConfig,
    tags: dict[str, str],
    experiment: Experiment,
) -> None:
    """Write everything that was measured to disk, then log it."""
    root, texts = cache_root(config.cache_dir), _texts(config, experiment)
    text = note(f"{texts[TABLE_FILE]}\n\n{texts[TRUST_FILE]}", f"{TABLE_FILE} and {TRUST_FILE}")
    noisy = {"qexp.noisy": str(experiment.noisy).lower()}
    told = _last_tags(config, tags, experiment)
    record = spool.Spooled(
        store=address(),
        experiment_id=experiment_id,
        run_id=run_id,
        time=int(time.time() * 1000),
        metrics=collection_metrics(experiment),
        tags={"mlflow.note.content": text, **noisy, **told},
        dataset=_dataset_entry(experiment),
        trial_tags={key: value for key, value in tags.items() if key.startswith("qexp.")}
        | noisy
        | {key: told[key] for key in ("qexp.engine", "qexp.validity") if key in told},
        trials=tuple(_spooled_trials(config, experiment, _method(config, shlex.split(tags["qexp.command"])))),
    )
    with spool.taken(root, run_id):
        try:
            folder = spool.new(root)
            spool.write_latencies(experiment, folder / spool.FILES)
            write_sizing(experiment, title(experiment), folder / spool.FILES)
            for name, content in texts.items():
                (folder / spool.FILES / name).write_text(content, encoding="utf-8")
            folder = spool.seal(folder, record)
        except OSError as error:
            raise ConfigError(f"cache_dir={root}: what was measured cannot be kept there: {error.strerror}") from error
        try:
            log_record(client, folder)
        except TrackingError as error:
            raise TrackingError(f"{error}; what was measured is kept in {folder}, and the next qexp logs it") from error


def _texts(config: ExperimentConfig, experiment: Experiment) -> dict[str, str]:
    """Return the artifacts that are text, by name."""
    rows = experiment_rows(config, experiment)
    return {
        TABLE_FILE: markdown(rows, title(experiment)),
        TRUST_FILE: trust(experiment, rows, load_rows(config, experiment)),
        CHECKS_FILE: json.dumps([asdict(check) for check in experiment.checks], indent=1),
        DATASET_FILE: json.dumps(dataset_facts(config, experiment), indent=1),
    }


def _last_tags(config: ExperimentConfig, tags: dict[str, str], experiment: Experiment) -> dict[str, str]:
    """Return what is known once all is measured: what measured it, from which commit of the data, and what is said."""
    facts = experiment.dataset
    told = {
        "qexp.validity": config.validity,
        "qexp.engine": experiment.engine,
        DIGESTS: f"{facts.digest[:8]}-{facts.queries_digest[:8]}",
        TRIALS: str(len(experiment.trials)),
        WARNINGS: "\n".join(experiment.warnings),
        FINDINGS: "\n".join(finding.sentence for finding in experiment.findings),
    }
    if revision := facts.revision:
        words = [*shlex.split(tags["qexp.command"])[1:], f"dataset.revision={revision}"]
        told |= {DATASET_REVISION: revision, "qexp.reproduce": reproduce_command(words)}
    return {key: value for key, value in told.items() if value}


def note(text: str, files: str) -> str:
    """Return a text as a run's note: where it is too long its first lines, and the artifacts that have all of it."""
    if len(text) <= NOTE:
        return text
    rest = f"\n\nThis is cut short: all of it is in the artifacts, {files}."
    return text[: text.rindex("\n", 0, NOTE - len(rest) + 1)] + rest


def _spooled_trials(config: ExperimentConfig, experiment: Experiment, method: str) -> Iterator[spool.SpooledTrial]:
    """Yield the runs below a collection's: trials, then operating points under load; their names begin with `method`.

    A field that is swept is a parameter of theirs too, so that they can be told apart side by side.
    """
    values = config.flat() | _params(config)
    within = tuple(f"{key}." for key in swept_keys() if "." in key)  # of a mapping every value, of a choice its name
    swept = {key: str(value) for key, value in values.items() if key in swept_keys() or key.startswith(within)}
    for trial in experiment.trials:
        row = trial_row(config, experiment, trial)
        yield spool.SpooledTrial(f"{method} {trial.point.title}", row.params | swept, row.metrics)
    for load, row in zip(experiment.loads, load_rows(config, experiment), strict=True):
        name = f"{'baseline' if load.role == 'baseline' else method} {load.point.title}, {load.level.title}"
        yield spool.SpooledTrial(name, row.params | swept, row.metrics, level="load")


def log_record(client: "MlflowClient", folder: Path) -> None:
    """Log what a record holds and the run has not got yet, end the run, and forget the record."""
    record = spool.load(folder)
    with store_faults(f"logging run {record.run_id}"):
        log_values(client, record.run_id, metrics=record.metrics, at=record.time)
        _log_dataset(client, record.run_id, record.dataset)
        client.log_artifacts(record.run_id, str(folder / spool.FILES))
        for key, value in record.tags.items():
            client.set_tag(record.run_id, key, value)
        children = search(record.experiment_id, f"tags.`mlflow.parentRunId` = '{record.run_id}'")
        there = {child.data.tags.get("qexp.trial"): child.info.run_id for child in children}
        for number, trial in enumerate(record.trials):
            tags = {**record.trial_tags, "mlflow.parentRunId": record.run_id, "qexp.trial": str(number)}
            trial_id = there.get(str(number)) or start_run(client, record.experiment_id, trial.name, trial.level, tags)
            log_values(client, trial_id, params=trial.params, metrics=trial.metrics, at=record.time)
            client.set_terminated(trial_id, "FINISHED")
        client.set_terminated(record.run_id, "FINISHED")
    spool.done(folder)


def log_pending(client: "MlflowClient", root: Path) -> None:
    """Log the records that earlier processes have measured for this store and left on disk."""
    for folder in spool.pending(root, address()):
        try:
            with spool.taken(root, folder.name):
                if not folder.exists():
                    continue
                log_record(client, folder)
            log.info("logged run %s, which was measured before", folder.name)
        except BlockingIOError:
            continue
        except TrackingError as error:
            log.warning("%s cannot be logged: %s", folder, error)


def record_verdict(run_id: str, verdict: str, text: str) -> None:
    """Note on a run that measured another again how it went."""
    with store_faults("recording the verdict"):
        client, _ = connect()
        client.set_tag(run_id, "qexp.verdict", verdict)
        client.log_text(run_id, text, "reproduction.md")


def _dataset_entry(experiment: Experiment) -> dict[str, str]:
    """Return the dataset as MLflow has it: what its digest covers, and where it is from.

    Of all runs with one digest MLflow keeps only the first one's entry.
    """
    facts = experiment.dataset
    return {
        "name": facts.title,
        "digest": facts.digest,
        "source_type": "huggingface",
        "source": json.dumps({"path": facts.source} | ({"revision": facts.revision} if facts.revision else {})),
        "schema": json.dumps({"vector": f"float32[{facts.size}]"}),
        "profile": json.dumps({"points": facts.points}),
    }


def _log_dataset(client: "MlflowClient", run_id: str, entry: dict[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    client.log_inputs(run_id, [DatasetInput(Dataset(**entry), [InputTag("mlflow.data.context", "benchmark")])])
