"""Records that wait to be logged, beside other jobs that log them."""

import os
import shutil
import time
from pathlib import Path

import pytest

from qexp import spool
from qexp.cache import ABANDONED


def waiting(root: Path, run_id: str, store: str = "here") -> Path:
    record = spool.Spooled(store, "0", run_id, 0, {}, {}, {}, {}, ())
    return spool.seal(spool.new(root), record)


def test_records_of_the_store_are_pending_and_what_is_abandoned_goes(tmp_path: Path) -> None:
    mine = waiting(tmp_path, "a")
    waiting(tmp_path, "b", "elsewhere")
    made, abandoned = spool.new(tmp_path), spool.new(tmp_path)
    at = time.time() - ABANDONED - 60
    os.utime(abandoned, (at, at))
    assert spool.pending(tmp_path, "here") == [mine]
    assert made.exists()
    assert not abandoned.exists()


@pytest.mark.parametrize("text", ['{"store": "her', '{"store": "here", "more": 1, "trials": []}'])
def test_a_record_that_cannot_be_read_is_named_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    broken, mine = waiting(tmp_path, "a"), waiting(tmp_path, "b")
    (broken / spool.RECORD).write_text(text)
    assert spool.pending(tmp_path, "here") == [mine]
    assert f"{broken} cannot be read, and is not logged" in caplog.text
    assert broken.exists()


def test_what_another_job_has_logged_meanwhile_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = waiting(tmp_path, "a"), waiting(tmp_path, "b")
    load = spool.load

    def beaten(folder: Path) -> spool.Spooled:
        if folder == first:
            spool.done(folder)
        return load(folder)

    monkeypatch.setattr(spool, "load", beaten)
    assert spool.pending(tmp_path, "here") == [last]


def test_a_record_is_never_found_half_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    folder = waiting(tmp_path, "a")
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        spool.done(folder)
    assert spool.pending(tmp_path, "here") == []
