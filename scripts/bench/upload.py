"""Upload through qexp's Edge engine against a bare loop of upserts into a shard of the same configuration."""

import statistics
import tempfile
from pathlib import Path

from _common import Verdict, arguments, finish, paired, ratio

WORDS = ["dataset=synthetic", "dataset.queries=2", "index.full_scan_threshold=100"]


def main() -> None:
    """Measure and record."""
    from _bare import composed, uploads

    from qexp.data.vectors import load_data
    from qexp.engine.configured import collection_spec, engine_version

    given = arguments(__doc__, repeats=9, points=20_000, size=384)
    with tempfile.TemporaryDirectory() as folder:
        config = composed(*WORDS, f"dataset.points={given.points}", f"dataset.size={given.size}")
        data = load_data(config, Path(folder))
        spec = collection_spec(config, data.facts, engine_version(config.engine))
        pairs = paired(*uploads(spec, data.points(), Path(folder)), given.repeats)
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    rows = [{"points": given.points, "qexp s": first, "bare s": second, "ratio": ratio(pairs)}]
    finish("upload", given, [Verdict("upload / bare upserts", ratio(pairs), 1.05)], rows)


if __name__ == "__main__":
    main()
