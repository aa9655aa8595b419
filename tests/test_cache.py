import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import qexp.cache
from qexp.cache import ABANDONED, REMOVED, Kind, entries, evict, locked, remove, room, using
from qexp.cached import chosen
from qexp.config import ExperimentConfig
from qexp.data.vectors import Data
from qexp.errors import ConfigError, DataError
from qexp.runner import measure_experiment
from tests.conftest import QUICK, Qexp, Swept
from tests.support.running import ran

BLOCK = 4096
NEW, MIDDLE, OLD = "truth/a-0123456789abcdef.npz", "vectors/b-0123456789abcdef", "collections/c-64-none-0123456789ab"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three entries of ten blocks each, used one, two and three days ago, and things that are not entries."""
    for days, name in enumerate((NEW, MIDDLE, OLD), start=1):
        path = tmp_path / name
        path.parent.mkdir()
        file = path if path.suffix else path / "data"
        file.parent.mkdir(exist_ok=True)
        if name == NEW:
            np.savez(file, ids=np.zeros((640, 8), np.int64), scores=np.zeros(1))
        else:
            file.write_bytes(os.urandom(10 * BLOCK))
        at = time.time() - days * 24 * 3600
        os.utime(path, (at, at))
    (tmp_path / "spool" / "run").mkdir(parents=True)
    return tmp_path


def names(cache: Path) -> list[str]:
    return [entry.name for entry in entries(cache)]


def test_entries_come_least_recently_used_first_with_their_size(cache: Path) -> None:
    assert names(cache) == [OLD, MIDDLE, NEW]
    for entry in entries(cache):
        assert 10 * BLOCK <= entry.bytes <= 12 * BLOCK


def test_neighbours_and_copies_of_datasets_say_what_they_are(cache: Path) -> None:
    for part, rows in {"corpus": 20000, "queries": 12}.items():
        info = cache / "datasets" / "0123456789abcdef" / "mine" / part / "dataset_info.json"
        info.parent.mkdir(parents=True)
        splits = {"train": {"num_examples": rows}}
        info.write_text(json.dumps({"dataset_name": "mine", "config_name": part, "splits": splits}))
    about = {entry.path.parent.name: entry.about for entry in entries(cache)}
    assert about["datasets"] == "20,000 rows of mine/corpus, 12 rows of mine/queries"
    assert about["truth"] == "8 neighbours of 640 queries"


def test_a_broken_entry_is_shown_and_can_go(cache: Path) -> None:
    (cache / OLD / "complete.json").write_text("")
    (cache / MIDDLE / "facts.json").write_text("{}")
    assert [entry.about for entry in entries(cache)].count("broken, and made again when it is needed") == 2
    assert len(evict(cache, 0)) == 3


def test_the_oldest_go_until_the_rest_fits(cache: Path) -> None:
    assert evict(cache, 40 * BLOCK) == []
    assert [entry.name for entry in evict(cache, 25 * BLOCK)] == [OLD]
    with using(cache, cache / MIDDLE):
        pass  # used now: no longer the oldest
    assert [entry.name for entry in evict(cache, 15 * BLOCK)] == [NEW]
    assert names(cache) == [MIDDLE]


def test_what_a_running_job_holds_is_not_evicted(cache: Path) -> None:
    held = (
        "import sys, pathlib, qexp.cache as cache\n"
        "with cache.using(*map(pathlib.Path, sys.argv[1:])):\n"
        "    print(1, flush=True), input()"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", held, str(cache), str(cache / OLD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert job.stdout is not None
    assert job.stdout.readline() == b"1\n"
    assert [entry.name for entry in evict(cache, 0)] == [MIDDLE, NEW]
    assert names(cache) == [OLD]
    job.kill()
    job.communicate()
    assert [entry.name for entry in evict(cache, 0)] == [OLD]


def test_what_is_being_made_is_left_until_it_is_abandoned(cache: Path) -> None:
    path = cache / "vectors" / "x.partial"
    path.mkdir()
    (unfinished,) = (entry for entry in entries(cache) if entry.path == path)
    assert unfinished.about == "unfinished"
    assert not remove(cache, unfinished)
    at = time.time() - ABANDONED - 60
    os.utime(path, (at, at))
    (unfinished,) = (entry for entry in entries(cache) if entry.path == path)
    assert remove(cache, unfinished)
    assert not path.exists()


def test_what_a_killed_removal_left_is_in_nobodys_way(cache: Path) -> None:
    left = cache / f"{OLD}{REMOVED}"
    (left / "shard").mkdir(parents=True)
    oldest = next(entry for entry in entries(cache) if entry.name == OLD)
    assert remove(cache, oldest)
    assert not oldest.path.exists()
    assert names(cache)[-1] == f"{OLD}{REMOVED}"
    (leftover,) = (entry for entry in entries(cache) if entry.path == left)
    assert leftover.about.startswith("being removed")
    with using(cache, oldest.path):  # made again since
        assert remove(cache, leftover)
    assert not left.exists()


def test_what_qexp_has_not_made_is_nobodys_to_remove(cache: Path) -> None:
    own = ["photos/a.jpg", "thesis/ch1.tex", "datasets/mine.parquet", "vectors/of-2024/glove.npy", "truth/0123.npz"]
    for name in own:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).touch()
    assert names(cache) == [OLD, MIDDLE, NEW]
    assert [entry.name for entry in chosen(entries(cache), [], None, True)] == [OLD, MIDDLE, NEW]
    evict(cache, 0)
    assert all((cache / name).exists() for name in own)
    assert names(cache) == []


def test_all_that_is_cached_is_of_a_kind_that_is_known(swept: Swept) -> None:
    cache = swept.folder / "cache"
    folders = {folder.name for folder in cache.iterdir()}
    assert {"collections", "synthetic", "truth", "vectors"} <= folders <= {*Kind, "locks", "spool"}
    made = {str(path.relative_to(cache)) for kind in Kind for path in (cache / kind).glob("*")}
    assert {entry.name for entry in entries(cache)} == made


def test_makers_name_a_kind_and_no_folder_of_their_own() -> None:
    for file in Path(qexp.cache.__file__).parent.rglob("*.py"):
        assert not re.search(r"\bcache / f?[\"']", file.read_text()), f"{file}: add a Kind"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (OSError(errno.ENOSPC, "Error writing bytes to file"), "cache_dir={}: No space left on device; free"),
        (OSError(errno.EROFS, "no", "/a/file"), "/a/file: Read-only file system; free"),
        (OSError("262144 requested and 244704 written"), "cache_dir={}: No space left on device; free"),
    ],
)
def test_a_full_disk_is_named(fault: OSError, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{named.format(tmp_path)} space or set cache_dir=…$"), room(tmp_path):
        raise fault


def test_what_is_no_full_disk_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="other"), room(tmp_path):
        raise OSError("other")


def test_what_to_remove_is_said(cache: Path) -> None:
    cached = entries(cache)
    assert chosen(cached, [], 1.5, False) == cached[:2]
    assert chosen(cached, [NEW], None, False) == cached[2:]
    assert chosen(cached, [], None, True) == cached
    with pytest.raises(ConfigError, match=rf"{NEW[:-1]}: not in the cache \(did you mean '{NEW}'\?\)"):
        chosen(cached, [NEW[:-1]], None, False)
    with pytest.raises(ConfigError, match="say what to remove"):
        chosen(cached, [], None, False)
    for words in (([NEW], 1.5, False), ([NEW], None, True), ([], 1.5, True)):
        with pytest.raises(ConfigError, match="one of them"):
            chosen(cached, *words)
    with pytest.raises(ConfigError, match=r"^--older-than -1: must be 0 or more days"):
        chosen(cached, [], -1, False)


def test_laid_out_vectors_are_held_before_their_neighbours_are_searched(
    small: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def searched(data: Data, *asked: object) -> None:
        assert data.vectors.parent not in [entry.path for entry in evict(tmp_path / "cache", 0)]
        raise DataError("far enough")

    monkeypatch.setattr("qexp.runner.find_truth", searched)
    with pytest.raises(DataError, match="far enough"):
        measure_experiment(small)


@pytest.mark.slow
def test_the_command_shows_and_removes_what_a_run_has_cached(qexp: Qexp, measured: Swept, tmp_path: Path) -> None:
    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from qexp.cached import main; sys.argv[0] = 'qexp-cache'; main()"
        return ran(measured.environment | more, tmp_path, "-c", code, *words)

    assert command("ls", QEXP_CACHE_DIR=str(tmp_path / "none")).stdout.startswith("0 entries, 0.0 MiB")
    shown = command("ls").stdout
    assert "2,000 points of 64 dimensions" in shown
    assert f"{len(entries(tmp_path / 'cache'))} entries" in shown
    refused = command("rm", "nothing")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("qexp-cache: nothing: not in the cache")
    (tmp_path / "cache" / "locks").rename(tmp_path / "locks")
    (tmp_path / "cache" / "locks").touch()
    unlocked = command("rm", "--all")
    assert (unlocked.returncode, unlocked.stderr) == (
        2,
        f"qexp-cache: {tmp_path}/cache/locks: File exists; see whose it is\n",
    )
    (tmp_path / "cache" / "locks").unlink()
    (tmp_path / "locks").rename(tmp_path / "cache" / "locks")
    first = entries(tmp_path / "cache")[0]
    assert command("rm", first.name).stdout.startswith("removed 1 of 1 entries")
    assert not first.path.exists()
    done = qexp("quantization=binary", *QUICK, "cache_limit_gib=0")
    assert "evicted collections/synthetic-64-" in done.stderr
    assert entries(tmp_path / "cache") == []


def test_locks_that_cannot_be_had_leave_no_file_open(tmp_path: Path) -> None:
    taken = locked(tmp_path, "truth-b", alone=True)
    before = psutil.Process().num_fds()
    with pytest.raises(BlockingIOError):
        locked(tmp_path, "truth-b", alone=False, wait=False)
    (tmp_path / "locks" / "truth-c").mkdir()
    with pytest.raises(IsADirectoryError), using(tmp_path, tmp_path / "truth" / "a", tmp_path / "truth" / "c"):
        pass
    assert psutil.Process().num_fds() == before
    taken.release()
