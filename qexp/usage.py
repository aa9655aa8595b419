"""The words of the command line: what they may be, which go together, and how they are read."""

import os
import re
import shlex
import sys
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap

from qexp.config import located, located_function
from qexp.config.checks import MISSING, no_secret, require
from qexp.errors import ConfigError, near_miss
from qexp.paths import packaged
from qexp.swept import in_grammar

_PATH = re.compile(r"(dataset\.(?:\w+\.)*(?:path|neighbours_path)|embedding\.(?:model|function))=(.+)", re.DOTALL)
_NUMBER = r"\d[\d_]*(\.[\d_]*)?(e[+-]?\d+)?|\.\d[\d_]*"
_NO_NAME = re.compile(rf"(?<![^\[,])[+-]?({_NUMBER}|inf|nan|true|false|null)(?![^\],])", re.IGNORECASE)
_SECRET = re.compile(r"^(engine|dataset)\.\w*(key|token|password|secret)=|(QDRANT_API_KEY|HF_TOKEN)\s*[=:]")
GROUPS = ("dataset", "embedding", "quantization", "storage", "index", "search", "engine", "cost", "slo", "experiment")
SOURCE = "engine.source_collection"
QUIET = "--quiet"
ALONE = ("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")  # Hydra's flags that go with no multirun
LEAST = 25  # characters that a column of descriptions is worth
QUIET_WORDS = [f"hydra.{kind}.loggers.qexp.level=WARNING" for kind in ("job_logging", "hydra_logging")]


def help_text(width: int | None = None, own: Path | None = None) -> str:
    """Return every group with its choices and the first line of each choice's file, which describes it.

    Choices in the folder `own` are among them. Lines are as long as they are, or fit into `width` characters.
    """
    lines = [
        "qexp: which quantization, oversampling and rescoring to deploy on Qdrant, measured on your data.",
        "",
        "  qexp [group=choice …] [group.field=value …]        one experiment",
        "  qexp -m group=choice,choice … [group.field=a,b …]  a sweep over every combination",
        "  qexp -m experiment=quickstart                      the main job",
        "  qexp -m … sweep.resume=last                        finish a sweep that was stopped",
        "",
        "Groups and choices (* is the default):",
    ]
    defaults = (packaged("conf") / "config.yaml").read_text(encoding="utf-8")
    for group in GROUPS:
        lines += ["", group]
        files = [file for folder in (packaged("conf"), own) if folder for file in (folder / group).glob("*.yaml")]
        for file in sorted(files, key=lambda file: _natural(file.stem)):
            comments = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
            about = next((line[2:] for line in comments if not line.startswith("# @")), "")
            mark = "*" if re.search(rf"- {group}: {file.stem}\b", defaults) else " "
            lines.append(f"{mark} {file.stem:24}{about}")
    lines += [
        "",
        "--cfg job shows the composed configuration, --info all where it comes from, --quiet no progress,",
        "--hydra-help Hydra's own flags.",
        "See also qexp-report, qexp-export, qexp-reproduce and qexp-cache.",
    ]
    return "\n".join(lines if width is None else [_folded(line, width) for line in lines])


def terminal_width() -> int | None:
    """Return the width of the terminal that standard output is; None where it is none: a file gets whole lines."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def _folded(line: str, width: int) -> str:
    """Break a line between words; what describes a choice goes on below its beginning."""
    indent = re.match(r"([* ] .*?\s{2,})?", line)
    assert indent
    begin = indent[0] if len(indent[0]) <= width - LEAST else ""
    rest = " " * len(begin)
    lines = wrap(
        line[len(begin) :],
        width,
        initial_indent=begin,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort x4 before x16."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def config_dir(words: list[str]) -> Path | None:
    """Return the folder with choices of the user's, if the words name one."""
    flags = ("--config-dir", "-cd")
    for word, after in zip(words, [*words[1:], ""], strict=True):
        flag, sign, value = word.partition("=")
        if flag in flags:
            return Path(value if sign else after)
    return None


def check_words(words: list[str]) -> None:
    """Raise ConfigError for what Hydra would take amiss, or write down, before it does."""
    for check in (check_flags, check_choices, check_secrets, check_folder):
        check(words)


def check_flags(words: list[str]) -> None:
    """Raise ConfigError for a flag, or its value, that Hydra does not know, and for words that do not go together."""
    from argparse import ArgumentError

    from hydra._internal.utils import get_args_parser

    alone = [flag for flag in ALONE if any(word.split("=")[0] == flag for word in words)]
    if alone and {"-m", "--multirun"} & set(words):
        raise ConfigError(f"-m {alone[0]}: shows the configuration of one experiment; leave out -m and what it sweeps")
    parser = get_args_parser()
    parser.exit_on_error = False  # it would print its usage, of eight lines
    try:
        stray = next(iter(parser.parse_known_args(words)[1]), None)
    except ArgumentError as error:
        flag = str(error.argument_name).partition("/")[0]
        raise ConfigError(f"{flag}: {error.message}; qexp --hydra-help shows all") from error
    if stray and stray.startswith("-"):
        flag = stray.partition("=")[0]
        known = [QUIET, *parser._option_string_actions]
        raise ConfigError(f"{flag}: no such flag{near_miss(flag, known)}; qexp --help and --hydra-help show all")
    if stray:
        raise ConfigError(f"{stray}: no flag may come between words; put all flags first")


