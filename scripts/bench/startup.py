"""How long `qexp --help`, `qexp --info` and `import qexp` take, against an empty Hydra application."""

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from _common import Verdict, arguments, finish, paired, ratio, run, seconds

BARE = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(config): pass
main()
"""


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, repeats=7)
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE)

        def taken(words: list[str]) -> float:
            return seconds(partial(run, words, cwd=Path(folder)))

        python = [sys.executable]
        cases = {
            "qexp --help": ([*python, "-m", "qexp", "--help"], [*python, str(bare), "--help"], 0.6),
            "qexp --info": ([*python, "-m", "qexp", "--info"], [*python, str(bare), "--info"], 0.6),
            "import qexp": ([*python, "-c", "import qexp"], [*python, str(bare), "--help"], 0.6),
        }
        rows, verdicts = [], []
        for what, (ours, theirs, goal) in cases.items():
            pairs = paired(partial(taken, ours), partial(taken, theirs), given.repeats)
            first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
            rows.append({"what": what, "seconds": first, "bare Hydra": second, "ratio": ratio(pairs)})
            verdicts += [Verdict(what, first, goal, "s"), Verdict(f"{what} / bare Hydra", ratio(pairs), 2.0)]
    finish("startup", given, verdicts, rows)


if __name__ == "__main__":
    main()
