"""A model folder as fastembed reads it: every token has a row in a table of vectors, and nothing else happens.

The few fields of ONNX's protobuf that this needs are written by hand, so that the tests need no ONNX package.
"""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

FLOAT, INT64 = 1, 7  # onnx.TensorProto.DataType


def write_model(folder: Path, words: list[str], table: np.ndarray) -> None:
    """Write `model.onnx` and the tokenizer; word i has vector `table[i + 2]`, 0 is padding and 1 is unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1} | {w: i + 2 for i, w in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 16, "pad_token": "[PAD]"}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "[PAD]", "unk_token": "[UNK]"}))
    weights = _number(1, table.shape[0]) + _number(1, table.shape[1]) + _number(2, FLOAT) + _text(8, "table")
    weights += _bytes(9, table.astype("<f4").tobytes())
    node = _text(1, "table") + _text(1, "input_ids") + _text(2, "last_hidden_state") + _text(4, "Gather")
    graph = _bytes(1, node) + _text(2, "tiny") + _bytes(5, weights)
    graph += _bytes(11, _value("input_ids", INT64, ("batch", "tokens")))
    graph += _bytes(12, _value("last_hidden_state", FLOAT, ("batch", "tokens", table.shape[1])))
    model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))
    (folder / "model.onnx").write_bytes(model)


def _value(name: str, kind: int, shape: tuple[str | int, ...]) -> bytes:
    sides = b"".join(_bytes(1, _text(2, side) if isinstance(side, str) else _number(1, side)) for side in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, sides)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
