"""Where figures come from: the commit, the lock and the command that would make them again."""

import hashlib
import os
import re
import shlex
import subprocess
from pathlib import Path

from qexp.config import ExperimentConfig, located_encoder, paths_of
from qexp.environment import experiment_name
from qexp.paths import packaged

BUNDLED = "bundled/"  # paths of what comes with qexp, whose commit tells
WHOLE_BYTES = 64 * 2**20  # of files that are read to tell whether they have changed
NAMED = ("dataset", "embedding", "quantization", "storage", "index", "search", "engine")  # MLproject's parameters


def inputs(config: ExperimentConfig) -> str:
    """Return a digest that changes when a file of the user's that the experiment reads does; empty without any.

    Where they are large, size and time of each tell.
    """
    encoder = located_encoder(config.embedding)
    paths = [encoder.model, encoder.function and encoder.function.rpartition(":")[0], *paths_of(config.dataset)]
    given = [os.path.expanduser(path) for path in paths if path and not path.startswith(BUNDLED)]
    here = [Path(path) for path in given if os.path.exists(path)]  # which takes any text
    found = [file for path in here for file in (path, *sorted(path.rglob("*"))) if file.is_file()]
    small = sum(file.stat().st_size for file in found) <= WHOLE_BYTES
    states = "\n".join(_state(file, small) for file in found)
    return states and hashlib.sha256(states.encode()).hexdigest()[:12]


def _state(file: Path, whole: bool) -> str:
    if not (whole and os.access(file, os.R_OK)):  # loading says what cannot be read
        return f"{file.stat().st_size} {file.stat().st_mtime_ns}"
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def checkout() -> Path | None:
    """Return the git checkout that qexp runs from; None when it is installed."""
    folder = packaged("conf").parent
    return folder if (folder / ".git").exists() else None


def code_tags() -> dict[str, str]:
    """Return what identifies the code: commit, whether files differ from it, and a digest of the lock."""
    folder = checkout()
    if folder is None:
        return {}
    lock = folder / "requirements.lock"
    tags = {"qexp.lock": hashlib.sha256(lock.read_bytes()).hexdigest()[:12]} if lock.exists() else {}
    if commit := _git(folder, "rev-parse", "HEAD"):
        tags |= {"qexp.git_sha": commit, "qexp.git_dirty": str(bool(uncommitted())).lower()}
    return tags


def uncommitted() -> str:
    """Return the difference between the checkout's files and its commit; nothing when there is none."""
    folder = checkout()
    if folder is None:
        return ""
    untracked = _git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--", "qexp", "conf")
    new = [_git(folder, "diff", "--no-index", "--", "/dev/null", name) for name in filter(None, untracked.split("\0"))]
    return "\n".join(part for part in (_git(folder, "diff", "HEAD"), *new) if part)


def reproduce_command(words: list[str], sweep: bool = False) -> str:
    """Return the `mlflow run` that composes the same experiment, at the same commit where the checkout has a remote.

    Of a sweep, the words are those of the command, which may name a preset.
    """
    folder = checkout()
    if folder is None:
        return shlex.join(["qexp", *(["-m"] if sweep else []), *words])
    names = ("experiment", *NAMED) if sweep else NAMED
    chosen = {"experiment": "experiment="} if sweep else {}  # else the entry point has a default
    chosen |= {word.split("=", 1)[0]: word for word in words if word.split("=", 1)[0] in names}
    rest = [word for word in words if word not in chosen.values()]
    remote = _fetchable(_git(folder, "config", "--get", "remote.origin.url"))
    command = ["mlflow", "run", remote or "."]
    if remote:
        command += ["--version", _git(folder, "rev-parse", "HEAD")]
    command += ["--experiment-name", experiment_name(), "-e", "sweep" if sweep else "main"]
    for name in names:
        if name in chosen:
            command += ["-P", chosen[name].replace("'", "")]
    return shlex.join([*command, "-P", f"overrides={shlex.join(rest)}"] if rest else command)


def _fetchable(remote: str) -> str:
    """Return a remote that others can reach, without its password; nothing for a folder of this machine.

    MLflow would check the commit out in that folder itself.
    """
    scheme, sign, rest = remote.partition("://")
    if scheme == "file" or not (sign or re.match(r"[^/]+:", remote)):
        return ""
    if not sign:
        return remote
    user, at, place = rest.rpartition("@")
    named = user.partition(":")[0] + at if scheme == "ssh" else ""
    return f"{scheme}://{named}{place}"


def _git(folder: Path, *words: str) -> str:
    """Return what git says, nothing where it fails or is not there; files may be in any encoding."""
    try:
        found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        return ""
    expected = int("--no-index" in words)  # 1 is git's for files that differ, and what is asked for does
    return found.stdout.strip() if found.returncode == expected else ""
