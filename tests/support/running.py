"""qexp in a process of its own that a test talks to while it runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any


def started(environment: dict[str, str], tmp_path: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """Start `qexp` with these words; its standard error is to be read."""
    command = [sys.executable, "-m", "qexp", *words]
    return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, **more)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what it writes to standard error up to the line that holds the text."""
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    return seen
