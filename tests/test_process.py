"""Dropping a folder's pages from memory, and who is in the way of that."""

import mmap
import os
from pathlib import Path

import pytest

from qexp.engine.process import drop_pages
from qexp.errors import EngineError


def test_a_folder_that_a_process_maps_keeps_its_pages_however_it_is_named(tmp_path: Path) -> None:
    folder, link = tmp_path / "collection", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    (folder / "file").write_bytes(b"1234")
    with (folder / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        for name in (folder, link):
            with pytest.raises(EngineError, match=f"^process {os.getpid()} has {name.name} loaded"):
                drop_pages(name)
    drop_pages(link)


def test_files_of_other_processes_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "collection").mkdir()
    latin = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(latin, "wb+") as file:
        file.write(b"1234")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
            drop_pages(tmp_path / "collection")
