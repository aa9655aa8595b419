"""What `pip install` of a wheel gives: configuration and data travel inside it."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.conftest import QUICK

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_configuration_data_and_licences_are_inside(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    assert "qexp/py.typed" in names
    for folder in ("conf", "bundled"):
        for file in filter(Path.is_file, (ROOT / folder).rglob("*")):
            assert f"qexp/{file.relative_to(ROOT)}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_an_installed_wheel_runs_from_another_directory(
    wheel: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    site = Path(
        subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
    )
    # The dependencies of the tests' own environment, but not its qexp.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clean = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
    show = [python, "-c", "import qexp; print(qexp.__file__)"]
    where = subprocess.check_output(show, cwd=elsewhere, env=clean, text=True)
    assert where.startswith(str(site))

    words = ["quantization=binary", *[word for word in QUICK if not word.startswith(("dataset", "index"))]]
    done = subprocess.run([home / "bin" / "qexp", *words], cwd=elsewhere, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wordnet: 20,000 points of 384 dimensions" in done.stdout
    assert subprocess.run([home / "bin" / "qexp", "--help"], cwd=os.sep, env=clean).returncode == 0
