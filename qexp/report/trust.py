"""Why to believe figures: how rounds ended, how controls did, what was checked, and how accuracy came about."""

from collections.abc import Iterable, Sequence

from qexp.report.conditions import cold_grid, load_grid
from qexp.report.elements import Bullets, Element, Grid, Heading, Paragraph
from qexp.report.frontier import point
from qexp.report.markdown import element_markdown, table_markdown
from qexp.report.recommend import Recommendation
from qexp.report.record import MOST_NAMES, CollectionRecord, checks, warnings
from qexp.report.words import notes, speedup
from qexp.results import CONTROL_TOO_WIDE, Check, Experiment, Row

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


def belief(collections: list[CollectionRecord], decided: Recommendation) -> list[Element]:
    """Return how the control of every job of a report did, once for every hnsw_ef, and what was checked."""
    rows = []
    noisy, blind = [], []
    widest = 1.0
    for one, job in zip(collections, _jobs(collections, decided), strict=True):
        bases = [row for row in one.rows if row.baseline]
        for base in bases:
            ef = f", ef {base.params['hnsw_ef']}" if len(bases) > 1 else ""
            control, name = speedup(base), f"{job}{ef}"
            told = control.halfwidth <= CONTROL_TOO_WIDE * float(one.config["search.target_halfwidth"])
            if control.distinguishable:
                noisy.append(name)
            elif told:
                widest = max(widest, control.high, 1 / control.low)
            else:
                blind.append(name)
            rows.append(
                (
                    name,
                    f"{control.estimate:.3f} ({control.between(3)})",
                    "fails: noisy" if control.distinguishable else "holds" if told else "too wide to say",
                    f"{base.metrics['recall']:.3f}",
                    f"{one.metrics.get('rounds', one.config['search.rounds']):g}",
                )
            )
    header = ("job", "baseline against itself (A/A)", "control", "baseline's recall", "rounds")
    said = [f"The control fails in {_some(noisy, rows)}: read those speedups with care."] if noisy else []
    if blind:
        said.append(f"In {_some(blind, rows)} the control is too wide to say whether the machine was steady.")
    if len(noisy) + len(blind) < len(rows):
        where = "the others" if said else "every job"
        said.append(f"In {where} the baseline, measured twice, cannot be told from itself (within {widest:.2f}×).")
    return [Heading("Why to believe it"), Paragraph(" ".join(said)), Grid(header, tuple(rows)), *_checks(collections)]


def _jobs(collections: Sequence[CollectionRecord], decided: Recommendation) -> list[str]:
    """Return the name of every job; those of one name, as where a grid was measured and tuned too, are numbered."""
    names = [decided.name(one.key) for one in collections]
    return [
        f"{name} (job {names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _some(names: Sequence[str], rows: Sequence[object]) -> str:
    """Return jobs by their names, one of which may be `none`; only their number where the table has many."""
    if len(names) == len(rows) > 1:
        return "every job"
    told = f"job{'s' if len(names) > 1 else ''} {', '.join(names)}"
    return told if len(names) <= MOST_NAMES else f"{len(names)} of {len(rows)} jobs"


def _checks(collections: list[CollectionRecord]) -> list[Element]:
    """Return what was looked for that would have made a figure wrong, warnings first."""
    rows = tuple(checks(collections))
    if not rows:
        return []
    said = tuple(notes(warnings(collections)))
    elements: list[Element] = [Bullets(said)] if said else []
    return [*elements, Grid(("trap", "verdict", "what was checked"), rows, folded=f"{len(rows)} checks")]
