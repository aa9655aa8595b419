"""Print goal and verdict of every bench, from the records in `results/` or `QEXP_BENCH_RESULTS`."""

import json

from _common import RESULTS, print_verdicts


def main() -> None:
    """Read and print."""
    records = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    print_verdicts([record for record in records if "verdicts" in record])


if __name__ == "__main__":
    main()
