"""How near the predicted size of the HNSW graph is to its files, on real and synthetic vectors.

Qdrant builds a graph by codes where there are some, so that those of few bits change it.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _bare import composed
from _common import Verdict, arguments, finish

SEED = 1
GOAL = 15.0  # percent
CASES = """
wordnet 1000 384 16 100 none
wordnet 20000 384 8 100 none
wordnet 20000 384 16 100 none
wordnet 20000 384 32 200 none
wordnet 20000 384 64 100 none
wordnet 20000 128 16 100 none
wordnet 5000 64 16 100 none
clusters 1000 1536 16 100 none
clusters 5000 3072 32 100 none
clusters 20000 768 16 100 none
clusters 100000 64 16 100 none
clusters 100000 128 64 100 none
noise 1000 64 64 100 none
noise 5000 384 16 100 none
noise 3000 3072 16 100 none
noise 20000 128 32 200 none
wordnet 20000 384 16 100 scalar
wordnet 20000 384 16 100 turbo_4bit
wordnet 20000 384 16 100 turbo_2bit
wordnet 20000 384 16 100 turbo_1bit
wordnet 20000 384 16 100 binary
wordnet 20000 384 16 100 binary_2bit
wordnet 20000 384 16 100 product_x16
wordnet 20000 384 32 200 binary
wordnet 20000 384 32 200 turbo_1bit
wordnet 20000 128 16 100 turbo_1bit
wordnet 20000 128 16 100 binary_2bit
clusters 10000 1536 16 100 binary
clusters 10000 1536 16 100 turbo_1bit
noise 5000 384 16 100 binary
"""


def main() -> None:
    """Build every case up to `--largest` points and compare."""
    given = arguments(__doc__, largest=20_000)
    cases = [(kind, *map(int, numbers), method) for kind, *numbers, method in map(str.split, CASES.strip().split("\n"))]
    rows = [compared(*case) for case in cases if case[1] <= given.largest]
    worst = max(abs(row["off %"]) for row in rows)
    finish("graph", given, [Verdict("predicted size of the graph, worst", worst, GOAL, "% off")], rows)


def compared(kind: str, points: int, size: int, m: int, ef_construct: int, method: str) -> dict[str, Any]:
    """Return a row: the links a point chooses, bytes a point in files and predicted, and by Qdrant's guide."""
    from qexp.engine.base import build_collection
    from qexp.engine.edge import EdgeEngine
    from qexp.results import CollectionSpec
    from qexp.sizing.links import forward_links
    from qexp.sizing.ram import linked_by_signs, predict_ram

    quantization = composed(f"quantization={method}").quantization.config or None
    vectors = VECTORS[kind](points, size)
    spec = CollectionSpec(
        dataset=kind,
        digest="0",
        points=points,
        size=size,
        distance="cosine",
        datatype="float32",
        quantization=quantization,
        method=method,
        vectors="cold",
        quantized="pinned" if quantization else "",
        hnsw="cached",
        m=m,
        ef_construct=ef_construct,
        full_scan_threshold=100,
        segments=1,
        engine="edge",
    )
    forward = forward_links(vectors, m, ef_construct, "cosine", linked_by_signs(quantization))
    (graph,) = [part for part in predict_ram(spec, forward).components if part.name == "graph"]
    with tempfile.TemporaryDirectory() as folder:
        built = build_collection(EdgeEngine(Path(folder)), spec, vectors).state.files["graph"]
    return {
        "vectors": kind,
        "points": points,
        "size": size,
        "m": m,
        "ef_construct": ef_construct,
        "quantization": method,
        "chosen": round(forward, 1),
        "bytes a point": round(built / points, 1),
        "predicted": round(graph.disk / points, 1),
        "off %": round(100 * (graph.disk / built - 1), 1),
        "guide": f"{graph.guide / built:.1f}×",
    }


def _wordnet(points: int, size: int) -> Any:
    """Return the first points of the bundled dataset, cut to the first components."""
    from pyarrow import parquet

    from qexp.paths import packaged

    column = parquet.read_table(packaged("bundled") / "wordnet" / "corpus.parquet")["vector"].slice(0, points)
    return _normalised(np.stack(column.to_numpy())[:, :size])


def _clusters(points: int, size: int) -> Any:
    rng = np.random.default_rng(SEED)
    centres = _normalised(rng.standard_normal((100, size)))
    return _normalised(
        centres[rng.integers(100, size=points)] + rng.standard_normal((points, size)) / np.sqrt(4 * size)
    )


def _noise(points: int, size: int) -> Any:
    return _normalised(np.random.default_rng(SEED).standard_normal((points, size)))


def _normalised(vectors: Any) -> Any:
    vectors = vectors.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = {"wordnet": _wordnet, "clusters": _clusters, "noise": _noise}

if __name__ == "__main__":
    main()
