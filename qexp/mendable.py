"""Errors of Hydra, OmegaConf and the file system that are the user's to mend, in one line that says how."""

import errno
import os
import re
from concurrent.futures import BrokenExecutor
from traceback import walk_tb

from qexp.cache import FULL
from qexp.config import known_keys
from qexp.environment import as_multirun, in_mlflow_run, repeat, sweep_run
from qexp.errors import in_one_line, near_miss
from qexp.paths import install
from qexp.usage import GROUPS

KINDS = {"Integer": "a whole number", "Float": "a number", "bool": "true or false"}  # as OmegaConf calls them


def mendable(error: Exception, words: list[str]) -> str:
    """Return what is to be mended, and how, where a command of these words failed; empty for a bug."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, HydraException | OmegaConfBaseException):
        return _composing(error)
    if isinstance(error, AssertionError):
        return _absent_part(error, words)
    if isinstance(error, BrokenExecutor):
        return (
            "hydra/launcher: one of its processes was killed, and all jobs with it; if nobody did so, memory ran out: "
            f"run fewer at once (hydra.launcher.n_jobs); {repeat(sweep_run())} to go on"
        )
    if isinstance(error, UnicodeDecodeError) and _raised_by_hydra(error):
        return "--config-dir: a file there is not in UTF-8; save it so"
    if isinstance(error, MemoryError):
        return f"memory ran out: {in_one_line(error) or 'there is no more'}; ask for less, or use a larger machine"
    if line := _no_yaml(error):
        return line
    return _disk(error) if isinstance(error, OSError) else ""


def not_given(key: str) -> str:
    """Return the line for a field without a value, `a.b` or, in a list, `a.b[0].c`."""
    of_item = re.fullmatch(r"(.+)\[\d+\]\.(\w+)", key)
    return f"{key}: must be given; " + (f"write '{of_item[1]}=[{{{of_item[2]}: …}}]'" if of_item else f"add {key}=…")


def _composing(error: Exception) -> str:
    text = f"{error}\n{error.__cause__ or ''}"
    for told in (_bad_file, _no_config, _no_choice, _no_key, _bad_word, _bad_values, _bad_kind):
        if line := told(text):
            return line
    said, _, rest = text.partition("full_key:")
    place = re.match(r" (\S+)\n", rest)
    return f"{place[1]}: {in_one_line(said)}" if place and place[1] not in said else in_one_line(said)


def _bad_file(text: str) -> str:
    """Return the line for a field in a file of choices that the schema does not have."""
    strange = re.match(r"In '([\w/.-]+)': ConfigKeyError.*\nKey '([^']+)' not in '(\w+)'\s+full_key: (\S+)", text)
    if not strange:
        return ""
    file, field, part, key = strange.groups()
    if file.partition("/")[0] == key:  # the group itself, into which Hydra puts what has no package
        return f"{file}.yaml: a preset of several groups begins with the line # @package _global_"
    if part == "DatasetConfig":
        return f"{file}.yaml: {key}: of which kind? Begin it with defaults: [file], or [hub] for the Hugging Face hub"
    place = key.removesuffix(field)
    fields = {known.removeprefix(place) for known in known_keys() if known.startswith(place)}
    return f"{file}.yaml: {key}: no such field{near_miss(field, fields - {field})}"


def _no_yaml(error: Exception) -> str:
    """Return the line for a file of the user's own that is not YAML; empty if that is not the error."""
    mark = getattr(error, "problem_mark", None)  # the parser's, which has no types
    if mark is None:
        return ""
    at = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
    return f"{at}: {in_one_line(getattr(error, 'problem', ''))}; not YAML as it is"


def _no_config(text: str) -> str:
    """Return the line for a configuration that takes the place of qexp's own and is not there."""
    if re.match("Cannot find primary config 'config'", text):
        return "--config-path: leave it out; a folder with choices of your own is --config-dir=…"
    if named := re.match(r"Cannot find primary config '([^']*)'", text):
        return f"--config-name={named[1]}: no such file in the folder of --config-dir; leave it out for qexp's own"
    if found := re.match(r"Primary config .*?'(?:qexp\.)?([^']+)'", text, re.DOTALL):
        return f"--config-path={found[1]}: leave it out; a folder with choices of your own is --config-dir=…"
    return ""


