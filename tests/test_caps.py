"""Memory caps: real ones where this machine allows them, files that look like version 2 elsewhere."""

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from qexp.config import EngineConfig, parse_cap
from qexp.engine import caps
from qexp.engine.base import build_collection
from qexp.engine.caps import Cap, Hierarchy, hierarchy, remove_stale
from qexp.engine.cliff import Procedure, measure_cliff, unlike
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.errors import BenchmarkError, ConfigError
from qexp.results import OperatingPoint
from qexp.results.footprint import CapTrial, Cliff, ProcessMemory
from tests.conftest import QUICK, Qexp
from tests.support.running import runs_of
from tests.test_edge import spec, vectors

MIB = 2**20


def allowed() -> Hierarchy | str:
    try:
        return hierarchy()
    except ConfigError as error:
        return str(error)


WHERE = allowed()
needs_caps = pytest.mark.skipif(isinstance(WHERE, str), reason=f"no memory caps here: {WHERE}")


def real() -> Hierarchy:
    assert isinstance(WHERE, Hierarchy)
    return WHERE


def left_over() -> list[str]:
    return [group.name for group in real().folder.glob(f"qexp-{os.getpid()}-*")]


@pytest.mark.parametrize(
    ("text", "cap"),
    [("256MiB", (2**28, False)), ("1.5 GiB", (1.5 * 2**30, False)), ("300MB", (3e8, False)), ("50%", (0.5, True))],
)
def test_caps_are_sizes_or_shares(text: str, cap: tuple[float, bool]) -> None:
    assert parse_cap(text) == cap


@pytest.mark.parametrize("text", ["256", "half", "-1MiB", "1TiB", "0%", ""])
def test_other_caps_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="ram_caps"):
        EngineConfig("edge", ram_caps=[text])


def version_2(folder: Path, controllers: str = "cpu memory") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text("")
    (folder / "cgroup.procs").write_text("")
    return folder


def test_version_2_is_used_where_the_memory_controller_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caps, "CGROUPS", version_2(tmp_path / "cgroup"))
    found = caps._all_of_version_2()
    assert found is not None
    assert found.folder == tmp_path / "cgroup"
    assert (found.limit, found.swap_limit, found.events) == ("memory.max", "memory.swap.max", "memory.events")
    assert (tmp_path / "cgroup" / "cgroup.subtree_control").read_text() == "+memory"


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A delegated group, which is this process's own."""
    scope = version_2(tmp_path / "scope")
    (scope / "cgroup.procs").write_text("11\n12\n")
    (tmp_path / "own").write_text("0::/scope\n")
    monkeypatch.setattr(caps, "CGROUPS", tmp_path)
    monkeypatch.setattr(caps, "OWN", tmp_path / "own")
    return scope


def test_a_delegated_group_is_divided_into_a_leaf_and_caps(scope: Path) -> None:
    found = caps._delegated()
    assert found is not None
    assert found.folder == scope
    assert (scope / f"qexp-{os.getpid()}-main" / "cgroup.procs").read_text() == "12"
    assert (scope / "cgroup.subtree_control").read_text() == "+memory"


