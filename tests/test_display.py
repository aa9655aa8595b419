"""What is printed when a run has ended."""

from dataclasses import replace
from pathlib import Path

import pytest

from qexp import display, store
from qexp.config import ExperimentConfig
from qexp.jobs import collect
from qexp.report.table import LEGEND
from qexp.results import Cold, Finding, Reads
from qexp.rows import experiment_rows
from qexp.runner import measure_experiment


def test_load_cold_caches_and_findings_are_shown_below_the_table(
    small: ExperimentConfig, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(small, search=replace(small.search, clients=[1], load_seconds=0.1))
    found = measure_experiment(config)
    trials = tuple(replace(one, cold=Cold(one.latency, 1.0, None, Reads(), 50)) for one in found.trials)
    experiment = replace(found, trials=trials, findings=(Finding("at equal latency: [no] difference", {}),))
    rows = experiment_rows(config, experiment)
    display.show_experiment(config, experiment, rows)
    shown = capsys.readouterr().out
    below = ["speedup", LEGEND, "at equal latency: [no] difference", "\ncold ", "under load", "Compare in MLflow"]
    places = [shown.index(part) for part in below]
    assert places == sorted(places)

    display.show_experiment(config, replace(found, loads=()), rows)
    assert "under load" not in capsys.readouterr().out


def test_commands_to_go_on_with_are_named_as_the_shell_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setenv("PATH", "")
    assert display._command("qexp-report") == "qexp-report"
    command = tmp_path / ".venv/bin/qexp-report"
    command.parent.mkdir(parents=True)
    command.touch(mode=0o755)
    assert display._command("qexp-report") == ".venv/bin/qexp-report"
    monkeypatch.setenv("PATH", str(command.parent))
    assert display._command("qexp-report") == "qexp-report"


def test_a_sweep_that_measured_nothing_says_so(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    client, experiment_id = store.connect()
    sweep_id = store.start_run(client, experiment_id, "sweep", "sweep", {})
    tags = {"qexp.sweep": sweep_id, "qexp.config_hash": "1a", "qexp.error": "no such file"}
    job = store.start_run(client, experiment_id, "job", "collection", tags)
    client.log_param(job, "quantization.name", "scalar")
    client.set_terminated(job, "FAILED")
    rows, title = collect(client.get_run(sweep_id))
    assert title == "no collection was measured"
    display.show(rows, title, sweep_id=sweep_id)
    shown = capsys.readouterr().out
    assert "no collection was measured\njob failed: no such file\n" in shown
    assert "Compare in MLflow" not in shown
    assert "≈" not in shown
    assert "sort by" not in shown
