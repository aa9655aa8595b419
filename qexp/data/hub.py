"""Hugging Face datasets: from the hub, from its cache, or from a folder in the hub's layout."""

import logging
import os
import re
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cache import FULL, Kind
from qexp.data.kept import digest_of
from qexp.errors import DataError, in_one_line, near_miss
from qexp.paths import packaged

if TYPE_CHECKING:
    from datasets import Dataset

NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0")  # what `datasets` says of empty files
UNNAMED = "Length of header or names does not match"  # what pandas says of rows with more fields than there are names
REMEDIES = {  # by what `datasets` and Arrow say
    "Expected all lists to be of size": (
        "Arrow cannot read rows without a vector from a column of fixed size: leave them out, or write lists"
    ),
    UNNAMED: "rows have more fields than the header has names: give each a name",
    "needs to be installed to be able to return": "or save what `with_format(None)` returns",
}
LONGEST = 400  # characters of an error: some list all suffixes that there are
COMMIT = re.compile("[0-9a-f]{40}")


def load_hub(
    path: str, name: str | None, split: str | None, revision: str | None, cache: Path
) -> tuple["Dataset", str]:
    """Load one split (null: `train`); return it and a word that changes when its content does.

    Raises DataError with one line that tells offline, missing, gated, unknown configuration and unknown split apart.
    """
    hush()
    folder = packaged(path) if path.startswith("bundled/") else Path(path)
    state = folder_state(folder) if folder.is_dir() else ""
    if state and escape(os.path.realpath(folder)) != os.path.realpath(folder):  # the files of another are read then
        raise DataError(f"{path}: `datasets` takes its name for a pattern; rename the folder, without [, * and ?")
    split = split or "train"
    # A folder's copy in the default cache is found again by its name and card alone, whatever its files hold now.
    copies = str(cache / Kind.DATASETS / state) if state else None
    try:
        rows = _loaded(str(folder) if state else path, name, split, revision, copies)
    except Exception as error:  # of any kind: a card that is no YAML, a script, a reader that is not installed
        raise DataError(f"{place_of(path, name)}: {_reason(error, path, name, split)}") from error
    if len(rows) == 0:
        raise DataError(f"{place_of(path, name)}: split '{split}' is empty")
    return rows, f"{state} {rows._fingerprint} {commit_of(rows) or ''}".rstrip()


@lru_cache(maxsize=8)
def _loaded(path: str, name: str | None, split: str, revision: str | None, copies: str | None) -> "Dataset":
    """Load a split once for all jobs of this process: the hub is asked once, and cannot change between them."""
    import datasets

    return datasets.load_dataset(path, name, split=split, revision=revision, cache_dir=copies)


def hush() -> None:
    """Keep progress bars, the hub's retries and readers' errors from the terminal: the reason is in our one line."""
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    logging.getLogger("datasets.packaged_modules").setLevel(logging.CRITICAL)


def commit_of(rows: "Dataset") -> str | None:
    """Return the commit of the hub that rows were loaded from; `datasets` keeps them in a folder of that name."""
    folders = {Path(file["filename"]).parent.name for file in rows.cache_files}
    commits = [name for name in folders if COMMIT.fullmatch(name)]
    return commits[0] if len(commits) == 1 else None


def place_of(path: str, name: str | None) -> str:
    """Name a configuration of a dataset in messages."""
    return f"{path}/{name}" if name else path


def folder_state(folder: Path) -> str:
    """Return a digest that changes when any file of the folder (or the file itself) is written."""
    files = [folder] if folder.is_file() else sorted(file for file in folder.rglob("*") if file.is_file())
    states = [f"{file.absolute()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return digest_of(states)


def with_remedy(error: BaseException) -> str:
    """Return in one line what a reader says, with what to do where that is known."""
    text = in_one_line(error)
    return next((f"{text} ({remedy})" for words, remedy in REMEDIES.items() if words in text), text)


def _reason(error: Exception, path: str, name: str | None, split: str) -> str:
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    text = in_one_line(error)
    if any(isinstance(one, OSError) and one.errno in FULL for one in (error, error.__cause__)):
        return "there is no room for a copy of it: free space or set cache_dir=…, for a dataset of the hub HF_HOME=…"
    if Path(path).is_file():
        return f"this is a file; use dataset=file dataset.path={path}"
    if "gated" in text:
        return "gated: ask for access on its hub page, then set HF_TOKEN or run `hf auth login`"
    if isinstance(error, DatasetNotFoundError) or "doesn't exist" in text:
        return "no such dataset on the hub and no such folder here (or private: then set HF_TOKEN)"
    if isinstance(error, ConnectionError):
        why = "offline mode is on and" if "OfflineModeIsEnabled" in text else "the hub cannot be reached and"
        return f"{why} the dataset is not in the local cache; go online, or give a local folder as dataset.path"
    if any(words in f"{text} {error.__cause__}" for words in NO_ROWS):
        return f"split '{split}' is empty"
    if isinstance(error, DatasetGenerationError) and error.__cause__:
        return f"its files cannot be read: {with_remedy(error.__cause__)}"
    if "BuilderConfig" in text:
        known = text.partition("Available: ")[2].strip("[]").replace("'", "").split(", ")
        return f"no such configuration{near_miss(name or 'default', known)}"
    if text.startswith("Unknown split"):
        known = text.partition("Should be one of ")[2].strip("[].").replace("'", "").split(", ")
        return f"no split '{split}'{near_miss(split, known)}"
    return f"cannot load split '{split}': {text[:LONGEST]}"
