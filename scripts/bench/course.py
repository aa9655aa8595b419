"""The course's procedure, followed step by step on Qdrant Edge, against qexp doing the same.

The procedure (`--procedure`, one process): load the dataset; build a collection without quantization and one for every
method; time the one without, and each method without and with rescoring (of 3 × as many); then for every method and
factor a latency pass, a baseline pass and an accuracy pass; every pass sends one query at a time. The seconds in which
that process has Hydra compose what the course has written down are taken off its whole time. qexp runs as a sweep with
the same methods, factors and queries: with cold caches, again with collections and exact neighbours in the cache, and
again with `skip_existing=true`, where what is recorded already is not measured again.

One round of qexp stands against the course's passes. It measures two at least, for one has no interval; so its query
phase here is the first, with what warms it up, and the seconds of the second are taken off its whole time.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import ROOT, Verdict, arguments, finish, run
from sweep import fixed_rounds, qexp

PRESET = "experiment=course_day4"
ROUNDS = 2  # the fewest that qexp measures
FACTOR = 3.0  # with which the course times rescoring, before it tunes the factor
CREATED = "hydra.job_logging.formatters.line.format='%(created)f %(message)s'"


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, queries=1200, repeats=1)
    rows = [row for number in range(given.repeats) for row in once(number, given.queries)]
    verdicts = [
        Verdict("query phase / course", ratio(rows, "qexp, cold caches", "query phase s"), 0.5),
        Verdict("whole, one round / course", ratio(rows, "qexp, cold caches", "one round s"), 0.9),
        Verdict("second run, skipping / course", ratio(rows, "qexp again, skipping", "one round s"), 0.25),
    ]
    finish("course", given, verdicts, rows)


def ratio(rows: list[dict[str, Any]], what: str, figure: str) -> float:
    """Return the median over the repeats of a figure of qexp's over the course's of the same repeat."""
    figures = {name: [row[figure] for row in rows if row["what"] == name] for name in (what, "course")}
    return statistics.median(ours / theirs for ours, theirs in zip(figures[what], figures["course"], strict=True))


def once(number: int, queries: int) -> list[dict[str, Any]]:
    """Follow the course once, and run qexp three times: cold, again, and skipping what is recorded."""
    words = ["-m", PRESET, f"search.queries={queries}", *fixed_rounds(ROUNDS), CREATED]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--procedure", folder, "--queries", str(queries)]
        started = time.perf_counter()
        course = json.loads(run(command, cwd=Path(folder), HF_HOME=f"{folder}/procedure-cache").stdout)
        course_whole = time.perf_counter() - started - course["composing seconds"]
        rows = [_row(number, "course", course_whole, course["query seconds"], 0.0)]
        runs = {"qexp, cold caches": [], "qexp again": [], "qexp again, skipping": ["skip_existing=true"]}
        for what, more in runs.items():
            started = time.perf_counter()
            log = qexp([*words, *more], Path(folder))
            whole = time.perf_counter() - started
            rows.append(_row(number, what, whole, *query_seconds(log)))
    return rows


def _row(number: int, what: str, whole: float, first: float, second: float) -> dict[str, Any]:
    return {"run": number, "what": what, "query phase s": first, "whole s": whole, "one round s": whole - second}


def query_seconds(log: str) -> tuple[float, float]:
    """Return the seconds of round 0, which is not timed, with round 1, and those of round 2, of all methods."""
    moments = {"round 0": 0.0, "round 2": 0.0, "speedups known": 0.0}
    for line in log.splitlines():
        found = re.match(rf"(\d+\.\d+) .*: ({'|'.join(moments)})", line)
        if found:
            moments[found[2]] += float(found[1])
    begin, second, end = moments.values()
    return second - begin, end - second


def procedure(folder: Path, queries: int) -> dict[str, float]:
    """Follow the course; return the seconds of its query phase, and those that it would not need."""
    import datasets
    import numpy as np
    from _bare import composed, facts, new_shard, request, swept_methods, upsert

    from qexp.engine.configured import collection_spec, engine_version
    from qexp.results import OperatingPoint

    started = time.perf_counter()
    configs = {method: composed(PRESET, f"quantization={method}") for method in ["none", *swept_methods(PRESET)]}
    composing = time.perf_counter() - started
    asked_of = configs["none"].search
    path = str(ROOT / "bundled" / "wordnet")
    corpus = datasets.load_dataset(path, "corpus", split="train").with_format("numpy")
    points = corpus["vector"][:].astype(np.float32)
    asked = datasets.load_dataset(path, "queries", split="train").select(range(queries)).with_format("numpy")
    vectors = asked["vector"][:].astype(np.float32).tolist()
    described = facts(len(points), queries, points.shape[1])

    def collection(method: str) -> Any:
        spec = collection_spec(configs[method], described, engine_version(configs[method].engine))
        shard = new_shard(spec, folder / method)
        upsert(shard, points)
        shard.optimize()
        return shard

    def search(shard: Any, rescore: bool = False, factor: float = 1.0) -> tuple[float, list[list[int]]]:
        milliseconds, found = [], []
        for vector in vectors:
            started = time.perf_counter()
            hits = shard.query(request(OperatingPoint(asked_of.limit, None, rescore, factor), vector))
            milliseconds.append(1000 * (time.perf_counter() - started))
            found.append([hit.id for hit in hits])
        return float(np.mean(milliseconds)), found

    shards = {method: collection(method) for method in configs}
    baseline = shards.pop("none")
    started = time.perf_counter()
    table = [f"none: {search(baseline)[0]:.3f} ms"]
    for method, shard in shards.items():
        plain, _ = search(shard)
        rescored, _ = search(shard, rescore=True, factor=FACTOR)
        table.append(f"{method}: {plain:.3f} ms without rescoring, {rescored:.3f} ms with")
        for factor in asked_of.oversampling:
            latency, _ = search(shard, rescore=True, factor=factor)
            base, reference = search(baseline)
            _, found = search(shard, rescore=True, factor=factor)
            shared = [len({*ours} & {*theirs}) / asked_of.limit for ours, theirs in zip(found, reference, strict=True)]
            table.append(
                f"{method} {factor:g}×: {base / latency:.2f}× faster, accuracy retention {np.mean(shared):.3f}"
            )
    taken = time.perf_counter() - started
    print("\n".join(table), file=sys.stderr)
    return {"query seconds": taken, "composing seconds": composing}


if __name__ == "__main__":
    if "--procedure" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--procedure", type=Path)
        parser.add_argument("--queries", type=int)
        asked_for = parser.parse_args()
        print(json.dumps(procedure(asked_for.procedure / "course", asked_for.queries)))
    else:
        main()
