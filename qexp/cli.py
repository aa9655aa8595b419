"""The command: Hydra composes, the runner measures, errors become one line and an exit code."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import FrozenInstanceError
from functools import partial
from typing import TYPE_CHECKING, Any

from qexp import __version__
from qexp.config import ExperimentConfig, known_keys, register_schema
from qexp.environment import MAIN_PROCESS, as_multirun, in_main_process, in_multirun, remedy, repeat, sweep_run
from qexp.errors import ConfigError, QexpError, Refused, near_miss
from qexp.mendable import mendable, not_given
from qexp.paths import packaged
from qexp.streams import BAD_INPUT, BUG, INTERRUPTED, OK, command, complain, interrupts_kept
from qexp.swept import kept_words, own_folder, resolved, task_words
from qexp.usage import (
    GROUPS,
    SOURCE,
    check_words,
    config_dir,
    expanded,
    from_anywhere,
    help_text,
    quoted,
    terminal_width,
)

if TYPE_CHECKING:
    from qexp.results import Row

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.05  # after which an interrupt that Python has swallowed comes again


@command("qexp")
def main() -> int:
    """Run `qexp` with the words of the command line; exit with 0, 1 (a bug), 2 (bad input) or 130 (interrupted)."""
    words = sys.argv[1:]
    with suppress(ConfigError):  # said where it is recorded too
        words = expanded(words)
    if {"--help", "-h"} & set(words):
        print(help_text(terminal_width(), config_dir(words)))
        return OK
    if "--version" in words:
        print(f"qexp {__version__}")
        return OK
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting, so that we can do both well
    os.environ[MAIN_PROCESS] = str(os.getpid())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which nohup sets
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    sys.unraisablehook = _unraisable
    try:
        return _run()
    except KeyboardInterrupt:  # once more, between one line and the next
        return _unconcluded(sweep_run())


def _run() -> int:
    """Run all jobs and end their sweep, however they end; return the exit code."""
    code, status, reason = BUG, "FAILED", ""
    try:
        code = _run_jobs()
        status = "FINISHED" if code == OK else "FAILED"
    except KeyboardInterrupt:
        code, status = INTERRUPTED, "KILLED"
        on = f"; to go on, {repeat(sweep_run())}" if in_multirun() else ""
        _complain(f"interrupted; what was finished is recorded{on}")
    except QexpError as error:
        reason = str(error)
        code = _complain(reason)
    except SystemExit as end:  # Hydra's, which has said what one of its flags cannot do
        code = BAD_INPUT if end.code else OK
    except Exception as error:
        reason = mendable(error, sys.argv[1:])
        if not reason:
            reason = f"bug: {type(error).__name__}"
            raise
        code = _complain(reason)
        if isinstance(error, BrokenExecutor):
            status = "KILLED"
    finally:
        ended = _end_sweep(status, reason)
    return max(code, ended)


def _run_jobs() -> int:
    if "MLFLOW_RUN_ID" in os.environ:
        from qexp import sweep

        sweep.adopt_mlflow_run()  # first, so that what is wrong with the words is recorded with it
    sys.argv[1:] = expanded(sys.argv[1:])
    check_words(sys.argv[1:])
    _hydra_main()
    return max(_job_codes, default=OK)


_job_codes: list[int] = []


@interrupts_kept()
def _hydra_main() -> None:
    import hydra

    register_schema()
    try:
        hydra.main(version_base="1.3", config_path=str(packaged("conf")), config_name="config")(_job)()
    except Refused as refused:
        raise refused.reason from refused.reason.__cause__


def _job(composed: Any) -> list[float] | None:
    """Run one job of Hydra's and return its objectives. Bad input of a job here does not stop the jobs after it."""
    from hydra.core.hydra_config import HydraConfig

    if not in_main_process():
        multiprocessing.set_start_method("spawn", force=True)  # joblib's own is unknown to the workers of a job
        threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        rows = _experiment(composed)
        found = objectives(rows)
        if found is None and in_multirun() and "direction" in HydraConfig.get().sweeper:  # it learns from them
            from qexp.report.verdict import QUERIES

            raise QexpError(
                f"{len(rows)} rows, or no P95: a sweeper that optimizes needs jobs of one operating point, and 100 "
                f"queries ({QUERIES})"
            )
        return found
    except QexpError as error:
        if not in_main_process():
            raise
        _job_codes.append(_complain(str(error)))
        return None


