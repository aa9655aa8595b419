"""Payload of the points: one JSON object a line, in the order of the vectors."""

import hashlib
import json
import math
import random
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from qexp.data.source import Source
from qexp.data.table import BATCH
from qexp.errors import DataError
from qexp.progress import Progress
from qexp.results import Ids

SAMPLE = 2000
MIXED = "arrow.json"  # the type that `datasets` gives values of mixed types: JSON in text


def write_payload(source: Source, kept: Ids, path: Path) -> str:
    """Write the payload of the kept rows and return a digest; empty values are left out, as in Qdrant."""
    digest = hashlib.sha256()
    progress = Progress("laying out payload", len(kept))
    rows = source.points.rows.select_columns(list(source.payload)).with_format("arrow")
    start = 0
    with path.open("wb") as out:
        for batch in rows.iter(BATCH):
            inside = kept[np.searchsorted(kept, start) : np.searchsorted(kept, start + len(batch))] - start
            start += len(batch)
            found = list(_rows(batch, source))  # of which Python chooses: Arrow cannot take views of strings
            for number in inside:
                row = found[number]
                line = (row["payload"] if source.payload_json else _line(row, source)).encode() + b"\n"
                out.write(line)
                digest.update(line)
            progress.advance(len(inside))
    return digest.hexdigest()


def payload_lines(path: Path | None, points: int) -> Iterator[str]:
    """Yield the lines of a payload file of its first `points`; none without a file."""
    if path is not None:
        with path.open(encoding="utf-8") as lines:
            yield from islice(lines, points)


def sampled_lines(path: Path | None, points: int) -> Iterator[str]:
    """Yield about `SAMPLE` of the lines, drawn from all, always the same."""
    draw, share = random.Random(0).random, SAMPLE / points
    return (line for line in payload_lines(path, points) if draw() < share)


def _rows(batch: Any, source: Source) -> Iterator[dict[str, Any]]:
    """Yield rows as Python has them; DataError for a column with what it has not, such as years beyond 9999."""
    columns = {}
    for key, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values = column.to_pylist()
            mixed = MIXED in str(column.type)
            columns[key] = [_decoded(value, column.type) for value in values] if mixed else values
        except (OverflowError, ValueError) as error:
            raise DataError(
                f"{source.place}: column '{key}' holds {column.type} that cannot be read: {error}; leave it out of "
                "dataset.payload_columns"
            ) from error
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _decoded(value: Any, kind: Any) -> Any:
    """Return a value with its parts of mixed types as they were."""
    if value is None:
        return None
    if getattr(kind, "extension_name", "") == MIXED:
        return json.loads(value)
    if isinstance(value, list):
        return [_decoded(item, kind.value_type) for item in value]
    if isinstance(value, dict):
        return {name: _decoded(item, kind.field(name).type) for name, item in value.items()}
    return value


def _line(row: dict[str, Any], source: Source) -> str:
    return json.dumps({key: _plain(value, key, source) for key, value in row.items() if value is not None})


def _plain(value: Any, key: str, source: Source) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, list):
        return [_plain(item, key, source) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, key, source) for name, item in value.items() if item is not None}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise DataError(
        f"{source.place}: column '{key}' holds {type(value).__name__}, which is no payload in Qdrant; leave it out of "
        "dataset.payload_columns"
    )
