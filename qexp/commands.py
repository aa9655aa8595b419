"""`qexp-report` and `qexp-export`, and how a sweep ends: recommendation, report, deploy files."""

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qexp import history
from qexp.cache import writable
from qexp.config import SloConfig
from qexp.config.cost import MEASURES, OBJECTIVES
from qexp.environment import in_mlflow_run
from qexp.errors import ConfigError, DataError
from qexp.report.bodies import patch_line
from qexp.report.export import export as write_deploy
from qexp.report.frontier import QUESTION, point, questions, title
from qexp.report.recommend import Recommendation, recommend
from qexp.report.record import Record, findings, warnings
from qexp.report.render import write_report
from qexp.report.verdict import verdict_lines
from qexp.report.words import notes
from qexp.results import Row
from qexp.store import name_mlflow_run
from qexp.streams import Parser, command

MOST_BYTES = 160  # of the name of a folder
WRITTEN = ".qexp-report"  # file in a report's folder: the paths of the others, a line each
EXPORTED = ".qexp-export"  # the same of deploy files: one folder may hold both, and neither takes the other's away


def conclude(reference: str, folder: Path, given: Mapping[str, Any] | None = None) -> list[str]:
    """Decide on a recorded run and write its report and deploy files into `folder`, instead of a report that is there.

    They are kept with the run too, unless limits `given` by their names are others than the run's own. Returns the
    lines to print: each recommendation in three, the request that applies it where a collection is advised, where the
    files are, what tuning has found, and the notes. Raises ConfigError if files are in the way that no report wrote.
    """
    record = history.read(reference)
    asked = replace(record.slo, **(given or {}))
    _need_folder(folder)
    decisions = [recommend(rows, asked) for rows in questions(record.rows)]
    samples = {one.run_id: history.latencies(one) for one in record.collections}
    with tempfile.TemporaryDirectory() as made:
        lines = _decided(Path(made), folder, record, decisions)
        report = folder / write_report(Path(made), record, decisions, samples).name
        _replace(Path(made), folder, WRITTEN)
        kept = ""
        if history.is_run(record):
            kept = f" (the limits are not those of run {record.run_id}, which keeps the report that it has in MLflow)"
            if asked == record.slo:
                history.log_report(record.run_id, Path(made))
                kept = f" (and in MLflow, run {record.run_id}, below report/)"
    found = [f"Found: {line}" for line in findings(record.collections)]
    return [*lines, *found, *notes(warnings(record.collections)), f"Report: {_shown(report)}{kept}"]


def _decided(made: Path, folder: Path, record: Record, decisions: list[Recommendation]) -> list[str]:
    """Write deploy files into `made`, from where they get into `folder`; return the lines to print."""
    lines = []
    for decided in decisions:
        why = verdict_lines(decided)
        if len(decisions) > 1:
            lines.append(f"{_question(decided)}:")
        lines += why
        if decided.choice:
            target = Path("deploy") / (_question(decided) if len(decisions) > 1 else "")
            write_deploy(made / target, record, decided.choice.row, why)
            lines += patch_line(record.collection_of(decided.choice.row), decided.choice.row)
            lines.append(f"Deploy files: {_shown(folder / target)}")
    return lines


def _replace(made: Path, folder: Path, name: str) -> None:
    """Put files into `folder` instead of those in its list `name`, the new list too, and touch nothing else."""
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    written = folder / name
    before = _listed(written)
    parents = {parent for path in files for parent in path.parents[:-1]}
    blocked = [path for path in before if (folder / path).is_dir()]
    blocked += [path for path in files if path not in before and os.path.lexists(folder / path)]
    blocked += [path for path in parents - {*before} if os.path.lexists(folder / path) and not (folder / path).is_dir()]
    if blocked:
        raise ConfigError(
            f"{folder / min(blocked)}: is in the way, and was not written by qexp (the list {name} has no such file); "
            f"move it, or name another folder with --out"
        )
    for path in before:
        (folder / path).unlink(missing_ok=True)
    for parent in sorted({parent for path in before for parent in path.parents[:-1]}, reverse=True):
        if (folder / parent).is_dir() and not any((folder / parent).iterdir()):
            (folder / parent).rmdir()
    try:
        written.write_text("".join(f"{path}\n" for path in files), encoding="utf-8")
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / path, folder / path)
    except OSError as error:
        raise ConfigError(
            f"{error.filename2 or error.filename or folder}: cannot be written ({error.strerror}); free space, or name "
            "another folder with --out (of qexp-report or qexp-export)"
        ) from error


