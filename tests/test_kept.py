"""What is broken in the cache is made again, wherever it is."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from qexp.config import ExperimentConfig, FileDataset, QueriesConfig, SearchConfig, SyntheticDataset
from qexp.data.kept import read_or_made, write_arrow
from qexp.data.truth import find_truth
from qexp.data.vectors import load_data


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, empty, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        "vectors/*/vectors.npy",
        "vectors/*/queries.npy",
        "vectors/*/qrels.npy",
        "vectors/*/facts.json",
        "vectors/*/warnings.json",
        "truth/*.npz",
        "synthetic/*-points.arrow",
    ],
)
def test_a_broken_entry_is_said_and_made_again(
    name: str, harm: Callable[[Path], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ExperimentConfig(dataset=SyntheticDataset(points=300, size=8, queries=20, clusters=5))

    def everything() -> tuple[bytes, bytes, list[list[int]]]:
        data = load_data(config, tmp_path)
        return data.vectors.read_bytes(), data.queries.read_bytes(), find_truth(data, 10, tmp_path).ids.tolist()

    first = everything()
    (file,) = tmp_path.glob(name)
    harm(file)
    with caplog.at_level(logging.WARNING):
        assert everything() == first
    said = [record.message for record in caplog.records]
    gone = harm is Path.unlink and not name.startswith("vectors")  # all of the entry, so that nothing is broken
    assert len(said) == (0 if gone else 1)
    assert all("removed, and to be made again" in line and "\n" not in line for line in said)
    assert everything() == first
    assert len(caplog.records) == len(said)


def test_a_broken_copy_of_a_matrix_is_made_again(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).standard_normal((300, 8)))
    first, again = (
        ExperimentConfig(
            dataset=FileDataset(path=str(tmp_path / "points.npy"), queries=QueriesConfig(held_out=held_out)),
            search=SearchConfig(limit=3),
        )
        for held_out in (20, 25)
    )
    load_data(first, tmp_path)
    (copy,) = (tmp_path / "arrow").iterdir()
    cut(copy)
    assert load_data(again, tmp_path).facts.points == 275


def test_what_cannot_be_made_right_fails_as_it_does(tmp_path: Path) -> None:
    (tmp_path / "entry").touch()
    with pytest.raises(ValueError, match="invalid literal"):
        read_or_made(
            tmp_path / "entry",
            lambda: int((tmp_path / "entry").read_text()),
            lambda: (tmp_path / "entry").touch(),
        )


def test_two_jobs_may_write_the_same_file(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.arrow", {"vector": np.eye(3, dtype=np.float32)}

    def interrupted_by_another() -> Iterator[dict[str, Any]]:
        yield rows
        write_arrow(path, iter([rows, rows]))
        yield rows

    write_arrow(path, interrupted_by_another())
    assert np.array_equal(datasets.Dataset.from_file(str(path))["vector"], np.vstack([np.eye(3), np.eye(3)]))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
