"""What to say where an extra is missing."""

import shlex
import sys
from pathlib import Path

import pytest

from qexp import paths
from qexp.data.arrays import hdf5_distance
from qexp.errors import DataError
from qexp.paths import cache_root, install

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("pip", "installer"),
    [(True, [sys.executable, "-m", "pip", "install"]), (False, ["uv", "pip", "install", "--python", sys.executable])],
)
def test_an_extra_is_installed_by_what_this_python_has(
    pip: bool, installer: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "find_spec", lambda name: object() if pip else None)
    assert shlex.split(install("ray")) == [*installer, "-e", f"{CHECKOUT}[ray]"]
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "qexp")
    assert shlex.split(install("ray")) == [*installer, "qexp[ray]"]


def test_a_missing_extra_is_one_line_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError) as raised:
        hdf5_distance(tmp_path / "ann.hdf5")
    assert str(raised.value) == f"{tmp_path / 'ann.hdf5'}: HDF5 needs h5py; run {install('hdf5')}"


def test_the_cache_is_named_without_symlinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "qexp").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk")
    real = tmp_path.resolve() / "disk" / "qexp"
    assert cache_root(str(link / "qexp")) == real
    monkeypatch.setenv("QEXP_CACHE_DIR", str(link / "qexp"))
    assert cache_root(None) == real
    monkeypatch.delenv("QEXP_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(link))
    assert cache_root(None) == real