def _experiment(composed: Any) -> "list[Row]":
    """Measure the experiment, or find it measured, and return its rows."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from qexp import display, sweep
    from qexp.rows import experiment_rows

    hydra_config = HydraConfig.get()
    config = _config(composed, hydra_config)
    multirun = hydra_config.mode == RunMode.MULTIRUN
    if config.sweep.resume and not multirun:
        add = f"add {as_multirun()} and what it swept"
        raise QexpError(f"sweep.resume={config.sweep.resume}: only a multirun can be resumed; {add}")
    if multirun:
        sweep.progress(hydra_config.job.num, task_words(hydra_config))
    elif hydra_config.sweeper.get("params"):
        log.warning(_only(composed, hydra_config))
    alone = not multirun and sweep_run() is None
    if not alone:
        sweep.judge_by(config.slo, first=not multirun or hydra_config.job.num == 0)
    if found := sweep.finished(config):
        run_id, rows = found
        if alone:
            display.show(rows, f"{config.dataset.title}: measured before")
            display.show_decision(rows, config.slo, run_id)
        return rows
    from qexp.runner import run  # here, because what is measured already needs none of it

    started = time.perf_counter()
    _, experiment = run(config, _words(composed, hydra_config))
    sweep.took(time.perf_counter() - started)
    rows = experiment_rows(config, experiment)
    if alone:
        display.show_experiment(config, experiment, rows)
    return rows


def _config(composed: Any, hydra_config: Any) -> ExperimentConfig:
    """Return the experiment that Hydra has composed; raise QexpError for what is missing, or no field of it."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        choice = hydra_config.runtime.choices.get("dataset")
        if choice == "source_collection" and not OmegaConf.select(composed, SOURCE):
            raise QexpError(f"dataset=source_collection: names no collection; add engine=server {SOURCE}=NAME")
        if missing := sorted(OmegaConf.missing_keys(composed)):
            raise QexpError(not_given(missing[0]))
        config = OmegaConf.to_object(composed)
    except FrozenInstanceError as error:
        name = str(error).split("'")[1]
        raise QexpError(f"{name}: no such field{near_miss(name, known_keys())}") from error
    except OmegaConfBaseException as error:  # a `${…}` that leads nowhere
        raise QexpError(mendable(error, [])) from error
    assert isinstance(config, ExperimentConfig)
    return config


def _only(composed: Any, hydra_config: Any) -> str:
    """Return the warning that a preset would sweep what has a single value here."""
    from omegaconf import OmegaConf

    choices = hydra_config.runtime.choices
    values = {key: choices.get(key) or OmegaConf.select(composed, key) for key in hydra_config.sweeper.params}
    told = " ".join(f"{key}={value}" for key, value in values.items())
    preset = f"experiment={choices.experiment}" if choices.get("experiment") else "hydra.sweeper.params"
    return f"{preset} is a sweep: without {as_multirun()} only {told} is measured"


def _words(composed: Any, hydra_config: Any) -> list[str]:
    """Return words that compose the job's experiment whatever the defaults are: every choice, then the overrides.

    Before them, where choices of the user's own are.
    """
    choices = hydra_config.runtime.choices
    rest = [word for word in kept_words(task_words(hydra_config)) if word.split("=", 1)[0] not in GROUPS]
    chosen = quoted([f"{group}={choices[group]}" for group in GROUPS if choices.get(group) is not None])
    return [*own_folder(hydra_config), *chosen, *(from_anywhere(resolved(word, composed)) for word in rest)]


def objectives(rows: "list[Row]") -> list[float] | None:
    """Return accuracy retention, P95 in ms and RAM in MiB of an experiment of one operating point, for a sweeper."""
    trials = [row.metrics for row in rows if row.trial]
    names = ("accuracy_retention", "latency_p95_ms", "ram_estimated_mib")
    if len(trials) != 1 or any(name not in trials[0] for name in names):
        return None
    return [trials[0][name] for name in names]


def _end_sweep(status: str, reason: str = "") -> int:
    """End the sweep's run, if there is one, and show its table, whatever became of its jobs; return the exit code.

    `reason` is why the sweep as a whole failed, if it did.
    """
    run_id = sweep_run()
    if not run_id:
        return OK
    try:
        from qexp import display, sweep

        rows, title = sweep.finish(run_id, status, reason)
        cliff = sweep.finish_cliff(run_id, title)
        if status == "FINISHED" and not rows:
            raise QexpError("the sweep has no jobs: nothing matches its glob(…), or they are in another experiment")
        display.show(rows, title, cliff, run_id)
        if not all(row.failed for row in rows):
            _decide(run_id)
    except QexpError as error:
        on = f"; {remedy(run_id)}" if sweep_run() and remedy(run_id) not in str(error) else ""
        return _complain(f"{error}{on}")
    except KeyboardInterrupt:
        return _unconcluded(run_id)
    return OK


def _unconcluded(run_id: str | None) -> int:
    """Say how to conclude the sweep, if there is one; return the exit code."""
    if run_id:
        _complain(f"interrupted while the sweep was concluded; {remedy(run_id)}")
    return INTERRUPTED


def _decide(run_id: str) -> None:
    """Print what the sweep recommends, and write its report and deploy files beside Hydra's output."""
    from qexp import sweep
    from qexp.commands import conclude
    from qexp.report.terminal import console

    log.info("deciding, and writing the report")
    out = console()
    out.print()
    for line in conclude(run_id, sweep.folder() / "report"):
        out.print(line, markup=False, soft_wrap=True)


def _die_with_parent(parent: int) -> None:
    """End this process of a launcher when the launcher was killed, so that no job outlives its sweep unseen."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(BUG)


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    """Interrupt again where the interrupt came while an object was finalized, in which Python only reports it."""
    if issubclass(found.exc_type, KeyboardInterrupt):
        # From another thread and later, for here it would only be reported again.
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(found)


_complain = partial(complain, "qexp")
