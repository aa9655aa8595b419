"""What a run prints when it has ended: tables, notes, and where to compare."""

import os
import sys
from collections.abc import Sequence
from shutil import which

from rich.text import Text

from qexp.config import ExperimentConfig, SloConfig
from qexp.report import cliff as cliff_report
from qexp.report.bodies import patch_line
from qexp.report.conditions import SPARE
from qexp.report.elements import Grid
from qexp.report.memory import bill_table, memory_table, process_text
from qexp.report.recommend import recommend
from qexp.report.table import LEGEND, failures, grid_table, rich_table
from qexp.report.terminal import console
from qexp.report.trust import condition_grids
from qexp.report.verdict import verdict_lines
from qexp.report.words import notes
from qexp.results import Experiment, Row
from qexp.results.footprint import Cliff
from qexp.rows import load_rows, title, unlogged
from qexp.store import without_password


def show_experiment(config: ExperimentConfig, experiment: Experiment, rows: list[Row]) -> None:
    """Print all of an experiment that is no part of a sweep: memory, trials, and what is recommended."""
    show_memory(experiment)
    also = condition_grids(rows, load_rows(config, experiment))
    findings = [f"{one.sentence}." for one in experiment.findings]
    show(rows, title(experiment), experiment.cliff, None, [*notes(experiment.warnings), *findings], also)
    decided = recommend(rows, config.slo)
    patch = patch_line(unlogged(config, experiment, rows), decided.choice.row) if decided.choice else []
    print("", *verdict_lines(decided), *patch, _where_to_report("last"), sep="\n")


def show_decision(rows: Sequence[Row], slo: SloConfig, run_id: str) -> None:
    """Print what is recommended of an experiment that a run before had measured."""
    print("", *verdict_lines(recommend(rows, slo)), _where_to_report(run_id), sep="\n")


def show_memory(experiment: Experiment) -> None:
    """Print predicted beside measured memory of both collections, and the bill."""
    out = console()
    for role, collection in (("quantized", experiment.quantized), ("baseline", experiment.baseline_collection)):
        out.print(memory_table(collection, f"memory of the {role} collection, MiB", out.width), crop=False)
        if collection.memory and collection.memory.process:
            out.print(f"Its process: {process_text(collection.memory.process)}.\n", style="dim")
    out.print(bill_table(experiment.cost, out.width), crop=False)


def show(
    rows: Sequence[Row],
    title: str,
    cliff: Cliff | None = None,
    sweep_id: str | None = None,
    said: Sequence[str] = (),
    also: Sequence[Grid] = (),
) -> None:
    """Print the table, what failed, what is said of it, more tables, and where to compare.

    What happens under memory caps has a table of its own if it was measured.
    """
    out = console()
    measured = not all(row.failed for row in rows)
    if rows:
        out.print()
        out.print(rich_table(rows, title, out.width) if measured else Text(title), crop=False)
        for failure in failures(rows):
            out.print(failure, style="red", markup=False)
    if measured:
        out.print(LEGEND, style="dim")
        for line in said:
            out.print(line, markup=False, soft_wrap=True)
        for grid in also:
            out.print()
            out.print(grid_table(grid, out.width, SPARE), crop=False)
    if cliff:
        out.print()
        out.print(cliff_report.cliff_table(cliff, out.width), crop=False)
        out.print("\n".join(cliff_report.floors(cliff)), markup=False)
        out.print(cliff_report.LEGEND, style="dim")
    if measured:
        out.print("\nCompare in MLflow: ", end="")
        out.print(_where_to_compare(), style="bold", markup=False, soft_wrap=True)
    if sweep_id and measured:
        out.print("then search for the trials, sort by a metric, and tick metrics under Columns:")
        chosen = f"  tags.`qexp.level` = 'trial' AND tags.`qexp.sweeps` LIKE '%{sweep_id}%'"
        out.print(chosen, style="bold", soft_wrap=True)


def _where_to_compare() -> str:
    """Return the address of the tracking server, or the command that shows the store in a browser."""
    store = without_password(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if store.startswith(("http://", "https://")):
        return store
    return f"{_command('mlflow')} ui{f' --backend-store-uri {store}' if store else ''}"


def _where_to_report(run: str) -> str:
    return f"Report and deploy files: {_command('qexp-report')} {run}"


def _command(name: str) -> str:
    """Return how to call what is installed beside this Python: by its path, unless the shell finds it."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    return os.path.relpath(beside) if os.path.exists(beside) and which(name) != beside else name
