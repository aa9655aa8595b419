"""Compute from the record of `scale.py` what a larger collection takes: hours, RAM, disk and money, on 1 to m nodes.

Every phase is carried from the largest size measured to the size asked for: load, truth and upload grow with
points × dimensions, index building with points × log(points) × dimensions, a query with log(points) × dimensions.
The same rule, from the second largest size to the largest, is compared with what was measured there. A cluster of m
nodes uploads and indexes m shards at a time; `load` and `truth` are the harness's and do not get faster.
"""

import argparse
import json
import math
import sys
from typing import Any

from _common import RESULTS, ROOT

DOCUMENT = ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- scaling.py: begin -->", "<!-- scaling.py: end -->"
COSTS = ("course", "production", "aws_r7g")
PHASES = ("load", "truth", "upload", "index", "query")
OF_THE_NODES = ("upload", "index", "query")
TYPICAL_BY_SIGNS = 23.0  # `forward_links` by signs of the points of TYPICAL_FORWARD: 15 at 1,000, 24 at 20,000

Phases = dict[str, float]


def main() -> None:
    """Print the tables, or put them into `docs/scaling.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=100_000_000)
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--write", action="store_true", help="replace the tables in docs/scaling.md")
    given = parser.parse_args()
    path = RESULTS / "scale.json"
    if not path.exists():
        sys.exit(f"{path}: not there; run scripts/bench/scale.py first")
    text = report(json.loads(path.read_text()), given.points, given.size, given.nodes)
    if given.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    else:
        print(text)


def report(record: dict[str, Any], points: int, size: int, nodes: list[int]) -> str:
    """Return the tables as Markdown."""
    measured = [row for row in record["rows"] if isinstance(row["points"], int)]
    base_size = record["arguments"]["size"]
    last = measured[-1]
    machine = record["machine"]
    columns = ["phase", "measured, s", "the rule's error", *(f"hours, {m} node{'s' * (m > 1)}" for m in nodes)]
    lines = [
        f"Measured on {machine['cpus']} cores ({machine['cpu']}) at commit {record['commit']}: {last['points']:,} "
        f"points of {base_size} dimensions, {record['arguments']['queries']} queries. Carried to {points:,} × {size}:",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for phase in PHASES:
        hours = []
        for m in nodes:
            share = points / m if phase in OF_THE_NODES else points
            hours.append(carried(last, share, size / base_size)[phase] / 3600)
        cells = [phase, f"{last[phase]:.2f}", error(measured, phase), *(f"{hour:.2g}" for hour in hours)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *sizing(points, size)])


def carried(row: Phases, points: float, dimensions: float) -> Phases:
    """Carry measured phases to `points` points of `dimensions` times as many dimensions."""
    linear = points / row["points"]
    logarithm = math.log(points) / math.log(row["points"])
    factors = {"load": linear, "truth": linear, "upload": linear, "index": linear * logarithm, "query": logarithm}
    return {phase: row[phase] * factor * dimensions for phase, factor in factors.items()}


def error(measured: list[Phases], phase: str) -> str:
    """Return by how much the rule misses the largest measured size when it starts from the second largest."""
    if len(measured) < 2:
        return ""
    before, last = measured[-2:]
    return f"{carried(before, last['points'], 1.0)[phase] / last[phase] - 1:+.0%}"


def sizing(points: int, size: int) -> list[str]:
    """Return RAM, disk and their monthly bill for a few methods, vectors on disk and codes pinned.

    RAM and disk are of one copy without headroom; a bill holds the copies, headroom and machines of its cost preset.
    """
    from _bare import composed, facts

    from qexp.engine.configured import collection_spec
    from qexp.sizing.cost import bill
    from qexp.sizing.links import TYPICAL_FORWARD
    from qexp.sizing.ram import linked_by_signs, predict_ram

    columns = ["method", "RAM, GB", "disk, GB", *(f"USD a month, cost={cost}" for cost in COSTS)]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for method in ("none", "scalar", "turbo_4bit", "binary"):
        config = composed(f"quantization={method}")
        spec = collection_spec(config, facts(points, 0, size), "")
        links = TYPICAL_BY_SIGNS if linked_by_signs(spec.quantization) else TYPICAL_FORWARD
        parts = predict_ram(spec, links)
        bills = [bill(parts.ram, parts.disk, composed(f"cost={cost}").cost) for cost in COSTS]
        cells = [method, f"{parts.ram / 1e9:,.0f}", f"{parts.disk / 1e9:,.0f}", *(f"{b.usd_month:,.0f}" for b in bills)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