def _listed(written: Path) -> list[Path]:
    """Return the paths in a list that are there; none that lead out of its folder, for those are of someone else."""
    try:
        lines = written.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{written}: is in the way, and cannot be read as a list of what was written before; move it, or name "
            f"another folder with --out"
        ) from error
    inside = [path for path in map(Path, lines) if path.parts and not path.is_absolute() and ".." not in path.parts]
    return [path for path in inside if os.path.lexists(written.parent / path)]


def _need_folder(folder: Path) -> None:
    writable(folder, "{}", "name another folder with --out")


def _question(decided: Recommendation) -> str:
    params = decided.considered[0].row.params if decided.considered else {}
    told = re.sub(r"[^\w.=-]+", "_", "-".join(params[name] for name in QUESTION if name in params))
    if len(told.encode()) > MOST_BYTES:  # it names a folder
        return f"{told[: MOST_BYTES // 4]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return told


def _shown(path: Path) -> str:
    """Return the path from here where that is shorter, and here is where the user is."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if in_mlflow_run() or relative.startswith("..") else relative


@command("qexp-report")
def report() -> None:
    """`qexp-report RUN`: the report of any past sweep or experiment."""
    parser = _parser("qexp-report", "Write the report of a sweep or experiment, from what MLflow holds.", "report")
    for name in ("min_accuracy", "max_p95_ms", "max_ram_mib", "max_usd_month"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="X", help=f"instead of slo.{name}")
    parser.add_argument("--accuracy", choices=MEASURES, help="instead of slo.accuracy")
    objectives = f"instead of slo.objectives: two or three of {','.join(OBJECTIVES)}"
    parser.add_argument("--objectives", type=lambda text: text.split(","), metavar="A,B", help=objectives)
    asked = vars(parser.parse_args())
    name_mlflow_run()
    run, folder = asked.pop("run"), asked.pop("out")
    given = {name: value for name, value in asked.items() if value is not None}
    SloConfig(**{"name": "given", **given})  # else the store is read before a bad limit is told
    print(*conclude(run, folder, given), sep="\n")


@command("qexp-export")
def export() -> None:
    """`qexp-export RUN`: the deploy files of a trial, or of what is recommended for a sweep or experiment."""
    about = "Write what to send to Qdrant: of a trial, or of a sweep's recommendation."
    asked = _parser("qexp-export", about, "deploy").parse_args()
    name_mlflow_run()
    record = history.read(asked.run)
    row, why = _chosen(record, asked.run)
    _need_folder(asked.out)
    with tempfile.TemporaryDirectory() as made:
        paths = [asked.out / path.relative_to(made) for path in write_deploy(Path(made), record, row, why)]
        _replace(Path(made), asked.out, EXPORTED)
    print(why[0], *(f"Wrote {_shown(path)}" for path in paths), *patch_line(record.collection_of(row), row), sep="\n")


def _chosen(record: Record, reference: str) -> tuple[Row, list[str]]:
    """Return the row that was named, itself or by a load of its point, else the recommended one; with the reasons."""
    if asked_for := _named(record, reference):
        params = asked_for.params
        return asked_for, [f"{title(params)} (storage {params['storage']}) was asked for by name."]
    groups = questions(record.rows)
    if len(groups) > 1:
        raise DataError(
            f"{reference}: it answers {len(groups)} questions; name a collection's or a trial's run, or "
            "take the deploy files of each from qexp-report"
        )
    decided = recommend(groups[0], record.slo)
    why = verdict_lines(decided)
    if decided.choice is None:
        raise DataError(f"{reference}: {' '.join(why)} Name a trial's run to export it all the same")
    return decided.choice.row, why


def _named(record: Record, reference: str) -> Row | None:
    """Return the row of a trial's run, or of the same point and role as a load's run; None for other runs."""
    for collection in record.collections:
        for asked in (*collection.rows, *collection.loads):
            if asked.run_id != reference:
                continue
            wanted = (asked.params.get("role"), point(asked.params))
            for row in collection.rows:
                if (row.params.get("role"), point(row.params)) == wanted:
                    return row
            raise DataError(f"{reference}: is a load of {title(asked.params)}, which has no trial; name a trial's run")
    return None


def _parser(name: str, about: str, folder: str) -> Parser:
    logging.basicConfig(format="%(message)s")  # else urllib3 says nothing of a store that it asks again for minutes
    parser = Parser(name, description=about)
    parser.add_argument(
        "run", nargs="?", default=history.LAST, help="a run id, an MLflow experiment, or last (the default)"
    )
    parser.add_argument("--out", type=Path, default=Path(folder), metavar="FOLDER", help=f"default: {folder}")
    return parser
