import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from socket import gethostname

import numpy as np
import psutil
import pytest

from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker, _ahead, started_ahead
from qexp.errors import EngineError
from qexp.results import OperatingPoint
from tests.test_edge import spec, vectors

SIZE = 32


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    np.save(tmp_path / "vectors.npy", vectors(SIZE))
    np.save(tmp_path / "queries.npy", vectors(SIZE, 30, seed=1))
    return tmp_path / "vectors.npy", tmp_path / "queries.npy"


def worker(files: tuple[Path, Path], home: Path) -> Worker:
    return Worker(partial(EdgeEngine, home), files[1], "test")


def pid(of: Worker) -> int:
    found = of._process.pid
    assert found is not None
    return found


def test_what_a_worker_logs_is_said_in_the_process_that_asked(
    files: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "c" / spec(size=SIZE).name
    for level in ("WARNING", "ERROR"):
        folder.mkdir(parents=True)
        with caplog.at_level(level), worker(files, tmp_path / "c") as builder:
            assert builder.open(spec(size=SIZE)) is None
    (said,) = caplog.records
    assert (said.name, said.levelname) == ("qexp.engine.edge", "WARNING")
    assert said.getMessage().startswith(f"{folder}: removed, and to be built again: ")
    assert str(folder) not in capfd.readouterr().err


def test_builds_and_searches_in_a_process_that_is_gone_afterwards(files: tuple[Path, Path], tmp_path: Path) -> None:
    asked = spec(size=SIZE)
    with worker(files, tmp_path / "c") as builder:
        assert builder.open(asked) is None
        assert not builder.build(asked, files[0]).reused
    with worker(files, tmp_path / "c") as searcher:
        build = searcher.open(asked)
        assert build is not None
        assert build.reused
        block = searcher.block(OperatingPoint(10), warmup=5, with_ids=True)
        assert block.latencies.shape == (30,)
        assert (block.latencies > 0).all()
        assert block.ids is not None
        assert block.ids.shape == (30, 10)
        assert searcher.block(OperatingPoint(10), warmup=0, with_ids=False).ids is None
        assert searcher.memory().total > 0
        assert np.abs(np.array(searcher.vectors([3, 1])) - np.load(files[0])[[3, 1]]).max() < 1e-5
        process = pid(searcher)
    assert not psutil.pid_exists(process)


def test_fewer_results_than_the_limit_are_padded(files: tuple[Path, Path], tmp_path: Path) -> None:
    asked = spec(size=SIZE, points=5)
    np.save(tmp_path / "few.npy", vectors(SIZE, 5))
    with worker(files, tmp_path / "c") as builder:
        builder.build(asked, tmp_path / "few.npy")
    with worker(files, tmp_path / "c") as searcher:
        searcher.open(asked)
        ids = searcher.block(OperatingPoint(7), warmup=0, with_ids=True).ids
    assert ids is not None
    assert (ids[:, 5:] == -1).all()
    assert sorted(ids[0, :5].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", ["none", "binary"])
def test_what_is_found_untimed_is_what_timed_searches_find(
    method: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = spec(method, SIZE)
    points = [OperatingPoint(10), OperatingPoint(10, 64, True, 3.0), OperatingPoint(10, ignore=True)]
    with worker(files, tmp_path / "c") as builder:
        builder.build(asked, files[0])
    with worker(files, tmp_path / "c") as searcher:
        searcher.open(asked)
        for point in [*points, OperatingPoint(10, exact=True)]:
            assert (searcher.found(point) == searcher.block(point, 0, True).ids).all()


def test_processes_that_were_started_ahead_serve_the_next_workers_and_are_ended_if_none_comes(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = spec(size=SIZE)
    with started_ahead(3, partial(EdgeEngine, tmp_path / "another")):
        waiting = [process.pid for process, _ in _ahead]
        with worker(files, tmp_path / "c") as builder, worker(files, tmp_path / "c") as searcher:
            assert [pid(builder), pid(searcher)] == waiting[:2]
            builder.build(asked, files[0])
            assert searcher.open(asked) is not None
        assert [process.pid for process, _ in _ahead] == waiting[2:]
    assert not [one for one in waiting if psutil.pid_exists(one)]
    with worker(files, tmp_path / "c") as later:
        assert pid(later) not in waiting


def test_a_process_that_dies_while_it_waits_is_not_missed(files: tuple[Path, Path], tmp_path: Path) -> None:
    with started_ahead(1, partial(EdgeEngine, tmp_path)):
        dead, _ = _ahead[0]
        dead.kill()
        dead.join()
        with worker(files, tmp_path / "c") as started:
            assert pid(started) != dead.pid
            assert started.open(spec(size=SIZE)) is None


def test_an_interrupt_does_not_hit_a_process_that_is_starting(files: tuple[Path, Path], tmp_path: Path) -> None:
    with started_ahead(2, partial(EdgeEngine, tmp_path)):
        for process, _ in _ahead:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
        with worker(files, tmp_path / "c") as first, worker(files, tmp_path / "c") as second:
            assert first.open(spec(size=SIZE)) is second.open(spec(size=SIZE)) is None
            assert not _ahead


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (signal.SIGKILL, "; if nobody did that, memory ran out"),
        (signal.SIGBUS, "; the disk that holds the cache is full"),
        (signal.SIGABRT, "; the engine gave up, as where no memory is to be had"),
        (signal.SIGSEGV, "$"),
    ],
)
def test_a_killed_worker_is_one_line_and_leaves_no_half_collection(
    files: tuple[Path, Path], tmp_path: Path, number: signal.Signals, remedy: str
) -> None:
    with worker(files, tmp_path / "c") as it:
        it.build(spec(size=SIZE), files[0])
        os.kill(pid(it), number)
        with pytest.raises(EngineError, match=f"was killed by {number.name} during 'block'{remedy}"):
            it.block(OperatingPoint(10), 0, True)


def test_a_worker_that_fails_to_close_is_gone_all_the_same(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Worker, request: str, *arguments: object) -> None:
        raise EngineError("cannot close")

    with pytest.raises(EngineError, match="cannot close"), worker(files, tmp_path) as open_worker:
        monkeypatch.setattr(Worker, "_ask", failing)
    assert not psutil.pid_exists(open_worker.pid)


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, living = (tmp_path / f"x.partial-{gethostname()}-{pid}" for pid in (dead.pid, os.getppid()))
    left.mkdir()
    living.mkdir()
    EdgeEngine(tmp_path).create(spec(size=SIZE))
    assert not left.exists()
    assert living.exists()


def test_an_engine_error_is_one_line_and_a_bug_has_its_traceback(files: tuple[Path, Path], tmp_path: Path) -> None:
    with worker(files, tmp_path / "c") as it:
        np.save(tmp_path / "other.npy", vectors(16))
        with pytest.raises(EngineError, match="expected dim: 32, got 16"):
            it.build(spec(size=SIZE), tmp_path / "other.npy")
        with pytest.raises(RuntimeError, match="FileNotFoundError"):
            it.build(spec(size=SIZE), tmp_path / "nothing.npy")
    assert not list((tmp_path / "c").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_while_building_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    """Files may not grow beyond 1 MB, which the engine sees as a disk that refuses to write."""
    script = f"""
import resource
from functools import partial
from pathlib import Path
import numpy as np
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.errors import EngineError
from tests.test_edge import spec, vectors

if __name__ == "__main__":
    home = Path({str(tmp_path)!r})
    np.save(home / "vectors.npy", vectors(32))
    np.save(home / "queries.npy", vectors(32, 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
    with Worker(partial(EdgeEngine, home / "c"), home / "queries.npy", "test") as worker:
        try:
            worker.build(spec(size=32), home / "vectors.npy")
        except EngineError as error:
            print("one line:", error)
"""
    (tmp_path / "full.py").write_text(script)
    run = subprocess.run([sys.executable, str(tmp_path / "full.py")], capture_output=True, text=True, env=_with_path())
    assert run.stdout.startswith("one line:"), run.stderr
    assert run.stdout.count("\n") == 1


def test_no_worker_outlives_a_killed_parent(files: tuple[Path, Path], tmp_path: Path) -> None:
    script = f"""
import time
from functools import partial
from pathlib import Path
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from tests.test_edge import spec

if __name__ == "__main__":
    with Worker(partial(EdgeEngine, Path({str(tmp_path / "c")!r})), Path({str(files[1])!r}), "test") as worker:
        worker.open(spec(size=32))
        print(worker._process.pid, flush=True)
        time.sleep(60)
"""
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, env=_with_path())
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupt_waits_until_a_worker_has_what_it_starts_with(files: tuple[Path, Path], tmp_path: Path) -> None:
    script = f"""
import os
import signal
import threading
from functools import partial
from multiprocessing import resource_tracker, util
from pathlib import Path
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker

def interrupted(*arguments):
    child = spawn(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
    return child

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # may hear of signals too
    resource_tracker.ensure_running()
    spawn, util.spawnv_passfds = util.spawnv_passfds, interrupted
    try:
        with Worker(partial(EdgeEngine, Path({str(tmp_path / "c")!r})), Path({str(files[1])!r}), "test"):
            print("not interrupted")
    except KeyboardInterrupt:
        print("interrupted")
"""
    (tmp_path / "parent.py").write_text(script)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "parent.py")], capture_output=True, text=True, env=_with_path()
    )
    assert (run.stdout, run.stderr) == ("interrupted\n", "")


def test_a_worker_starts_without_qdrants_slow_schema() -> None:
    script = "import sys, qexp.engine.worker, qexp.engine.edge; print('qdrant_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_with_path())
    assert done.stdout == "False\n"


def _with_path() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
