"""The words of a multirun: what they sweep, how many jobs that makes, and how they are told apart from others."""

import re
from dataclasses import fields
from typing import Any

from qexp.config import HOUSEKEEPING, SloConfig
from qexp.errors import ConfigError

OBJECTIVES = 3  # of a job, for a sweeper that optimizes (cli.objectives)


def plan(config: Any) -> tuple[list[str], int | None]:
    """Return the keys that are swept, and the number of jobs where it is known beforehand.

    Raises ConfigError for a key that jobs of one sweep cannot differ in.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    sweeper = config.hydra.sweeper
    words = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + task_words(config.hydra)
    overrides = OverridesParser.create().parse_overrides(words)
    swept = [override for override in overrides if override.is_sweep_override()]
    for override in swept:
        _check_swept(override.key_or_group)
    keys = [override.get_key_element() for override in swept]
    if not sweeper._target_.endswith(".BasicSweeper"):
        _check_directions(sweeper.get("direction"))
        return keys, sweeper.get("n_trials")
    if any("glob(" in word for word in words):  # only Hydra's own parser sees the files
        return keys, None
    return keys, sum(len(batch) for batch in BasicSweeper.split_arguments(overrides, None))


def _check_directions(directions: Any) -> None:
    """Refuse fewer directions than a job has objectives, before all of them are measured for nothing."""
    from omegaconf import ListConfig

    number = len(directions) if isinstance(directions, ListConfig) else 1
    if directions is not None and number != OBJECTIVES:
        raise ConfigError(
            f"hydra.sweeper.direction={directions}: a job has three objectives, accuracy retention, P95 and RAM; set "
            "hydra.sweeper.direction=[maximize,minimize,minimize], or take experiment=optuna"
        )


def _check_swept(key: str) -> None:
    """Refuse to sweep presets, whose own sweeps only one sweeper can take, and limits, which change no measurement."""
    if key == "experiment":
        raise ConfigError("experiment: presets are not swept; start a sweep for each, with one experiment=… at a time")
    if key.split(".")[0] == "slo":
        limit, known = key.partition(".")[2], {item.name for item in fields(SloConfig)} - {"name"}
        flag = f"--{limit.replace('_', '-')}" if limit in known else "--min-accuracy"
        raise ConfigError(f"{key}: limits are not swept; give one, and ask again with others by qexp-report {flag} …")


def task_words(hydra_config: Any) -> list[str]:
    """Return the words of a command or a job as they were said: what `${…}` in them stands for, each job has to say."""
    from omegaconf import OmegaConf

    words: list[str] = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)  # type: ignore[assignment]
    return words


def resolved(word: str, composed: Any) -> str:
    """Return a word of a job with the value that it has there, if that is said by `${…}`: elsewhere it is another."""
    from omegaconf import OmegaConf

    value = OmegaConf.select(composed, word.lstrip("+").partition("=")[0]) if re.search(r"\$\\?\{", word) else None
    if value is None:
        return word
    value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return f"{word.partition('=')[0]}={in_grammar(value)}"


def in_grammar(value: Any) -> str:
    """Return a value as a word of Hydra's says it, texts in quotes."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, str):
        return str(QuotedString(value, Quote.double).with_quotes())
    if isinstance(value, list):
        return f"[{','.join(map(in_grammar, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{in_grammar(item)}' for key, item in value.items())}}}"
    return "null" if value is None else str(value)


def own_folder(hydra_config: Any) -> list[str]:
    """Return the flag that names the folder with choices of the user's own, if one was given."""
    sources = hydra_config.runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def told_words(words: list[str]) -> str:
    """Return what a sweep is started with, whatever the order: the overrides that change a figure of it."""
    return " ".join(sorted(_in_order(word) for word in kept_words(words) if not re.match(r"[+~]*slo[=.]", word)))


def kept_words(words: list[str]) -> list[str]:
    """Return the words without those that say how an experiment is run, which changes nothing about its figures."""
    return [word for word in words if re.split("[=.]", word.lstrip("+~"), maxsplit=1)[0] not in HOUSEKEEPING]


def _in_order(word: str) -> str:
    """Return an override with the values that it sweeps in order, for they are the same jobs in any."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if "glob(" in word:  # only Hydra's own parser sees the files
        return word
    override = OverridesParser.create().parse_override(word)
    if not override.is_choice_sweep():
        return word
    return f"{word.split('=', 1)[0]}={','.join(sorted(override.sweep_string_iterator()))}"
