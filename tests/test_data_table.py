from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from qexp.data.table import write_arrow


def test_two_jobs_may_write_the_same_file(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.arrow", {"vector": np.eye(3, dtype=np.float32)}

    def interrupted_by_another() -> Iterator[dict[str, Any]]:
        yield rows
        write_arrow(path, iter([rows, rows]))
        yield rows

    write_arrow(path, interrupted_by_another())
    assert np.array_equal(datasets.Dataset.from_file(str(path))["vector"], np.vstack([np.eye(3), np.eye(3)]))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
