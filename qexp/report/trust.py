"""Why to believe a run's figures: how its rounds ended, what was checked, and how its accuracy came about."""

from collections.abc import Iterable, Sequence

from qexp.report.conditions import cold_grid, load_grid
from qexp.report.elements import Grid
from qexp.report.frontier import point
from qexp.report.markdown import element_markdown, table_markdown
from qexp.report.words import notes
from qexp.results import Check, Experiment, Row

LOSS = ("operating point", "HNSW on floats", "graph built with codes", "codes", "rescoring", "recall")
LOSS_SAID = "From exact search (100) down, in points of recall: what each step costs, and what rescoring wins back."
_STEPS = (("loss_hnsw", -1), ("loss_code_graph", -1), ("loss_codes", -1), ("gain_rescoring", 1))


def trust(experiment: Experiment, rows: Sequence[Row], loads: Sequence[Row]) -> str:
    """Return as Markdown the end of the rounds, the warnings, the split of the loss and the validity table.

    `rows` and `loads` are the experiment's under their public names; what was measured cold and under load is told.
    """
    parts = [f"Rounds: {experiment.stop}."]
    if experiment.noisy:
        parts.append(
            "**Noisy**: the baseline differs from itself in this run; the interval of every trial's speedup, those "
            "under load excepted, is widened by as much."
        )
    parts += notes(experiment.warnings)
    if loss := loss_grid((point(row.params), row) for row in rows):
        parts += [LOSS_SAID, element_markdown(loss)]
    parts += [*map(element_markdown, condition_grids(rows, loads)), validity_table(experiment.checks)]
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
            own = [check for check in checks if (check.trap, check.verdict) == (trap, verdict)]
            if said := list(dict.fromkeys(check.detail or check.what for check in own)):
                more = f" (and {len(said) - 2} more like it)" if len(said) > 2 else ""
                lines.append((trap, verdict, f"{'; '.join(said[:2])}{more}"))
    return table_markdown(("trap", "verdict", "what was checked"), lines)


def loss_grid(named: Iterable[tuple[str, Row]]) -> Grid | None:
    """Return where the recall of rows, each with its name, is lost, in points of 100; None where nothing is split."""
    lines = []
    for name, row in named:
        if all(step in row.metrics for step, _ in _STEPS):
            steps = (f"{100 * sign * row.metrics[step]:+z.1f}" for step, sign in _STEPS)
            lines.append((name, *steps, f"{100 * row.metrics['recall']:.1f}"))
    return Grid(LOSS, tuple(lines)) if lines else None
