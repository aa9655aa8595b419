"""The API key is in the environment alone."""

import logging
import os
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from qexp.config import CollectionDataset, ServerConfig
from qexp.engine.configured import engine_version
from qexp.engine.connection import client_of
from qexp.engine.server import ServerEngine
from qexp.errors import ConfigError, EngineError
from tests.conftest import QUICK, Qexp
from tests.support.on_the_wire import KEY, asked_spec, config, one_line, refused
from tests.support.qdrant_rest import QdrantRest


@pytest.mark.parametrize(("key", "says"), [(None, "Must provide an API key"), ("wrong", "Invalid API key")])
def test_a_missing_or_wrong_key_is_named(
    server: QdrantRest, key: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.api_key = KEY
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("QDRANT_API_KEY", key)
    said = refused(server.url)
    assert says in said
    assert "set QDRANT_API_KEY" in said


def test_a_read_only_key_is_named(server: QdrantRest, monkeypatch: pytest.MonkeyPatch) -> None:
    server.api_key, server.read_only_key = KEY, "only-reading"
    monkeypatch.setenv("QDRANT_API_KEY", "only-reading")
    with closing(ServerEngine(config(server))) as engine:
        assert engine.open(asked_spec()) is None
        with pytest.raises(EngineError, match=r"does not allow this .*Global manage access"):
            engine.create(asked_spec())
    assert not server.collections


def test_a_key_that_travels_unencrypted_is_said_once(
    server: QdrantRest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    with caplog.at_level(logging.WARNING):
        engine_version(config(server))
        assert not caplog.records
        refused("http://no-such-host.invalid:6333")
        client_of("http://no-such-host.invalid:6333", timeout=1).close()
        client_of("http://another-host.invalid:6333", timeout=1).close()
    assert [record.getMessage() for record in caplog.records] == [
        f"http://{host}.invalid:6333: QDRANT_API_KEY travels unencrypted; use https://"
        for host in ("no-such-host", "another-host")
    ]
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", [f"{KEY}\r", f" {KEY}\n"])
def test_ends_of_lines_around_a_key_are_not_part_of_it(
    server: QdrantRest, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.api_key = KEY
    monkeypatch.setenv("QDRANT_API_KEY", key)
    assert engine_version(config(server)) == "server-1.19.0"
    assert server.keys == {KEY}


@pytest.mark.parametrize("key", [f"“{KEY}”", f"{KEY}\r\nx: y", f"{KEY}ü"])
def test_what_no_header_carries_is_refused_and_not_repeated(
    server: QdrantRest, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", key)
    assert refused(server.url).startswith("QDRANT_API_KEY: has characters that no key of Qdrant's has")
    assert not server.keys


@pytest.mark.slow
def test_the_key_is_sent_and_appears_nowhere(
    server: QdrantRest, qexp: Qexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the command with a key: nothing it prints, writes or shows as a process has it."""
    server.api_key = KEY
    lines: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            lines.update(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    words = ["engine=server", f"engine.url={server.url}", "quantization=binary", *QUICK]
    try:
        done = qexp(*words, QDRANT_API_KEY=KEY)
        failed = qexp(*words, "engine.prefix=other", QDRANT_API_KEY=f"{KEY}-wrong")
    finally:
        ended.set()
        watcher.join()
    assert done.returncode == 0, done.stderr
    assert failed.returncode == 2
    assert "server" in done.stdout
    assert server.keys == {KEY, f"{KEY}-wrong"}
    assert any(server.url in line for line in lines)
    assert not [line for line in lines if KEY in line]
    for text in (done.stdout, done.stderr, failed.stdout, failed.stderr):
        assert KEY not in text
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(".hydra" in str(file) for file in written)
    assert any(file.suffix == ".db" for file in written)
    assert not [file for file in written if KEY.encode() in file.read_bytes()]


def test_a_key_in_the_url_is_refused_and_not_repeated() -> None:
    given = (f"https://{KEY}@host:6333", f"https://user:{KEY}@host", f"https://host?api_key={KEY}", f"me:{KEY}@host")
    for url in given:
        for key, make in (("engine", partial(ServerConfig, "server")), ("dataset", CollectionDataset)):
            with pytest.raises(ConfigError, match=rf"^{key}\.url: .*belongs in QDRANT_API_KEY") as error:
                make(url=url)
            assert KEY not in str(error.value)
            one_line(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["engine=server", f"engine.api_key={KEY}"],
        ["engine=server", f"engine.url=https://{KEY}@host:6333"],
        ["-m", "dataset=qdrant_collection", f"dataset.url=http://me:{KEY}@host,http://host", "dataset.collection=c"],
    ],
)
def test_a_key_as_an_override_is_refused_and_not_repeated(qexp: Qexp, tmp_path: Path, words: list[str]) -> None:
    done = qexp(*words)
    assert done.returncode == 2
    assert KEY not in done.stdout + done.stderr
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert not any(name.startswith("QDRANT") for name in os.environ)
