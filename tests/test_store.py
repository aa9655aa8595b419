"""The tracking store: what is said of it, and what is lost when it fails: nothing."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from urllib3.exceptions import ProtocolError, ProxyError

from qexp import store
from qexp.errors import ConfigError, TrackingError
from qexp.store import connect, file_artifact, json_artifact, log_values, start_run, without_password
from tests.conftest import QUICK, Qexp
from tests.support.http_server import HttpServer, Reply, Request
from tests.support.running import read_until, started
from tests.test_sweep import ONE_POINT, assert_nothing_left, assert_whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://qexp:s3cret@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("https://:s3cret@host", "https://***@host"),
        ("request to http://me:a@b@host:5000/api failed", "request to http://***@host:5000/api failed"),
        ("sqlite:////home/me:you@work/mlflow.db", "sqlite:////home/me:you@work/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_more_than_one_request_takes_is_logged_in_several(environment: dict[str, str]) -> None:
    client, experiment_id = connect()
    run_id = start_run(client, experiment_id, "many", "collection", {})
    log_values(client, run_id, {f"p{n}": n for n in range(250)}, {f"m{n}": float(n) for n in range(2100)})
    found = client.get_run(run_id).data
    assert (len(found.params), len(found.metrics)) == (250, 2100)


def test_the_name_of_a_run_is_no_longer_than_a_database_takes(environment: dict[str, str]) -> None:
    client, experiment_id = connect()
    for name, kept in (("m" * 250, "m" * 250), ("m" * 251, "m" * 249 + "…")):
        run_id = start_run(client, experiment_id, name, "sweep", {})
        assert client.get_run(run_id).info.run_name == kept


def test_a_run_of_a_user_without_a_name_has_their_number(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    client, experiment_id = connect()
    run_id = start_run(client, experiment_id, "mine", "collection", {})
    assert client.get_run(run_id).data.tags["mlflow.user"] == str(os.getuid())


def test_a_password_is_in_no_message(qexp: Qexp) -> None:
    server = {"MLFLOW_TRACKING_URI": "http://me:s3cret@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = qexp("dataset=synthetic", **server)
    assert done.returncode == 2
    assert "MLFLOW_TRACKING_URI=http://***@127.0.0.1:9" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("store", "shown", "reason"),
    [
        ("sqlite:///{folder}/bad.db", "sqlite:///{folder}/bad.db", "file is not a database"),
        ("postgresql+nothing://me:s3cret@host/x", "postgresql+nothing://***@host/x", "Can't load plugin"),
        ("postgresql://me:s3cret@host:port/x", "postgresql://***@host:port/x", "invalid literal for int()"),
        ("nothing://host", "nothing://host", "unsupported URI"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(
    store: str, shown: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.db").write_bytes(bytes(range(256)) * 20)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.format(folder=tmp_path))
    with pytest.raises(ConfigError) as raised:
        connect()
    assert str(raised.value).startswith(f"MLFLOW_TRACKING_URI={shown.format(folder=tmp_path)}: cannot be used: ")
    assert reason in str(raised.value)
    assert "s3cret" not in str(raised.value)


class _Busy(NamedTuple):
    """The address of a server that has no answer until something is said, what was asked of it, and what was said."""

    uri: str
    asked: list[str]
    said: list[str]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Busy]:
    asked: list[str] = []
    said: list[str] = []
    told = threading.Event()

    def answer(request: Request) -> Reply:
        asked.append(request.path)
        told.wait(60)
        return Reply(503)

    monkeypatch.setattr(store.log, "warning", lambda text, *about: (said.append(text % about), told.set()))
    for name in ("TOLD_AFTER", "SLOW_AFTER"):
        monkeypatch.setattr(store, name, 0.0)
    for name in ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER"):
        monkeypatch.setenv(name, "0")
    with HttpServer(answer) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield _Busy(server.url, asked, said)


@pytest.mark.parametrize("experiment", ["", "7"])
def test_a_server_that_does_not_answer_is_told_and_soon_given_up(
    experiment: str, busy: _Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    with (
        pytest.raises(ConfigError, match=f"^MLFLOW_TRACKING_URI={busy.uri}: cannot be used: .*503"),
        store.store_faults("starting a run"),
    ):
        connect()
    assert busy.said == [f"waiting for an answer of {busy.uri}"]
    assert len(busy.asked) == 4
    assert not {*store.FIRST_PATIENCE} & {*os.environ}


def test_a_server_that_answers_no_more_is_told_once(busy: _Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_reached", {busy.uri})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    with pytest.raises(TrackingError, match=r"failed while logging run 7: .*503"), store.store_faults("logging run 7"):
        MlflowClient().get_run("7")
    assert busy.said == [f"still logging run 7: {busy.uri} is slow to answer, or does not"]
    assert len(busy.asked) == 3


def test_a_database_that_takes_long_is_not_told(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    connect()
    store._say_slow("logging run 7")
    assert not caplog.messages


def test_a_deleted_experiment_is_one_line(environment: dict[str, str]) -> None:
    client, experiment_id = connect()
    client.delete_experiment(experiment_id)
    with pytest.raises(ConfigError, match=rf"was deleted; .* experiments restore --experiment-id {experiment_id}$"):
        connect()


def test_a_database_without_its_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+pymysql://me:s3cret@host/x")
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI=mysql\+pymysql://\*\*\*@host/x: .*pymysql"):
        connect()


def test_an_interrupt_while_mlflow_is_imported_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was imported by halves cannot be imported again."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlflow.get_tracking_uri", interrupted)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(KeyboardInterrupt), store.store_faults("connecting"):
        connect()


@contextlib.contextmanager
def served(folder: Path, port: int) -> Iterator[None]:
    """A real MLflow tracking server, and its end."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)),
            *(
                "--backend-store-uri",
                f"sqlite:///{folder}/server.db",
                "--artifacts-destination",
                str(folder / "served"),
            ),
        ],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # eight more processes for nothing
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_store_that_goes_away_costs_nothing(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
    environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    words = ["-m", "quantization=scalar,binary", *QUICK, *ONE_POINT, "search.rounds=30"]
    with served(tmp_path, port):
        process = started(environment, tmp_path, *words)
        read_until(process, "binary: round 1 of")
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert "what was measured is kept in" in stderr
    assert "Traceback" not in stderr
    with served(tmp_path, port):
        done = qexp(*words, "sweep.resume=last", **environment)
        assert done.returncode == 0, done.stderr
        assert "which was measured before" in done.stderr
        assert f"Compare in MLflow: http://127.0.0.1:{port}" in done.stdout
        assert "View run" not in done.stdout
        assert "round" not in done.stderr
        assert_whole(environment, jobs=2, trials=1)
    assert_nothing_left(tmp_path / "cache")


@pytest.mark.parametrize("store", ["http://127.0.0.1:9", "sqlite:///file:{folder}/mlflow.db?mode=ro&uri=true"])
def test_a_store_that_cannot_be_used_is_one_line(
    store: str, qexp: Qexp, environment: dict[str, str], tmp_path: Path
) -> None:
    MlflowClient(environment["MLFLOW_TRACKING_URI"]).create_experiment("qexp")
    (tmp_path / "mlflow.db").chmod(0o444)
    more = {"MLFLOW_TRACKING_URI": store.format(folder=tmp_path), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = qexp("-m", "quantization=scalar", *QUICK, **more)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "store" in done.stderr or "MLFLOW_TRACKING_URI" in done.stderr


@pytest.mark.slow
def test_a_store_whose_disk_is_full_costs_nothing(
    qexp: Qexp, environment: dict[str, str], tmp_path: Path, empty_store: Path
) -> None:
    words = ["-m", "quantization=scalar,binary", *QUICK, *ONE_POINT, "search.rounds=30"]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        more = {"MLFLOW_TRACKING_URI": f"sqlite:///{shutil.copy(empty_store, disk)}"}
        process = started(environment | more, tmp_path, *words)
        read_until(process, "scalar: round 1 of")
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        _, stderr = process.communicate()
        assert process.returncode == 2, stderr
        assert "what was measured is kept in" in stderr
        assert "Traceback" not in stderr
        ballast.unlink()
        done = qexp(*words, "sweep.resume=last", **more)
        assert done.returncode == 0, done.stderr
        assert_whole(environment | more, jobs=2, trials=1)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # this process still has the store open


def test_of_many_artifacts_of_a_run_the_run_is_asked_for_once(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client, experiment_id = connect()
    run_id = start_run(client, experiment_id, "many", "collection", {})
    for name in ("a.json", "b.json"):
        client.log_text(run_id, f'{{"is": "{name}"}}', name)
    asked = []
    get_run = MlflowClient.get_run
    monkeypatch.setattr(MlflowClient, "get_run", lambda own, run_id: asked.append(run_id) or get_run(own, run_id))
    found = [json_artifact(run_id, name) for name in ("a.json", "b.json", "c.json")]
    assert found == [{"is": "a.json"}, {"is": "b.json"}, {}]
    assert file_artifact(run_id, "c.json", str(tmp_path)) is None
    assert asked == [run_id]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("timed out"), "timed out"),
        (OSError("<urllib3.connection.HTTPConnection object at 0x7f>: [Errno 111] refused"), "[Errno 111] refused"),
        (ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer")), "[Errno 104] reset by peer"),
        (
            ProxyError("Cannot connect.", OSError("Tunnel failed: 503 at http://me:pw@it")),
            "Tunnel failed: 503 at http://***@it",
        ),
    ],
)
def test_why_a_server_is_asked_again_is_said_whole(error: Exception, said: str) -> None:
    retrying = "Retrying (%r) after connection broken by '%r': %s"
    record = logging.LogRecord("urllib3", logging.WARNING, "", 0, retrying, (None, error, "/api"), None)
    assert store.asked_again(record)
    assert record.getMessage() == f"the server is asked again: {said}"
