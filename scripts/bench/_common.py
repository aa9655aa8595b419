"""What the benches share: paired timing, the verdict table, and the record that each bench leaves."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(os.environ.get("QEXP_BENCH_RESULTS") or Path(__file__).resolve().parent / "results")

sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@dataclass(frozen=True)
class Verdict:
    """One measured value with the goal that it may not exceed, in `unit` (× for a ratio)."""

    what: str
    value: float
    goal: float
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether the value is within its goal."""
        return self.value <= self.goal


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def settled(work: Callable[[], object]) -> float:
    """Return how long one call takes when nothing is left to be written out, which the kernel would do meanwhile."""
    os.sync()
    return seconds(work)


def paired(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> list[tuple[float, float]]:
    """Call both, which return seconds, `repeats` times side by side in alternating order; the first calls are lost."""
    ours(), theirs()
    pairs = []
    for number in range(repeats):
        if number % 2:
            second, first = theirs(), ours()
        else:
            first, second = ours(), theirs()
        pairs.append((first, second))
    return pairs


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the median of the pairs' ratios, ours over theirs."""
    return statistics.median(first / second for first, second in pairs)


def run(words: Sequence[str], cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that fails ends the bench with its output."""
    done = subprocess.run(words, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def arguments(about: str | None, **defaults: int) -> argparse.Namespace:
    """Parse `--name=NUMBER` for every default, named in the help."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=" ")
    return parser.parse_args()


def finish(bench: str, given: argparse.Namespace, verdicts: Sequence[Verdict], rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows and the verdicts, and keep both with machine, commit and arguments.

    The record goes to `results/`, or to the folder `QEXP_BENCH_RESULTS`.
    """
    record = {
        "bench": bench,
        "arguments": vars(given),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "rows": list(rows),
        "machine": _machine(),
        "commit": _commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{bench}.json").write_text(json.dumps(record, indent=1) + "\n")
    if rows:
        print_table([list(rows[0]), *([_text(row[name]) for name in rows[0]] for row in rows)])
        print()
    print_verdicts([record])


def print_verdicts(records: Sequence[dict[str, Any]]) -> None:
    """Print goal and verdict of every record."""
    lines = [["bench", "what", "value", "goal", "verdict"]]
    for record in records:
        for verdict in (Verdict(**given) for given in record["verdicts"]):
            value, goal = f"{verdict.value:.3g} {verdict.unit}", f"≤ {verdict.goal:g} {verdict.unit}"
            lines.append([record["bench"], verdict.what, value, goal, "met" if verdict.met else "MISSED"])
    print_table(lines)


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells in columns; the first line is the header."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def _machine() -> dict[str, Any]:
    """Return what the figures depend on, and how busy the machine was."""
    from qexp.machine import environment

    found = environment()
    return {name: found[name] for name in ("cpu", "cpus", "memory_gib", "platform", "python", "load_average")}


def _commit() -> str:
    """Return the checkout's commit, with a plus sign if files were changed."""
    from qexp.provenance import code_tags

    tags = code_tags()
    return tags.get("qexp.git_sha", "")[:12] + ("+" if tags.get("qexp.git_dirty") == "true" else "")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