def _no_choice(text: str) -> str:
    """Return the line for a group that has no such choice, with the near miss."""
    choice = re.search(r"Could not (?:find|load) '([\w/]+)/([^/']+)'", text)
    if not choice:
        return ""
    group, name = choice.groups()
    if group.startswith("hydra/"):
        extra = name.partition("_")[0]
        return f"{group}={name}: not installed; if it is an extra of qexp, run {install(extra)}"
    known = re.findall(r"^\t([^\s,]+)$", text, re.MULTILINE)  # those of the user's own folder too
    if group == "embedding" and name.isdigit():
        return f"embedding={name}: no such choice; any size is embedding.size={name}"
    if group == "dataset" and "." in name:
        return f"dataset={name}: no such choice; a file is dataset=file dataset.path={name}"
    return f"{group}={name}: no such choice{near_miss(name, known)}"


def _no_key(text: str) -> str:
    """Return the line for a group or field that is not there, with the near miss."""
    key = re.search(r"Could not (?:override|append|delete from) (?:config value at |config\. )?'([^']+)'", text)
    key = key or re.search(r"override ~([\w.]+)\S*\n.* does not support deletion", text)
    if not key:
        return ""
    name = key.group(1).split("@")[0]
    inner = re.search(r"Key '(\w+)' not in '\w+'\s+full_key: (\w+)\s", text)
    if inner and inner[1] == inner[2] != name and not name.startswith(f"{inner[1]}."):  # of an item in a list of parts
        return f"{name}: an item has no field '{inner[1]}'; qexp --cfg job shows those that it has"
    if name in GROUPS:
        return f"{name}: no such choices; they are listed as a,b, and glob(…) stands alone; qexp --help shows them"
    if name not in known_keys():
        group, _, field = name.rpartition(".")
        fields = {known.removeprefix(f"{group}.") for known in known_keys() if known.startswith(f"{group}.")}
        near = near_miss(field, fields) if fields else near_miss(name, {*GROUPS, *known_keys()})
        return f"{name}: no such group or field{near}"
    if "delet" in key[0]:
        return f"~{name}: no field of the schema can be taken out; {name}=null leaves it unset, where it may be"
    group, _, field = name.partition(".")
    return f"{name}: the {group} that is chosen has no '{field}'; choose the {group}=… that has it"


def _bad_word(text: str) -> str:
    """Return the line for a word that Hydra cannot read, or that chooses again what is chosen."""
    twice = re.search(r"Multiple values for (\w+)\.", text)
    if twice and twice[1] in GROUPS:
        return f"+{twice[1]}=…: is chosen already; leave out the +"
    if "override_grammar" not in text:  # the page of Hydra's that it sends to
        return ""
    named = re.match(r"Error parsing override '(.*)'\n", text)
    if named and "=" not in named[1]:
        return f"{named[1]}: is no word of qexp's; write group=choice or group.field=value (qexp --help)"
    said = named[1] if named else re.sub(r"^\w+Exception: |\s*\^?\s*See https.*", "", text, flags=re.DOTALL)
    if re.match(r"mismatched input '(<EOF>|,)' expecting", said):
        return "a comma has no value after it: the shell takes words apart at blanks; write a,b, or quote the word"
    if re.search(r"\{([^\[\]{}]*,)? ?[\"']", said):
        return f"{said}: not in Hydra's grammar, where keys in {{}} have no quotes; say it in a file (--config-dir)"
    if sum(map(said.count, "[{")) > sum(map(said.count, "]}")):  # a shell takes words apart at blanks
        return f"{said}: a bracket is not closed; put quotes around the whole word, as in 'key={{a: b}}'"
    return f"""{said}: not in Hydra's grammar; put quotes around such text within the word, as in 'key="città"'"""


