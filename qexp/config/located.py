"""The paths in a configuration, and how they are found from anywhere."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qexp.config.dataset import CollectionDataset, DatasetConfig, EmbeddingConfig, TableDataset


def with_paths(config: DatasetConfig, change: Callable[[str], str]) -> DatasetConfig:
    """Return the dataset with every path in it changed, those of its queries, labels and neighbours too."""
    own: dict[str, Any] = {}
    if isinstance(config, TableDataset):
        own["path"] = change(config.path)
    if isinstance(config, TableDataset | CollectionDataset):
        for part in ("queries", "qrels"):
            asked = getattr(config, part)
            own[part] = replace(asked, path=asked.path and change(asked.path))
    return replace(config, neighbours_path=config.neighbours_path and change(config.neighbours_path), **own)


def paths_of(config: DatasetConfig) -> list[str]:
    """Return every path in a dataset."""
    found = []

    def note(path: str) -> str:
        found.append(path)
        return path

    with_paths(config, note)
    return found


def located(path: str) -> str:
    """Return the path of what is here so that it can be found from anywhere; any other as it is."""
    here = Path(path).expanduser()
    return str(here.absolute()) if os.path.exists(here) else path


def located_function(name: str) -> str:
    """Return `module:function` as `file.py:function` where the module is a file that lies here; any other as it is."""
    module, _, function = name.rpartition(":")
    file = module if module.endswith(".py") else f"{module}.py"
    return f"{located(file)}:{function}" if located(file) != file else name


def located_encoder(config: EmbeddingConfig) -> EmbeddingConfig:
    """Return the embedding with a model or function that lies here so that it is found from anywhere."""
    model, function = config.model and located(config.model), config.function and located_function(config.function)
    return replace(config, model=model, function=function)