def test_a_process_that_has_ended_need_not_move(scope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text = Path.write_text

    def written(file: Path, text: str, encoding: str) -> int:
        if text == "11":
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return write_text(file, text, encoding)

    monkeypatch.setattr(Path, "write_text", written)
    assert caps._delegated() is not None
    assert (scope / f"qexp-{os.getpid()}-main" / "cgroup.procs").read_text() == "12"


def test_a_group_that_cannot_be_divided_is_one_line(scope: Path) -> None:
    in_the_way = scope / f"qexp-{os.getpid()}-main" / "cgroup.procs"
    in_the_way.mkdir(parents=True)
    with pytest.raises(
        ConfigError, match=rf"no memory cap can be set here \({in_the_way}: Is a directory\); run it as"
    ):
        hierarchy()


@pytest.mark.parametrize("controllers", ["", "cpu io"])
def test_without_the_memory_controller_one_line_says_what_to_run(
    controllers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caps, "CGROUPS", version_2(tmp_path / "cgroup", controllers))
    monkeypatch.setattr(sys, "argv", ["qexp", "-m", "experiment=ram_cliff"])
    with pytest.raises(ConfigError, match=r"systemd-run .*--scope -p Delegate=yes qexp -m experiment=ram_cliff"):
        hierarchy()


@pytest.mark.parametrize(("swap_limit", "swap"), [("memory.memsw.limit_in_bytes", "4096"), ("memory.swap.max", "0")])
def test_a_cap_leaves_no_swap(swap_limit: str, swap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(folder: Path) -> None:
        os.mkdir(folder)
        (folder / swap_limit).touch()  # as the kernel does

    monkeypatch.setattr(Path, "mkdir", made)
    cap = Cap(Hierarchy(tmp_path, "limit", swap_limit, ""), 4096).__enter__()
    assert [(cap.folder / name).read_text() for name in ("limit", swap_limit)] == ["4096", swap]


def test_groups_of_dead_runs_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"qexp-{dead.pid}-1", f"qexp-{os.getpid()}-7", "qexp-of-somebody", "other"):
        (tmp_path / name).mkdir()
    assert remove_stale(tmp_path) == [f"qexp-{dead.pid}-1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", f"qexp-{os.getpid()}-7", "qexp-of-somebody"]


HUNGRY = "import sys; sys.stdin.readline(); block = bytearray(int(sys.argv[1])); print('fed')"


def hungry(size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HUNGRY, str(size)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@needs_caps
@pytest.mark.parametrize(("size", "killed"), [(8 * MIB, False), (96 * MIB, True)])
def test_a_cap_lets_live_or_kills_and_is_gone_afterwards(size: int, killed: bool) -> None:
    with Cap(real(), 32 * MIB) as cap, hungry(size) as process:
        cap.add(process.pid)
        said, _ = process.communicate("\n")
        assert (process.returncode == -signal.SIGKILL, cap.killed) == (killed, killed)
        assert (said == "fed\n") is not killed
    assert left_over() == []


RUN = """
import sys, time
from qexp.engine.caps import Cap, hierarchy
with Cap(hierarchy(), 2**26) as cap:
    cap.add(int(sys.argv[1]))
    print(cap.folder, flush=True)
    time.sleep(60)
"""


@needs_caps
def test_caps_of_a_killed_run_are_removed_by_the_next() -> None:
    with hungry(0) as process:
        with subprocess.Popen([sys.executable, "-c", RUN, str(process.pid)], stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            folder = Path(run.stdout.readline().strip())
            assert (folder / "cgroup.procs").read_text().split() == [str(process.pid)]
            run.kill()
        assert folder.exists()  # nobody was left to remove it
        assert folder.name not in remove_stale(real().folder)  # a process still lives in it
        process.communicate("\n")
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        hierarchy()
    assert not folder.exists()


def test_a_round_with_other_faults_is_marked() -> None:
    assert unlike([0, 0, 0, 0], 200) == 0
    assert unlike([0, 1, 10, 0], 200) == 0  # a fault in twenty queries
    assert unlike([0, 0, 11, 0], 200) == 1
    assert unlike([1000, 1100, 900, 1400], 200) == 0
    assert unlike([1000, 1100, 900, 1700], 200) == 1


def trial(cap: int | None, mean: float | None) -> CapTrial:
    return CapTrial("none", "no rescore", cap, mean, mean)


@pytest.mark.parametrize(
    ("means", "floor"),
    [
        ([1.0, 1.1, 1.9, 2.1], 20),
        ([1.0, 1.0, 1.0, 1.0], 10),
        ([1.0, 5.0, 1.0, 1.0], None),  # what comes after the first fall does not count
        ([1.0, 1.0, None, None], 30),
    ],
)
def test_the_floor_is_the_smallest_cap_before_the_first_fall(means: list[float | None], floor: int | None) -> None:
    trials = [trial(cap, mean) for cap, mean in zip([None, 30, 20, 10], means, strict=True)]
    assert Cliff(40, tuple(reversed(trials))).floor("none", "no rescore") == floor


def test_what_a_process_reads_to_start_says_nothing_of_dropped_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "queries.npy", vectors(32, 2, seed=1))
    build_collection(EdgeEngine(tmp_path / "c"), spec("none", size=32), vectors(32))
    monkeypatch.setattr(Worker, "process", lambda _: ProcessMemory(0, 0, 0, 0, 0, 0, read=4096))
    procedure = Procedure(partial(EdgeEngine, tmp_path / "c"), tmp_path / "c", tmp_path / "queries.npy", 2, 0)
    nowhere = Hierarchy(tmp_path, "", "", "")
    with pytest.raises(BenchmarkError, match=r"^T13 nothing was read from disk .*: set cache_dir to a folder"):
        measure_cliff(procedure, nowhere, [(spec("none", size=32), [OperatingPoint(10)])], 1, [])


@pytest.mark.slow
@needs_caps
def test_floats_fall_off_where_codes_do_not_and_the_kernel_kills_what_is_pinned(tmp_path: Path) -> None:
    size, points = 512, 9000  # with half of fewer floats a busy kernel now and then kills what should only be slow
    np.save(tmp_path / "queries.npy", vectors(size, 50, seed=1))
    bare = spec("none", size=size, points=points)
    codes = spec("binary", size=size, points=points)
    for asked in (bare, codes):
        build_collection(EdgeEngine(tmp_path / "c"), asked, vectors(size, points))
    procedure = Procedure(partial(EdgeEngine, tmp_path / "c"), tmp_path / "c", tmp_path / "queries.npy", 2, 0)
    point = OperatingPoint(10)
    targets = [(bare, [point]), (codes, [point])]
    wanted = points * size * 4
    cliff = measure_cliff(procedure, real(), targets, wanted, [(3.0, True), (0.5, True), (256 * 1024, False)])
    found = {(each.method, each.cap): each for each in cliff.trials}
    half = wanted // 2
    assert [each.cap for each in cliff.series()[("none", "no rescore", "")]] == [None, 3 * wanted, half, 2**18]
    floats, coded = found["none", half], found["binary", half]
    assert floats.faults is not None
    assert coded.faults is not None
    assert floats.faults > 10 > 1 > coded.faults
    assert floats.read is not None
    assert floats.read > 4096 * floats.faults / 2
    assert found["binary", 2**18].killed
    assert found["binary", 2**18].speedup is None
    assert left_over() == []


@pytest.mark.slow
@needs_caps
def test_a_run_under_caps_records_the_cliff(qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp(*QUICK, "quantization=binary", "engine.ram_caps=[4000%,10%]")
    assert done.returncode == 0, done.stderr
    assert "under memory caps" in done.stdout
    assert "baseline: holds with" in done.stdout or "baseline: is killed with" in done.stdout
    (run,), client = runs_of(environment, "collection"), MlflowClient(environment["MLFLOW_TRACKING_URI"])
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"memory.md", "cliff.json", "cliff.md", "cliff.png"} <= names


@pytest.mark.slow
@needs_caps
def test_a_sweep_under_caps_tells_its_jobs_apart(qexp: Qexp, environment: dict[str, str]) -> None:
    done = qexp("-m", *QUICK, "quantization=binary", "index.m=8,16", "engine.ram_caps=[4000%]")
    assert done.returncode == 0, done.stderr
    (run,), client = runs_of(environment, "sweep"), MlflowClient(environment["MLFLOW_TRACKING_URI"])
    assert run.info.status == "FINISHED"
    folder = client.download_artifacts(run.info.run_id, "")
    text, report = (Path(folder, name).read_text() for name in ("cliff.md", "report/report.md"))
    for name in ("baseline (index.m=8)", "binary (index.m=16), no rescore"):
        assert f"| {name} | none |" in text
        assert f"{name}: " in done.stdout
        assert f"{name}: " in report


def test_a_bad_cap_is_one_line(qexp: Qexp) -> None:
    done = qexp(*QUICK, "engine.ram_caps=[lots]")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("qexp: engine.ram_caps: 'lots' is no size")
