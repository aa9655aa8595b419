"""Predicted bytes of payloads, by exact numbers and against the engine's own files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexp.data.payload import sampled_lines
from qexp.engine.base import build_collection
from qexp.engine.edge import EdgeEngine
from qexp.sizing.payload import NO_PAYLOAD, PayloadSize, allocated, payload_size
from tests.test_edge import spec, vectors

RNG = np.random.default_rng(0)


def words(count: int) -> str:
    return " ".join(f"word{number}" for number in RNG.integers(5000, size=count))


KINDS: dict[str, Any] = {
    "short": lambda row: {"row": row},
    "text": lambda row: {"text": words(20), "row": row, "kind": f"kind {row % 7}"},
    "long": lambda row: {"text": words(int(RNG.integers(1, 400)))},
    "random": lambda row: {"bytes": RNG.bytes(700).hex()},
    "some": lambda row: {"row": row} if row % 2 else {},
}


@pytest.mark.parametrize(
    ("kind", "n"),
    [("short", 4000), ("text", 4000), ("long", 4000), ("some", 4000)]
    + [pytest.param(kind, 70_000, marks=pytest.mark.slow) for kind in ("short", "random")]
    + [pytest.param("short", 2**16, marks=pytest.mark.slow)],  # pointers of 1 MiB, and a header
)
def test_the_prediction_is_within_2_percent_or_5_where_half_are_empty(kind: str, n: int, tmp_path: Path) -> None:
    lines = tmp_path / "payload.jsonl"
    lines.write_text("".join(json.dumps(KINDS[kind](row)) + "\n" for row in range(n)))
    asked = spec("none", size=4, points=n, m=0)
    built = build_collection(EdgeEngine(tmp_path / "c"), asked, vectors(4, n), lines)
    predicted = payload_size(sampled_lines(lines, n))
    assert allocated(asked, predicted.stored) == pytest.approx(built.state.files["payload"], rel=0.001)
    files = (tmp_path / "c").rglob("payload_storage/*")
    pages = [file.stat() for file in files if file.name.startswith(("page_", "tracker"))]
    held = sum(stat.st_blocks * 512 for stat in pages)
    if held == sum(stat.st_size for stat in pages):
        pytest.skip("the file system of the temporary directory knows no holes")
    assert n * predicted.stored == pytest.approx(held, rel=0.05 if kind == "some" else 0.02)


def test_sizes_by_exact_numbers() -> None:
    assert payload_size([]) == NO_PAYLOAD == PayloadSize(0.0, 0.0)
    assert payload_size(["{}", "{ }"]) == PayloadSize(2.0, 0.0)
    assert payload_size(['{"a": 1}', '{"a": 1}', "{}", "{}"]) == PayloadSize(4.5, 64 + 16)
    assert allocated(spec(points=1000), 16.0 + 128) == 32 * 2**20 + 32_768 + 192 + 2**20 + 135
    # a tracker of a power of two has four bytes less than so many pointers take
    assert allocated(spec(points=2**18 - 1), 16.0 + 256) == 2 * (32 * 2**20 + 32_768 + 192) + 2**22 + 135
    four = allocated(spec(points=2**20, segments=2, shards=2), 16.0 + 256)
    assert four == 4 * allocated(spec(points=2**18), 16.0 + 256) == 4 * (2 * (32 * 2**20 + 32_768 + 192) + 2**23 + 135)
    # one point more than a page and a tracker of the least size hold
    assert allocated(spec(points=2**16 - 1), 16.0 + 512) == 32 * 2**20 + 32_768 + 192 + 2**20 + 135
    more = allocated(spec(points=2**17 + 1, segments=2), 16.0 + 512)
    assert more == 2 * (2 * (32 * 2**20 + 32_768 + 192) + 2**21 + 135)
    assert allocated(spec(points=1000), 0.0) == allocated(spec(points=1000), 16.0 + 128)


@pytest.mark.parametrize(("length", "blocks"), [(114, 1), (115, 2), (369, 3), (370, 4)])
def test_a_payload_takes_whole_blocks(length: int, blocks: int) -> None:
    # 4 bytes, a token, another for every 255 bytes from 15 on, and as they are the 8 + length, which do not repeat
    text = "".join(chr(0x4E00 + number) for number in range(length // 3)) + "xyz"[: length % 3]
    line = json.dumps({"a": text})
    assert payload_size([line]) == PayloadSize(8 + length, 128 * blocks + 16)


def test_lines_are_spread_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("".join(f"{number}\n" for number in range(9000)))
    found = [int(line) for line in sampled_lines(tmp_path / "lines", 9000)]
    assert 1900 < len(found) < 2100
    assert found == sorted(set(found))
    assert 4000 < np.mean(found) < 5000
    assert found == [int(line) for line in sampled_lines(tmp_path / "lines", 9000)]
    assert len(list(sampled_lines(tmp_path / "lines", 1500))) == 1500
    assert list(sampled_lines(None, 9000)) == []
