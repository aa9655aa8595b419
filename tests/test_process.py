"""Dropping a folder's pages from memory, and who is in the way of that."""

import mmap
import os
from pathlib import Path

import pytest

from qexp.engine.process import drop_pages, mapped_bytes, process_memory
from qexp.errors import EngineError
from qexp.report.memory import process_text


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


def test_what_the_system_does_not_say_is_unknown_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = process_memory()
    assert whole is not None
    assert whole.read is not None
    read_text = Path.read_text

    def forbidden(path: Path, encoding: str) -> str:
        if path.name == "io":
            raise PermissionError(13, "Permission denied")
        return read_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", forbidden)
    found = process_memory()
    assert found is not None
    assert found.read is None
    assert "read from disk" in process_text(whole)
    assert process_text(found).endswith("major page faults")


def test_files_of_other_processes_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "collection").mkdir()
    latin = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(latin, "wb+") as file:
        file.write(b"1234")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
            drop_pages(tmp_path / "collection")


def test_a_page_counts_once_however_often_it_is_mapped(tmp_path: Path) -> None:
    path, size = tmp_path / "a b", 2**24  # of which the kernel maps what is around a byte that is read, 2 MiB at most
    path.write_bytes(bytes(size))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as first:
        assert mapped_bytes(tmp_path) == {path: 0}
        assert first[0] == 0
        part = mapped_bytes(tmp_path)
        assert part is not None
        assert mmap.PAGESIZE <= part[path] < size
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as second:
            assert second[0] == 0
            assert mapped_bytes(tmp_path) == part
        with mmap.mmap(file.fileno(), size // 2, offset=size // 2, access=mmap.ACCESS_READ) as end:
            assert not any(first[: size // 2])
            assert not any(end[:])
            assert mapped_bytes(tmp_path) == {path: size}
            path.unlink()
            assert mapped_bytes(tmp_path) == {tmp_path / "a b (deleted)": size}
    assert mapped_bytes(tmp_path) == {}
