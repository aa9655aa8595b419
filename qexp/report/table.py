"""The table of all trials: for the terminal, and as Markdown for the run's note."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from qexp.report.elements import Grid
from qexp.report.frontier import questions
from qexp.report.markdown import bullets, literal, table_markdown
from qexp.report.settings import varying
from qexp.report.terminal import WORDS, Cell, Column, fitted
from qexp.results import Interval, Row

COLUMNS = (
    "quantization",
    "re-\nscore",
    "over-\nsampling",
    "mean\nms",
    "P95\nms",
    "speedup\n(95 % interval)",
    "accuracy\nretention",
    "recall",
    "codes\nsmaller",
    "RAM\nMiB",
    "saves\nUSD/month",
)
SERVER = "server\nms"  # only where there is one
LABELS = {"nDCG": "ndcg", "MRR": "mrr"}  # only with labels
# Where a terminal is too narrow for all, the first of these goes first.
SPARE = ("MRR", "nDCG", "codes\nsmaller", "recall", SERVER, "saves\nUSD/month", "P95\nms", "RAM\nMiB")
SPEEDUP = 19  # characters that suffice for all but a noisy control
INDISTINGUISHABLE = "≈"
NOISY = "noisy"
GOOD_RETENTION = 0.95


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the columns; the server's own mean time beside the client's, and what labels say, if any row has it."""
    shown = list(COLUMNS)
    if any("server_latency_mean_ms" in row.metrics for row in rows):
        shown.insert(shown.index("P95\nms"), SERVER)
    labelled = [name for name, metric in LABELS.items() if any(metric in row.metrics for row in rows)]
    place = shown.index("codes\nsmaller")
    return (*shown[:place], *labelled, *shown[place:])


def cells(row: Row, shown: Sequence[str] = COLUMNS) -> list[str]:
    """Return one row's cells as text, in the order of the columns; what is unknown is empty."""
    metrics = row.metrics

    def number(name: str, form: str) -> str:
        return format(metrics[name], form) if name in metrics else ""

    return [
        row.params["quantization"] + (" failed" if row.failed else ""),
        {"true": "on", "false": "off"}.get(row.params.get("rescore", "").lower(), ""),
        f"{float(row.params['oversampling']):g}×" if "oversampling" in row.params else "",
        number("latency_mean_ms", ".3f"),
        *([number("server_latency_mean_ms", ".3f")] if SERVER in shown else []),
        number("latency_p95_ms", ".3f"),
        speedup_text(metrics, control=row.baseline),
        number("accuracy_retention", ".3f"),
        number("recall", ".3f"),
        *(number(metric, ".3f") for name, metric in LABELS.items() if name in shown),
        f"{metrics['compression_ratio']:.1f}×" if "compression_ratio" in metrics else "",
        number("ram_estimated_mib", ".1f"),
        number("savings_usd_month", "z.2f"),
    ]


def speedup_text(metrics: dict[str, float], control: bool = False) -> str:
    """Return `1.42× (1.35–1.50)`, marked where the interval contains 1: no measurable difference.

    For the A/A control it is the other way round: it is marked as noisy where the interval does not contain 1.
    """
    speedup = Interval.of(metrics, "speedup_mean")
    if speedup is None:
        return ""
    mark = NOISY if control else ""
    return f"{speedup.ratio} {mark if speedup.distinguishable else INDISTINGUISHABLE}".rstrip()


def _by_question(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with those together that may be compared: the order of a sweep's words may mix them."""
    return [row for asked in questions(rows) for row in asked]


def rich_table(rows: Sequence[Row], title: str, width: int) -> Table:
    """Return the table for a terminal of `width` characters, one section per collection."""
    rows = _by_question(rows)
    extra, shown = varying(rows), columns(rows)
    last, starts = None, []
    for number, row in enumerate(rows):
        section = (row.params["quantization"], *(row.params.get(name) for name in extra if name != "hnsw_ef"))
        if last not in (None, section):
            starts.append(number)
        last = section
    told_by = [Column(name.replace("_", "\n"), left=True, folds=WORDS) for name in extra]
    folds = {shown[0]: WORDS, "speedup\n(95 % interval)": SPEEDUP}
    figures = [Column(name, name == shown[0], folds.get(name)) for name in shown]
    spare = [len(extra) + shown.index(name) for name in SPARE if name in shown]
    texts: list[list[Cell]] = [[*(row.params.get(name, "") for name in extra), *_styled(row, shown)] for row in rows]
    return fitted(title, [*told_by, *figures], texts, width, spare, starts)


def grid_table(grid: Grid, width: int, spare: Sequence[str]) -> Table:
    """Return a report's table for a terminal of `width` characters; the columns named in `spare` may go."""
    columns = [
        Column(name.replace(" ", "\n", 1) if figures else name, not figures, SPEEDUP if figures else WORDS)
        for name, figures in zip(grid.header, grid.figures, strict=True)
    ]
    places = [grid.header.index(name) for name in spare if name in grid.header]
    return fitted(None, columns, grid.rows, width, places)


def _styled(row: Row, shown: Sequence[str]) -> Iterable[Text]:
    baseline = row.baseline
    for name, text in zip(shown, cells(row, shown), strict=True):
        style = "dim" if baseline else "red" if row.failed else ""
        if not baseline and name.startswith("speedup") and INDISTINGUISHABLE not in text and text:
            style = "green" if row.metrics["speedup_mean"] > 1 else "red"
        if not baseline and name.startswith("accuracy") and row.metrics.get("accuracy_retention", 0) >= GOOD_RETENTION:
            style = "green"
        yield Text(text, style=style)


def markdown(rows: Sequence[Row], title: str) -> str:
    """Return the same table as Markdown."""
    rows = _by_question(rows)
    extra = varying(rows)
    shown = columns(rows)
    header = [*(name.replace("_", " ") for name in extra), *shown]
    table = table_markdown(header, ([*(row.params.get(n, "") for n in extra), *cells(row, shown)] for row in rows))
    return "\n\n".join(filter(None, (f"**{literal(title)}**", table, bullets(failures(rows)), LEGEND)))


def failures(rows: Sequence[Row]) -> list[str]:
    """Return one line for every collection that failed: the name of its run, and why."""
    return [f"{row.params['run']} failed: {row.params['error']}" for row in rows if row.failed]


LEGEND = (
    f"{INDISTINGUISHABLE} marks a speedup whose 95 % interval contains 1: no measurable difference. "
    "In a noisy run the baseline differs measurably from itself, and trials' intervals are widened by as much. "
    "RAM is what the collection needs in memory, predicted for the points measured; savings are against the "
    "unquantized baseline, with cost.target_points those of that many points."
)
