"""Stand-ins for Slurm's commands: they read batch files as Slurm does, and run the tasks on this machine."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

JOB = "1000"


def install(folder: Path) -> None:
    """Write the commands that submitit calls into a folder, which goes onto the PATH."""
    folder.mkdir()
    this = f"{shlex.quote(sys.executable)} -P {shlex.quote(__file__)}"  # -P: beside this file lies a collections.py
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {this} {name} "$@"\n')
        script.chmod(0o755)


def sbatch(file: str) -> None:
    """Start every task of the array in a batch file, and return while they run."""
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", Path(file).read_text(), re.MULTILINE))
    first, last = options["array"].partition("%")[0].split("-")
    for task in range(int(first), int(last) + 1):
        names = {"JOB_ID": f"{int(JOB) + task}", "ARRAY_JOB_ID": JOB, "ARRAY_TASK_ID": f"{task}", "NTASKS": "1"}
        names |= {"JOB_NUM_NODES": "1", "NODEID": "0", "PROCID": "0", "LOCALID": "0"}
        environment = os.environ | {f"SLURM_{name}": value for name, value in names.items()}
        log = Path(_filled(options["output"], environment))
        log.parent.mkdir(exist_ok=True)  # submitit makes it a moment later, when Slurm has not started anything yet
        with log.open("w") as output:
            subprocess.Popen(["bash", file], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    print(f"Submitted batch job {JOB}")


def srun(*words: str) -> None:
    """Run the command of a task here, with its output where it is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--unbuffered", action="store_true")
    parser.add_argument("--output")
    parser.add_argument("--error")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    output, error = (_filled(name, dict(os.environ)) for name in (asked.output, asked.error))
    with open(output, "a") as out, open(error, "a") as err:
        sys.exit(subprocess.run(asked.command, stdout=out, stderr=err).returncode)


def sacct(*_: str) -> None:
    """Say that every job runs; submitit sees by its file that one has ended."""
    print(f"JobID|State|NodeList\n{JOB}_[0-99]|RUNNING|node1")


def _filled(name: str, environment: dict[str, str]) -> str:
    values = {"%A": "ARRAY_JOB_ID", "%a": "ARRAY_TASK_ID", "%t": "PROCID"}
    return re.sub("%[Aat]", lambda found: environment[f"SLURM_{values[found[0]]}"], name)


COMMANDS = {"sbatch": sbatch, "srun": srun, "sacct": sacct}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
