"""What was measured, on disk before it is logged, so that it outlives this process and the tracking store."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qexp.cache import ABANDONED, BROKEN, locked
from qexp.errors import in_one_line
from qexp.locks import Lock
from qexp.results import Experiment, Nanoseconds, Visit

log = logging.getLogger(__name__)

RECORD = "record.json"
FILES = "files"
LATENCIES_FILE = "latencies.parquet"  # every latency of every round
PARTIAL = ".partial"


@dataclass(frozen=True)
class SpooledTrial:
    """A trial's run: its name, parameters and metrics; `level` is `load` for a trial under load."""

    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    level: str = "trial"


@dataclass(frozen=True)
class Spooled:
    """All that a collection run gets once it is measured; `store` is an address, `time` in milliseconds."""

    store: str
    experiment_id: str
    run_id: str
    time: int
    metrics: dict[str, float]
    tags: dict[str, str]
    dataset: dict[str, str]
    trial_tags: dict[str, str]
    trials: tuple[SpooledTrial, ...]


def new(root: Path) -> Path:
    """Return a fresh folder; what is put into its `files` is logged as artifacts."""
    (root / "spool").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(suffix=PARTIAL, dir=root / "spool"))
    (folder / FILES).mkdir()
    return folder


def seal(folder: Path, spooled: Spooled) -> Path:
    """Write the file, and rename the folder to the run's id: from now on it is pending."""
    (folder / RECORD).write_text(json.dumps(asdict(spooled)), encoding="utf-8")
    target = folder.parent / spooled.run_id
    folder.rename(target)
    return target


def load(folder: Path) -> Spooled:
    """Read what was sealed."""
    raw: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    trials = tuple(SpooledTrial(**trial) for trial in raw.pop("trials"))
    return Spooled(**raw, trials=trials)


def done(folder: Path) -> None:
    """Forget what is logged."""
    doomed = folder.with_name(f"{folder.name}{PARTIAL}")
    folder.rename(doomed)  # so that nobody ever finds half of it
    shutil.rmtree(doomed)


def taken(root: Path, run_id: str) -> Lock:
    """Hold what a run has, so that nobody else logs it; BlockingIOError if somebody does."""
    return locked(root, f"spool-{run_id}", alone=True, wait=False)


def pending(root: Path, store: str) -> list[Path]:
    """Return the folders of a store that wait to be logged; other jobs may log or remove some meanwhile."""
    folders = []
    for folder in sorted((root / "spool").glob("*")):
        try:
            if folder.suffix == PARTIAL:
                if time.time() - folder.stat().st_mtime > ABANDONED:
                    shutil.rmtree(folder)
            elif load(folder).store == store:
                folders.append(folder)
        except FileNotFoundError:
            continue
        except BROKEN as error:  # or of another version
            log.warning("%s cannot be read, and is not logged: %s", folder, in_one_line(repr(error)))
    return folders


def write_latencies(experiment: Experiment, folder: Path) -> None:
    """Write raw latencies into `folder`, one row per visit, round and query; those of cold visits and loads apart.

    A load has samples instead of queries: those of its clients, one client after the other.
    """
    warm_and_cold = {LATENCIES_FILE: experiment.latencies, "cold_latencies.parquet": experiment.cold_latencies}
    for name, latencies in warm_and_cold.items():
        _write([({"visit": visit}, found) for visit, found in latencies.items()], folder / name)
    loads = [(Visit(load.role, load.point).title, load.level.title, load.raw) for load in experiment.loads]
    under_load = [({"visit": visit, "load": level}, found) for visit, level, found in loads]
    _write(under_load, folder / "load_latencies.parquet", each="sample")


def _write(series: Sequence[tuple[dict[str, str], Iterable[Nanoseconds]]], path: Path, each: str = "query") -> None:
    """Write series of rounds, each with the names that it goes by; `each` is what was timed. No file without any."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(names, number, found) for names, rounds in series for number, found in enumerate(rounds)]
    if not rows:
        return
    lengths = [len(found) for *_, found in rows]
    names = {
        key: pa.array([told[key] for told, *_ in rows])
        .dictionary_encode()
        .take(np.repeat(np.arange(len(rows)), lengths))
        for key in rows[0][0]
    }
    columns = {
        "round": np.repeat(np.array([number for _, number, _ in rows], dtype=np.int32), lengths),
        each: np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        "nanoseconds": np.concatenate([found for *_, found in rows]),
    }
    pq.write_table(pa.table(names | columns), path, compression="zstd")
