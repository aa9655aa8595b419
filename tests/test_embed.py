import os
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from qexp.config import EmbeddingConfig, ExperimentConfig, FileDataset, QueriesConfig, SearchConfig
from qexp.data import embed
from qexp.data.embed import COLUMN, embedded
from qexp.data.vectors import load_data
from qexp.errors import ConfigError, DataError

TEXTS = ["red", "green", "red", "blue", "green red"]
CALLS: list[list[str]] = []


def lengths(texts: list[str]) -> np.ndarray:
    CALLS.append(texts)
    return np.array([[len(text), 1.0] for text in texts])


def three_rows(texts: list[str]) -> np.ndarray:
    return np.zeros((3, 2))


def no_columns(texts: list[str]) -> np.ndarray:
    return np.zeros((len(texts), 0))


def fails_late(texts: list[str]) -> np.ndarray:
    if "blue" in texts:
        raise KeyboardInterrupt
    return lengths(texts)


def config(function: str = "lengths") -> EmbeddingConfig:
    return EmbeddingConfig(kind="callable", function=f"{__name__}:{function}")


def embed_texts(texts: list[Any], asked: EmbeddingConfig, cache: Path) -> list[list[float]]:
    rows = datasets.Dataset.from_dict({"text": texts})
    found: list[list[float]] = embedded(rows, "colours", "text", asked, "passage", cache)[COLUMN][:]
    return found


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "SHARD", 3)
    CALLS.clear()


def test_equal_texts_are_embedded_once_and_cached_by_content(tmp_path: Path) -> None:
    expected = [[float(len(text)), 1.0] for text in TEXTS]
    assert embed_texts(TEXTS, config(), tmp_path) == expected
    assert CALLS == [["red", "green"], ["blue", "green red"]]
    assert embed_texts(TEXTS, config(), tmp_path) == expected
    assert len(CALLS) == 2
    embed_texts([*TEXTS[:3], "new"], config(), tmp_path)
    assert CALLS[2:] == [["new"]]


def test_a_shard_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    expected = embed_texts(TEXTS, config(), tmp_path)
    shard = sorted(tmp_path.rglob("*.arrow"))[0]
    shard.write_bytes(shard.read_bytes()[:100])
    assert embed_texts(TEXTS, config(), tmp_path) == expected
    assert len(CALLS) == 3


def test_what_was_embedded_before_an_interruption_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed_texts(TEXTS, config("fails_late"), tmp_path)
    assert len(list(tmp_path.rglob("*.arrow"))) == 1
    assert not list(tmp_path.rglob("*.partial*"))


def test_a_query_log_keeps_its_repeats(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("text\n" + "".join(f"{'x' * n}\n" for n in range(1, 21)))
    (tmp_path / "log.csv").write_text("text\nred\ngreen\nred\nred\n")
    queries = QueriesConfig(path=str(tmp_path / "log.csv"), text_column="text")
    dataset = FileDataset(path=str(tmp_path / "points.csv"), text_column="text", queries=queries)
    asked = ExperimentConfig(dataset=dataset, embedding=config(), search=SearchConfig(limit=3))
    data = load_data(asked, tmp_path / "cache")
    assert data.facts.queries == 4
    assert np.array_equal(data.query_vectors()[0], data.query_vectors()[3])


@pytest.mark.parametrize(
    ("texts", "function", "message"),
    [
        (["a", None], "lengths", "colours row 1: no text in column 'text'"),
        ([1, 2], "lengths", "colours row 0: int, not text, in column 'text'"),
        (["a"], "no_columns", r"returned shape \(1, 0\) for 1 texts; must be \[1, size\]"),
        (["a"], "three_rows", r"returned shape \(3, 2\) for 1 texts; must be \[1, size\]"),
    ],
)
def test_bad_texts_and_encoders_are_named(texts: list[Any], function: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        embed_texts(texts, config(function), tmp_path)


def test_an_unknown_function_names_the_near_miss(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no function 'lenghts' \(did you mean 'lengths'\?\)"):
        embed_texts(TEXTS, config("lenghts"), tmp_path)
    with pytest.raises(DataError, match=r"returned no matrix of numbers|returned shape"):
        embed_texts(TEXTS, EmbeddingConfig(kind="callable", function="builtins:len"), tmp_path)
    where = rf"cannot import no\.where: .*; looked in {re.escape(os.getcwd())} and .*=FOLDER/no/where\.py:f$"
    with pytest.raises(ConfigError, match=where):
        embed_texts(TEXTS, EmbeddingConfig(kind="callable", function="no.where:f"), tmp_path)


def test_a_function_is_found_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "sizes_of_texts.py"
    file.write_text("def f(texts):\n    return [[len(text), 1.0] for text in texts]\n")
    asked = EmbeddingConfig(kind="callable", function=f"{file}:f")
    assert embed_texts(["red"], asked, tmp_path) == [[3.0, 1.0]]
    (tmp_path / "tomllib.py").write_text("")
    nothing = f"ModuleNotFound.*; looked in {re.escape(str(tmp_path))} and in what is installed$"
    for name, reason in (("tomllib", "tomllib/__init__.py has the same name; rename"), ("nothing", nothing)):
        with pytest.raises(ConfigError, match=reason):
            embed_texts(["red"], EmbeddingConfig(kind="callable", function=f"{tmp_path}/{name}.py:f"), tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("def f(:", "SyntaxError"), ("undefined_name", "NameError"), ("import not_there", "ModuleNotFoundError")],
)
def test_a_module_that_fails_is_one_line(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"broken_{reason}.py").write_text(text)
    with pytest.raises(ConfigError, match=f"cannot import broken_{reason}: {reason}: [^\n;]*$"):
        embed_texts(TEXTS, EmbeddingConfig(kind="callable", function=f"broken_{reason}:f"), tmp_path)


def test_a_function_that_fails_is_one_line_that_says_where(tmp_path: Path) -> None:
    file = tmp_path / "failing_on_texts.py"
    file.write_text("def f(texts):\n    raise RuntimeError('no\\nmemory')\n")
    with pytest.raises(ConfigError, match=r"failing_on_texts\.py:2: RuntimeError: no memory$"):
        embed_texts(TEXTS, EmbeddingConfig(kind="callable", function=f"{file}:f"), tmp_path)


def test_a_local_model_folder_is_run_by_fastembed(tmp_path: Path) -> None:
    pytest.importorskip("fastembed")
    from tests.support.tiny_onnx import write_model

    table = np.array([[0, 0], [9, 9], [1, 0], [0, 1], [3, 4]], dtype=np.float32)
    write_model(tmp_path / "model", ["red", "green", "blue"], table)
    asked = EmbeddingConfig(kind="fastembed", model=str(tmp_path / "model"))
    found = np.array(embed_texts(TEXTS, asked, tmp_path / "cache"))
    half = np.sqrt(0.5)
    assert np.abs(found - [[1, 0], [0, 1], [1, 0], [0.6, 0.8], [half, half]]).max() < 1e-6


def test_an_unknown_model_names_the_near_miss(tmp_path: Path) -> None:
    pytest.importorskip("fastembed")
    with pytest.raises(ConfigError, match=r"neither a folder nor a model .*did you mean 'BAAI/bge-small-en-v1.5'"):
        embed_texts(TEXTS, EmbeddingConfig(kind="fastembed", model="BAAI/bge-smal-en-v1.5"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no model\.onnx"):
        embed_texts(TEXTS, EmbeddingConfig(kind="fastembed", model=str(tmp_path / "empty")), tmp_path)
