"""Memory, money and cliff of one job for the record: metrics under their public names, and files."""

from pathlib import Path

from qexp.report import cliff as cliff_report
from qexp.report.memory import memory_markdown
from qexp.report.plots_memory import cliff_picture
from qexp.results import MIB, Collection, Experiment, OperatingPoint
from qexp.results.footprint import Cliff, Cost

CLIFF_FILE = "cliff.json"


def memory_metrics(collection: Collection) -> dict[str, float]:
    """Return predicted and measured memory by component, and the process's own; what is unknown is left out."""
    found: dict[str, float | None] = {}
    for part in collection.comparisons:
        name = part.name.replace(" ", "_")
        for kind, size in {
            "predicted": part.predicted or None,
            "guide": part.guide or None,
            "loaded": part.loaded,
            "warm": part.warm,
            "resident": part.resident,
        }.items():
            found[f"{name}_{kind}_mib"] = None if size is None else size / MIB
        found[f"{name}_ram_off_percent"] = part.ram_disagreement
        found[f"{name}_file_off_percent"] = part.file_disagreement
    found["ram_hot_measured_mib"] = None if collection.hot_bytes is None else collection.hot_bytes / MIB
    process = collection.memory.process if collection.memory else None
    if process:
        for kind in ("anonymous", "file", "shared", "peak"):
            found[f"process_{kind}_mib"] = getattr(process, kind) / MIB
        found |= {"process_major_faults": process.major, "process_minor_faults": process.minor}
    return {name: float(value) for name, value in found.items() if value is not None}


def cost_metrics(cost: Cost) -> dict[str, float]:
    """Return the bill, by prediction, by measured bytes, and by the published formula."""
    found = {
        "ram_cost_usd_month": cost.predicted.ram_usd_month,
        "disk_cost_usd_month": cost.predicted.disk_usd_month,
        "savings_usd_month": cost.savings_usd_month,
        "savings_usd_year": cost.savings_usd_year,
        "cost_usd_month_per_million": cost.usd_month_per_million,
        "cost_measured_usd_month": cost.measured.usd_month if cost.measured else None,
        "savings_measured_usd_month": cost.measured_savings_usd_month,
        "cost_theory_usd_month": cost.theory,
        "savings_theory_usd_month": cost.theory_savings_usd_month,
    }
    return {name: value for name, value in found.items() if value is not None}


def floor_metrics(experiment: Experiment, method: str, point: OperatingPoint, prefix: str = "") -> dict[str, float]:
    """Return the smallest memory cap that a configuration stands, and the largest that it does not, where known."""
    if not (cliff := experiment.cliff):
        return {}
    caps = {"ram_floor_mib": cliff.floor(method, point.title), "ram_fallen_mib": cliff.fallen(method, point.title)}
    return {f"{prefix}{name}": cap / MIB for name, cap in caps.items() if cap}


def write_sizing(experiment: Experiment, title: str, folder: Path) -> None:
    """Write what was predicted and measured of memory and money, and the cliff where there is one."""
    (folder / "memory.md").write_text(memory_markdown(experiment), encoding="utf-8")
    if experiment.cliff:
        (folder / CLIFF_FILE).write_text(cliff_report.to_json(experiment.cliff), encoding="utf-8")
        write_cliff(experiment.cliff, title, folder)


def write_cliff(cliff: Cliff, title: str, folder: Path) -> None:
    """Write a cliff to be read: as Markdown and as a picture."""
    (folder / "cliff.md").write_text(cliff_report.markdown(cliff), encoding="utf-8")
    (folder / "cliff.png").write_bytes(cliff_picture(cliff, title))