def check_choices(words: list[str]) -> None:
    """Refuse a word without a name, a group without a choice, and a path that no dataset was chosen for."""
    path = next((word for word in words if word.startswith("dataset.path=")), None)
    if path and not any(word.startswith(("dataset=", "experiment=", "--config", "-c")) for word in words):
        raise ConfigError(f"{path}: of which kind? Add dataset=file, or dataset=hub for one of the Hugging Face hub")
    for word in words:
        group, sign, choice = word.removeprefix("~").partition("=")
        require(bool(group.strip("+ ")), f"'{word}': names nothing; write group=choice or group.field=value")
        bare = choice[1:-1] if re.fullmatch("'.+'", choice) else choice  # as it was before it was quoted
        none = sign and (bare.strip("'\"").lower() in ("", "null", "[]") or re.search(r"(?<!\$)\{", choice))
        if group in GROUPS and (none or (word.startswith("~") and group != "experiment")):
            raise ConfigError(f"{word.replace(choice, bare)}: must be one of its choices; qexp --help shows them")


def check_secrets(words: list[str]) -> None:
    """Refuse a word with a secret before Hydra writes the words down, without repeating it."""
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key in ("engine.url", "dataset.url") and value != MISSING:
            no_secret(key, value)
        require(not re.search(r"://[^/\s,]*@", value), f"{key}: must not carry a user or password, for it is recorded")
        require(
            not _SECRET.search(f"{key}={value}"),
            f"{key}: a secret must not be in words, which are recorded; the API key belongs in QDRANT_API_KEY, "
            "the hub's token in HF_TOKEN",
        )


def check_folder(words: list[str]) -> None:
    """Refuse that jobs change their folder where each would then have a tracking store of its own."""
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    relative = re.fullmatch(r"(file:)?([^/:][^:]*)?|sqlite:///(?!/).*", store) and store != "databricks"
    if relative and any(re.fullmatch(r"\+*hydra\.job\.chdir=(true|yes|on|1)", word.lower()) for word in words):
        raise ConfigError(
            f"hydra.job.chdir=true: every job would have an MLflow store in its own folder; leave it out, or set "
            f"MLFLOW_TRACKING_URI=sqlite:///{os.getcwd()}/mlflow.db"
        )


def expanded(words: list[str]) -> list[str]:
    """Replace `--overrides 'a=1 b=2'`, as an MLproject passes them, by the words; quote choices that are numbers.

    Flags among them go first. An MLproject's parameter that was not given arrives as `dataset=`, and is left out. A
    collection to be advised is the dataset, unless one is given. Raises ConfigError for a quotation that does not end,
    and for a parameter that the MLproject does not have.
    """
    if "--overrides" in words[:-1]:
        split = words.index("--overrides")
        given = [word for word in words[:split] if word not in {f"{group}=" for group in GROUPS}]
        try:
            more = shlex.split(words[split + 1])
        except ValueError as error:
            raise ConfigError(f"--overrides: {str(error).lower()}; quote its words as for a shell") from error
        if undeclared := words[split + 2 :]:  # which mlflow run appends as flags
            raise ConfigError(
                f"-P {undeclared[0].removeprefix('--')}=…: MLproject has no such parameter; a field of qexp goes into "
                "-P overrides='group.field=value …'"
            )
        flags = [word for word in more if word.startswith("--")]
        words = [*flags, *given, *(word for word in more if word not in flags)]
    if QUIET in words:
        words = [word for word in words if word != QUIET]
        first = next((number for number, word in enumerate(words) if re.match(r"[^-].*=", word)), len(words))
        words = [*words[:first], *QUIET_WORDS, *words[first:]]  # no flag may come between words
    named = [number for number, word in enumerate(words) if word.startswith(f"{SOURCE}=")]
    if named and not any(word.startswith("dataset=") for word in words):
        words = [*words[: named[0]], "dataset=source_collection", *words[named[0] :]]
    return quoted([_as_path(word) for word in words])


def _as_path(word: str) -> str:
    """Quote the path of a file whose name Hydra's grammar has no place for, such as `~/a.npy` or `a (1).npy`."""
    found = _PATH.fullmatch(word)
    if not found:
        return word
    from hydra.core.override_parser.overrides_parser import OverridesParser  # only now: --help takes no parser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return f"{found[1]}={in_grammar(found[2])}"
    return word


def from_anywhere(word: str) -> str:
    """Return the word with the path of what is here so that it can be found from any other folder."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found = _PATH.fullmatch(word)
    if not found:
        return word
    path = OverridesParser.create().parse_override(word).value()
    if not isinstance(path, str):
        return word
    there = located_function(path) if found[1] == "embedding.function" else located(path)
    return word if there == path else f"{found[1]}={in_grammar(there)}"


def quoted(words: list[str]) -> list[str]:
    """Quote choices that are numbers or truth values, which Hydra does not take for names."""
    choices = re.compile(rf"({'|'.join(GROUPS)})=([\w.,+[\]-]+)")
    return [
        f"{found[1]}=" + _NO_NAME.sub(r"'\g<0>'", found[2]) if (found := choices.fullmatch(word)) else word
        for word in words
    ]
