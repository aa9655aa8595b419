"""Memory, money and cliff of one job for the record, as files to be read."""

from pathlib import Path

from qexp.report import cliff as cliff_report
from qexp.report.canvas import LIGHT, WIDE, Frame, png
from qexp.report.memory import memory_markdown
from qexp.report.plots_memory import cliff_plot
from qexp.results import Experiment
from qexp.results.footprint import Cliff

CLIFF_FILE = "cliff.json"


def write_sizing(experiment: Experiment, title: str, folder: Path) -> None:
    """Write what was predicted and measured of memory and money, and the cliff where there is one."""
    (folder / "memory.md").write_text(memory_markdown(experiment), encoding="utf-8")
    if experiment.cliff:
        (folder / CLIFF_FILE).write_text(cliff_report.to_json(experiment.cliff), encoding="utf-8")
        write_cliff(experiment.cliff, title, folder)


def write_cliff(cliff: Cliff, title: str, folder: Path) -> None:
    """Write a cliff to be read: as Markdown and as a picture."""
    (folder / "cliff.md").write_text(cliff_report.markdown(cliff), encoding="utf-8")
    (folder / "cliff.png").write_bytes(png(cliff_plot(cliff, Frame(LIGHT, WIDE), title)))
