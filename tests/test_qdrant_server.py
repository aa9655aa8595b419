"""`scripts/qdrant-server`, with a stand-in for the binary that listens where it is told to, and one for docker."""

import json
import os
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "qdrant-server"
BINARY = f"""#!{sys.executable}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

settings = {{key: value for key, value in os.environ.items() if key.startswith("QDRANT__")}}
with open("told.json", "w") as file:
    json.dump({{"words": sys.argv[1:], **settings}}, file)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {{"title": "qdrant", "version": "1.19.0"}}
        if self.path == "/cluster":
            answer = {{"result": {{"peers": {{str(n): {{}} for n in range(3)}}}}}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ready" if self.path == "/readyz" else json.dumps(answer).encode())

    def log_message(self, *_):
        pass

HTTPServer((settings["QDRANT__SERVICE__HOST"], int(settings["QDRANT__SERVICE__HTTP_PORT"])), Handler).serve_forever()
"""
DOCKER = f"""#!{sys.executable}
import json, os, sys

with open(os.environ["TOLD"], "a") as file:
    print(json.dumps([sys.argv[1:], os.environ.get("QDRANT__SERVICE__API_KEY")]), file=file)
sys.exit("no such image: is the daemon running?" if sys.argv[1] == "run" else 1)
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    return found


class Script:
    def __init__(self, tmp_path: Path, port: int) -> None:
        self.data = tmp_path / "data"
        self.port = port
        self.environment = {**os.environ, "QDRANT_BIN": str(executable(tmp_path / "qdrant-binary", BINARY))}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *words, "--data", str(self.data), "--port", str(self.port)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def told(self, number: int = 0) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.data / f"node-{number}" / "told.json").read_text())
        return found


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def script(tmp_path: Path, port: int) -> Iterator[Script]:
    found = Script(tmp_path, port)
    yield found
    found("stop")


def test_starts_a_binary_shows_it_and_stops_it(script: Script) -> None:
    assert script("status").returncode == 1
    started = script("start")
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines() == [
        f"ready: qexp engine=server engine.url=http://127.0.0.1:{script.port}",
        f"over gRPC, add: engine.prefer_grpc=true engine.grpc_port={script.port + 1}",
    ]
    told = script.told()
    assert told["QDRANT__SERVICE__HOST"] == "127.0.0.1"
    assert told["QDRANT__STORAGE__STORAGE_PATH"] == str(script.data / "node-0" / "storage")
    assert "QDRANT__SERVICE__API_KEY" not in told
    assert urllib.request.urlopen(f"http://127.0.0.1:{script.port}/readyz").status == 200
    assert "Qdrant 1.19.0" in script("status").stdout
    again = script("start")
    assert again.returncode == 2
    assert "already running: node-0" in again.stderr
    assert "stopped 1 node" in script("stop").stdout
    assert script("status").returncode == 1
    assert "nothing runs" in script("stop").stdout
    assert (script.data / "node-0" / "storage").is_dir()


def test_three_nodes_are_one_cluster_and_have_the_key(script: Script) -> None:
    script.environment["QDRANT_API_KEY"] = "secret"
    started = script("start", "--nodes", "3")
    assert started.returncode == 0, started.stderr
    assert "secret" not in started.stdout
    first, third = script.told(0), script.told(2)
    assert first["words"] == ["--uri", f"http://127.0.0.1:{script.port + 2}"]
    assert third["words"] == [
        *("--uri", f"http://127.0.0.1:{script.port + 22}"),
        *("--bootstrap", f"http://127.0.0.1:{script.port + 2}"),
    ]
    assert third["QDRANT__CLUSTER__ENABLED"] == "true"
    assert third["QDRANT__SERVICE__API_KEY"] == "secret"
    assert len(script("status").stdout.splitlines()) == 3
    assert "stopped 3 node" in script("stop").stdout


def test_a_server_that_ends_at_once_is_named_with_its_log(script: Script, tmp_path: Path) -> None:
    script.environment["QDRANT_BIN"] = str(executable(tmp_path / "broken", "#!/bin/sh\necho broken config; exit 1\n"))
    done = script("start")
    assert done.returncode == 2
    assert "did not become ready; its log:" in done.stderr
    assert "broken config" in (script.data / "node-0" / "log").read_text()


def test_a_port_of_somebody_elses_is_left_alone(script: Script) -> None:
    with socket.create_server(("127.0.0.1", script.port + 1)):
        done = script("start")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"scripts/qdrant-server: port {script.port + 1} of 127.0.0.1 is in use")
    assert not script.data.exists()


@pytest.mark.parametrize(("key", "code"), [("secret\r\n", 0), ("“secret”", 2)])
def test_a_key_is_read_as_qexp_reads_it(script: Script, key: str, code: int) -> None:
    script.environment["QDRANT_API_KEY"] = key
    done = script("start")
    assert done.returncode == code, done.stderr
    assert "secret" not in done.stdout + done.stderr
    if code == 0:
        assert script.told()["QDRANT__SERVICE__API_KEY"] == "secret"


def test_a_folder_that_cannot_be_made_is_one_line(script: Script, tmp_path: Path) -> None:
    script.data = tmp_path / "file" / "below"
    (tmp_path / "file").touch()
    done = script("start")
    assert (done.returncode, done.stderr) == (2, f"scripts/qdrant-server: --data {script.data}: Not a directory\n")


def test_another_process_with_the_same_number_is_left_alone(script: Script) -> None:
    assert script("start").returncode == 0
    state = script.data / "node-0" / "state.json"
    noted = json.loads(state.read_text())
    state.write_text(json.dumps({**noted, "begun": "Thu Jan  1 00:00:00 1970"}))
    assert "nothing runs" in script("stop").stdout
    assert urllib.request.urlopen(f"http://127.0.0.1:{script.port}/readyz").status == 200
    state.write_text(json.dumps(noted))


def test_without_a_binary_a_pinned_container_is_run_and_its_key_is_on_no_command_line(
    script: Script, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    executable(tools / "docker", DOCKER)
    script.environment |= {"PATH": str(tools), "QDRANT_API_KEY": "secret", "TOLD": str(tmp_path / "told")}
    del script.environment["QDRANT_BIN"]
    done = script("start")
    assert done.returncode == 2
    assert "run failed: no such image" in done.stderr
    calls = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    words, key = next(call for call in calls if call[0][0] == "run")
    assert "qdrant/qdrant:v1.19.1" in words
    assert f"127.0.0.1:{script.port}:6333" in words
    assert "secret" not in " ".join(words)
    assert key == "secret"


def test_neither_a_binary_nor_a_container_is_one_line(script: Script, tmp_path: Path) -> None:
    script.environment["PATH"] = str(tmp_path)
    del script.environment["QDRANT_BIN"]
    done = script("start")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "QDRANT_BIN" in done.stderr
