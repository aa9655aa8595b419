"""A full quickstart against its floor: the bare engine doing the same uploads, index builds and queries.

The floor has the same process model: every collection is built in a process of its own and searched in another. It
finds the vectors laid out, sends every query once a round to every operating point, in as many rounds as qexp needed,
and keeps nothing. What the warm-up queries of so many blocks take, which the floor does not send, stands beside it.
`--rounds 5` has qexp measure exactly five, which is quicker, and harder on it.
"""

import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _common import Verdict, arguments, finish, run

SPARE_SECONDS = 6


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, repeats=1, rounds=0)
    words = ["experiment=quickstart", *(fixed_rounds(given.rounds) if given.rounds else [])]
    rows = []
    for number in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            log = qexp([*words, "-m"], Path(folder))
            whole = time.perf_counter() - started
            rounds = rounds_in(log)
            build, query = floor(words, Path(folder), rounds)
        warmup = query * warmup_share(words)
        figures = {"qexp s": whole, "floor: build s": build, "floor: query s": query, "warm-up s": warmup}
        rows.append({"run": number, "rounds": sum(rounds.values()), **figures})
    ratios = [(row["qexp s"] - SPARE_SECONDS) / (row["floor: build s"] + row["floor: query s"]) for row in rows]
    median = statistics.median(ratios)
    finish("sweep", given, [Verdict(f"(quickstart − {SPARE_SECONDS} s) / floor", median, 1.10)], rows)


def rounds_in(log: str) -> dict[str, int]:
    """Return how many rounds each method was measured in, from the log of a sweep."""
    return {method: int(rounds) for method, rounds in re.findall(r"(\w+): speedups known .* after (\d+) rounds", log)}


def fixed_rounds(rounds: int) -> list[str]:
    """Return the words that make qexp measure exactly so many rounds."""
    return [f"search.rounds={rounds}", "search.budget_seconds=0"]


def qexp(words: list[str], folder: Path) -> str:
    """Run qexp with cache and MLflow store in `folder`; return its log."""
    store = f"sqlite:///{folder / 'mlflow.db'}"
    done = run(
        [sys.executable, "-m", "qexp", *words],
        cwd=folder,
        QEXP_CACHE_DIR=str(folder / "cache"),
        HF_HOME=str(folder / "huggingface"),
        MLFLOW_TRACKING_URI=store,
    )
    return done.stderr


def warmup_share(words: list[str]) -> float:
    """Return how many warm-up queries there are for each timed one."""
    from _bare import composed

    search = composed(*words).search
    assert search.queries
    return search.warmup / search.queries


def floor(words: list[str], folder: Path, rounds: dict[str, int]) -> tuple[float, float]:
    """Return the bare engine's seconds for building every collection, and for every round of every method."""
    from _bare import Searcher, build, composed, process, swept_methods

    from qexp.bench.grid import baseline_points, operating_points
    from qexp.data.vectors import load_data
    from qexp.engine.configured import collection_spec, engine_version

    methods = {method: composed(*words, f"quantization={method}") for method in ["none", *swept_methods(*words)]}
    search = methods["none"].search
    data = load_data(methods["none"], folder / "cache")
    started = time.perf_counter()
    for method, config in methods.items():
        spec = collection_spec(config, data.facts, engine_version(config.engine))
        with process() as builder:
            builder.submit(build, spec, folder / "bare" / method, data.vectors).result()
    built = time.perf_counter()
    for method in list(methods)[1:]:
        baseline = Searcher(folder / "bare" / "none", data.queries)
        quantized = Searcher(folder / "bare" / method, data.queries)
        for _ in range(rounds[method]):
            for point in baseline_points(search):
                baseline.search_all(point)
                baseline.search_all(point)  # the A/A control
            for point in operating_points(search, quantized=True):
                quantized.search_all(point)
        baseline.close()
        quantized.close()
    return built - started, time.perf_counter() - built


if __name__ == "__main__":
    main()