def _bad_values(text: str) -> str:
    """Return the line for several values where one is wanted, and for one where a list is."""
    if several := re.match(r"Ambiguous value for argument '([^']*)'", text):
        name, _, values = several[1].partition("=")
        listed = "" if name in GROUPS else f"; a list is {name}=[{values}]"
        command = "mlflow run … -e sweep -P experiment= …" if in_mlflow_run() else "qexp -m …"
        return f"{several[1]}: a sweep over several values needs {as_multirun()}: {command}{listed}"
    made = re.search(r"override dataset\.(queries\.\w+)=.*'dict' could not be converted to Integer", text, re.DOTALL)
    if made:
        return f"dataset.{made[1]}: the dataset that is chosen makes its queries; dataset.queries=… says how many"
    if needed := re.search(r"override ([\w.]+=null)\nfield '.*' is not Optional", text):
        return f"{needed[1]}: must have a value; leave it out for the default"
    kind = re.search(r"override ([\w.]+=.*)\nValue .* (?:converted to|not a valid) (\w+)", text)
    if kind and kind[2] in KINDS:
        return f"{kind[1]}: must be {KINDS[kind[2]]}"
    return ""


def _bad_kind(text: str) -> str:
    """Return the line for a value where a list, a mapping or a part with fields of its own is wanted."""
    word = re.search(r"override (([\w.]+)=(.*))\n", text)
    if not word:
        return ""
    given, key, value = word.groups()
    if of_item := re.fullmatch(r"(\D+)\.\d+(?:\.(\w+))?", key):
        inner = f"{{{of_item[2]}: {value}}}" if of_item[2] else value
        return f"{given}: an item is given with its list; write '{of_item[1]}=[{inner}]'"
    if "is not a ListConfig" in text:
        return f"{given}: is a list; write [{value}], and in a sweep [{value}],[…]"
    if several := re.search("Cannot convert '(list|dict)' to string", text):
        return f"{given}: must be a text, not a {'list' if several[1] == 'list' else 'mapping'}"
    if "object_type=list" in text and re.search(r"\bnull\b", value):
        return f"{given}: no item may be null"
    if "object_type=list" in text and "is not a subclass of" in text:
        return f"{given}: an item has fields of its own; write '{key}=[{{name: value}}]'"
    if "object_type=list" in text:
        return f"{given}: is a list; write {key}=[…]"
    if "object_type=dict" in text or re.search(r"Cannot assign \w+ to Dict", text):
        return f"{given}: is a mapping; write '{key}={{name: value}}'"
    if part := re.fullmatch(r"search\.(tune|adaptive)", key):
        return f"{given}: is a part with fields of its own; add search={part[1]}"
    if "is not a subclass of" in text or "Cannot merge DictConfig with ListConfig" in text:
        return f"{given}: has fields of its own; write {key}.field=value (qexp --cfg job shows those that are there)"
    return ""


def _absent_part(error: AssertionError, words: list[str]) -> str:
    """Return which word sets a field of a part that this search does not have; empty if that is not the error.

    OmegaConf asserts that what it merges into is there, and names neither.
    """
    if "Unexpected type for root" not in str(error):
        return ""
    fields = filter(None, (re.match(r"\+*search\.(tune|adaptive)\.[^=]*", word) for word in words))
    return next((f"{field[0]}: this search has no {field[1]}; add search={field[1]}" for field in fields), "")


def _disk(error: OSError) -> str:
    """Return the line for a disk that is full or cannot be written, and for a folder of output that cannot be made."""
    if error.errno not in FULL and not _raised_by_hydra(error):
        return ""
    remedy = "run in another folder, or set hydra.run.dir=… (with -m hydra.sweep.dir=…)"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free space or move it"
    return f"{os.path.abspath(error.filename or '.')}: {error.strerror}; {remedy}"


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra met the fault: where it makes the folder for a run's output, or reads files of choices."""
    modules = [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(error.__traceback__)]
    return [name for name in modules if name in ("hydra", "qexp")][-1:] == ["hydra"]
