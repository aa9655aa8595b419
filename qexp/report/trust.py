"""Why to believe a run's figures: how its rounds ended, what was checked, and how its accuracy came about."""

from collections.abc import Sequence

from qexp.report.blocks import Grid
from qexp.report.conditions import cold_grid, load_grid
from qexp.report.markdown import block_markdown, table_markdown
from qexp.report.words import notes
from qexp.results import Check, Experiment, Row

LOSS = (
    "recall points",
    "exact search",
    "lost to HNSW",
    "to the codes' graph",
    "to codes",
    "won by rescoring",
    "recall",
)


def trust(experiment: Experiment, rows: Sequence[Row], loads: Sequence[Row]) -> str:
    """Return as Markdown the end of the rounds, the warnings, the split of the loss and the validity table.

    `rows` and `loads` are the experiment's under their public names; what was measured cold and under load is told.
    """
    parts = []
    if experiment.stop is not None:
        parts.append(f"Rounds: {experiment.stop}.")
    if experiment.noisy:
        parts.append("**Noisy**: the baseline differs from itself in this run; every interval is widened by as much.")
    parts += notes(experiment.warnings)
    tables = [loss_table(experiment), *map(block_markdown, condition_grids(rows, loads))]
    parts += [*filter(None, tables), validity_table(experiment.checks)]
    return "\n\n".join(parts)


def condition_grids(rows: Sequence[Row], loads: Sequence[Row]) -> list[Grid]:
    """Return a job's tables of cold searches and of load, where there were any."""
    name = rows[-1].params["quantization"]
    grids = (cold_grid((name, row) for row in rows), load_grid((name, row) for row in loads))
    return [grid for grid in grids if grid]


def validity_table(checks: Sequence[Check]) -> str:
    """Return one line for each trap and verdict; checks of the same trap are put together."""
    lines = []
    for trap in sorted({check.trap for check in checks}):
        for verdict in ("warning", "not known", "held", "by construction"):
            said = list(
                dict.fromkeys(
                    check.detail or check.what for check in checks if (check.trap, check.verdict) == (trap, verdict)
                )
            )
            if said:
                more = f" (and {len(said) - 2} more like it)" if len(said) > 2 else ""
                lines.append((trap, verdict, f"{'; '.join(said[:2])}{more}"))
    return table_markdown(("trap", "verdict", "what was checked"), lines)


def loss_table(experiment: Experiment) -> str:
    """Return where each trial's recall is lost, in points of 100; empty where there is nothing to split."""
    lines = []
    for trial in experiment.trials:
        if loss := trial.loss:
            steps = (-loss.hnsw, -loss.graph, -loss.coding, loss.rescoring)
            cells = (f"{100 * step:+.1f}" for step in steps)
            lines.append((trial.point.title, "100.0", *cells, f"{100 * loss.trial:.1f}"))
    return table_markdown(LOSS, lines) if lines else ""
