"""Why to believe a run's figures: how its rounds ended, what was checked, and how its accuracy came about."""

from collections.abc import Sequence

from qexp.report.words import notes
from qexp.results import Check, Experiment, Load


def trust(experiment: Experiment) -> str:
    """Return as Markdown the end of the rounds, the warnings, the split of the loss and the validity table."""
    parts = []
    if experiment.stop is not None:
        parts.append(f"Rounds: {experiment.stop}.")
    if experiment.noisy:
        parts.append("**Noisy**: the baseline differs from itself in this run; every interval is widened by as much.")
    parts += notes(experiment.warnings)
    tables = [loss_table(experiment), cold_table(experiment), load_table(experiment.loads)]
    parts += [*filter(None, tables), validity_table(experiment.checks)]
    return "\n\n".join(parts)


def validity_table(checks: Sequence[Check]) -> str:
    """Return one line for each trap and verdict; checks of the same trap are put together."""
    lines = ["| trap | verdict | what was checked |", "| --- | --- | --- |"]
    for trap in sorted({check.trap for check in checks}):
        for verdict in ("warning", "held", "by construction"):
            said = list(
                dict.fromkeys(
                    check.detail or check.what for check in checks if (check.trap, check.verdict) == (trap, verdict)
                )
            )
            if said:
                more = f" (and {len(said) - 2} more like it)" if len(said) > 2 else ""
                lines.append(f"| {trap} | {verdict} | {'; '.join(said[:2])}{more} |")
    return "\n".join(lines)


def loss_table(experiment: Experiment) -> str:
    """Return where each trial's recall is lost, in points of 100; empty where there is nothing to split."""
    trials = [(trial.point.title, trial.loss) for trial in experiment.trials if trial.loss]
    if not trials:
        return ""
    header = (
        "| recall points | exact search | lost to HNSW | to the codes' graph | to codes | won by rescoring | recall |"
    )
    lines = [header, "|" + " --- |" * 7]
    for title, loss in trials:
        steps = (-loss.hnsw, -loss.graph, -loss.coding, loss.rescoring)
        cells = " | ".join(f"{100 * step:+.1f}" for step in steps)
        lines.append(f"| {title} | 100.0 | {cells} | {100 * loss.trial:.1f} |")
    return "\n".join(lines)


def load_table(loads: Sequence[Load]) -> str:
    """Return throughput and latency under load; empty where there was none."""
    if not loads:
        return ""
    lines = ["| under load | point | load | queries/s | mean ms | P95 ms | against the baseline |", "|" + " --- |" * 7]
    for load in loads:
        latency, speedup = load.latency, load.speedup
        cells = [
            load.role,
            load.point.title,
            load.level.title,
            f"{load.qps:.0f}{' (saturated)' if load.saturated else ''}",
            f"{latency.mean:.3f}" if latency else "",
            f"{latency.p95:.3f}" if latency and latency.p95 is not None else "",
            f"{speedup.estimate:.2f}× ({speedup.low:.2f}–{speedup.high:.2f})" if speedup else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cold_table(experiment: Experiment) -> str:
    """Return latency with pages dropped beside the warm one; empty where it was not measured."""
    rows = [("baseline", base.point, base.latency, base.cold) for base in experiment.baselines]
    rows += [("trial", trial.point, trial.latency, trial.cold) for trial in experiment.trials]
    lines = [
        "| cold | point | warm mean ms | cold mean ms | first query ms | major faults a query |",
        "|" + " --- |" * 6,
    ]
    for role, point, warm, cold in rows:
        if cold is not None:
            faults = cold.reads.major_faults / cold.queries
            figures = f"{warm.mean:.3f} | {cold.latency.mean:.3f} | {cold.first:.3f} | {faults:.2f}"
            lines.append(f"| {role} | {point.title} | {figures} |")
    return "\n".join(lines) if len(lines) > 2 else ""
