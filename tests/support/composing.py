"""Configurations as a multirun has them before any of its jobs starts."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from qexp.config import register_schema
from qexp.paths import packaged


def composed(*words: str) -> DictConfig:
    """Return what these words compose, with Hydra's own configuration."""
    register_schema()
    with initialize_config_dir(str(packaged("conf")), version_base="1.3"):
        return compose("config", list(words), return_hydra_config=True)
