"""Locks on files, which one process holds alone, or several together."""

import os
from pathlib import Path

import pytest

from qexp.locks import Lock


def test_makers_are_alone_and_users_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Lock(path, alone=False), Lock(path, alone=False, wait=False), pytest.raises(BlockingIOError):
        Lock(path, alone=True, wait=False)
    with Lock(path, alone=True) as maker:
        with pytest.raises(BlockingIOError):
            Lock(path, alone=False, wait=False)
        maker.share()
        Lock(path, alone=False, wait=False).release()


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_lock_has_its_permissions_whatever_the_umask(mode: int, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Lock(tmp_path / "a", alone=True, mode=mode).release()
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    with pytest.raises(OSError, match="symbolic links"):
        Lock(tmp_path / "a", alone=True)
    assert not (tmp_path / "b").exists()
