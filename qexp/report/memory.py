"""Memory and money of one job: predicted beside measured, for the quantized collection and its baseline."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from qexp.report.markdown import table_markdown
from qexp.report.terminal import Column, fitted
from qexp.results import MIB, Collection, Experiment
from qexp.results.footprint import Bill, Comparison, Cost, ProcessMemory

COLUMNS = (
    "component",
    "wanted in",
    "RAM\nguide",
    "RAM\npredicted",
    "RAM\nloaded",
    "RAM\nwarm",
    "RAM\nat the end",
    "RAM\noff by",
    "file\npredicted",
    "file",
    "file\noff by",
)
BILL_COLUMNS = ("one copy", "RAM MiB", "disk MiB", "machines", "USD/month", "USD/year", "saves USD/month")
# Places of the columns that go where a terminal is too narrow for all, the first first.
SPARE = (2, 10, 8, 9, 4, 5)
BILL_SPARE = (5, 2, 3)
_NEED = {"resident": "RAM, pinned", "hot": "RAM", "disk": "disk"}


def memory_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return the table's cells, MiB and percent; what is unknown is empty."""
    rows = [
        [
            part.name,
            _NEED[part.need] if part.predicted else "",
            _mib(part.guide or None),
            _mib(part.predicted or None),
            _mib(part.loaded),
            _mib(part.warm),
            _mib(part.resident),
            _percent(part.ram_disagreement),
            _mib(part.predicted_file or None),
            _mib(part.file),
            _percent(part.file_disagreement),
        ]
        for part in comparisons
    ]
    return [*rows, _sums(comparisons)]


def _sums(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a last row: what RAM is wanted, what is resident, and all files, as `ls -l` adds up."""
    wanted = [part for part in comparisons if part.need != "disk"]

    def total(values: Iterable[int | None]) -> str:
        known = [value for value in values if value is not None]
        return _mib(sum(known)) if known else ""

    return [
        "together",
        "",
        total(part.guide for part in wanted),
        total(part.predicted for part in wanted),
        total(part.loaded for part in comparisons),
        total(part.warm for part in comparisons),
        total(part.resident for part in comparisons),
        "",
        total(part.predicted_file for part in comparisons),
        total(part.file for part in comparisons),
        "",
    ]


def memory_table(collection: Collection, title: str, width: int) -> Table:
    """Return predicted and measured memory for a terminal of `width` characters."""
    columns = [Column(name, left=place < 2) for place, name in enumerate(COLUMNS)]
    return fitted(title, columns, memory_rows(collection.comparisons), width, SPARE)


def bill_table(cost: Cost, width: int) -> Table:
    """Return the bills for a terminal of `width` characters."""
    columns = [Column(name, left=place == 0) for place, name in enumerate(BILL_COLUMNS)]
    return fitted(_bill_title(cost), columns, bill_rows(cost), width, BILL_SPARE)


def _bill_title(cost: Cost) -> str:
    return f"{cost.points:,} points: {cost.usd_month_per_million:.2f} USD/month for a million"


def memory_markdown(experiment: Experiment) -> str:
    """Return predicted and measured memory of both collections, their processes, and the bill, as Markdown."""
    lines = []
    for role, collection in (("quantized", experiment.quantized), ("baseline", experiment.baseline_collection)):
        lines += [f"**{role}: {collection.name}** (MiB)", ""]
        lines.append(table_markdown(COLUMNS, memory_rows(collection.comparisons)))
        if collection.memory and collection.memory.process:
            lines += ["", f"Process of the {role} collection: {process_text(collection.memory.process)}"]
        lines.append("")
    lines += [f"**{_bill_title(experiment.cost)}**", ""]
    return "\n".join([*lines, table_markdown(BILL_COLUMNS, bill_rows(experiment.cost))])


def process_text(process: ProcessMemory) -> str:
    """Return a process's resident memory by kind, its peak, and its page faults so far."""
    return (
        f"{_mib(process.anonymous)} MiB anonymous, {_mib(process.file)} MiB of files, {_mib(process.shared)} MiB "
        f"shared, {_mib(process.peak)} MiB at peak; {process.minor:,} minor and {process.major:,} major page faults"
        + (f", {_mib(process.read)} MiB read from disk" if process.read is not None else "")
    )


def bill_rows(cost: Cost) -> list[list[str]]:
    """Return the bills by prediction, by measured bytes, and by the published formula."""
    rows = [
        _bill("baseline, predicted", cost.baseline, None),
        _bill("quantized, predicted", cost.predicted, cost.savings_usd_month),
    ]
    if cost.baseline_measured and cost.measured:
        rows += [
            _bill("baseline, measured", cost.baseline_measured, None),
            _bill("quantized, measured", cost.measured, cost.measured_savings_usd_month),
        ]
    if cost.theory is not None and cost.theory_baseline is not None:
        rows += [
            ["baseline, theory", "", "", "", *_usd(cost.theory_baseline, None)],
            ["quantized, theory", "", "", "", *_usd(cost.theory, cost.theory_savings_usd_month)],
        ]
    return rows


def _bill(name: str, bill: Bill, saves: float | None) -> list[str]:
    sizes = (_mib(bill.ram_bytes), _mib(bill.disk_bytes))
    return [name, *sizes, bill.machines or "", *_usd(bill.usd_month, saves)]


def _usd(month: float, saves: float | None) -> list[str]:
    """Return the cells of a bill, US dollars: a month, a year, and what it saves a month."""
    return [f"{month:.2f}", f"{12 * month:.2f}", "" if saves is None else f"{saves:z.2f}"]


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size / MIB:,.1f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+z.1f} %"
