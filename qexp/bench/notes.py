"""What is worth knowing beside figures that hold: one sentence each, and nothing is refused."""

from collections.abc import Sequence

import numpy as np

from qexp.bench.latency import DIFFERENT
from qexp.results import INDEXED_FROM, Accuracy, CollectionSpec, Ids, OperatingPoint, method_of
from qexp.sizing.ram import linked_by_signs

# Qdrant's article on binary quantization lists recall of 0.98 and more for 1,536 and 3,072 dimensions, and of
# 0.94-0.96 for 768, all with rescoring; 1,024 is the usual line between them.
DIMENSIONS_FOR_BITS = 1024


def notes(spec: CollectionSpec, points: Sequence[OperatingPoint]) -> list[str]:
    """Return sentences on a collection and the operating points at which it is searched."""
    found = []
    kib, several = spec.segment_kib, spec.shards * spec.segments > 1
    if spec.full_scan_threshold <= kib < INDEXED_FROM:
        found.append(
            f"small corpus: {kib:,} KiB of vectors{' in a segment' if several else ''} are below the "
            f"{INDEXED_FROM:,} from which Qdrant builds an index by default; unless told otherwise it would scan all "
            f"points, and miss none. Measured is the index, with index.full_scan_threshold={spec.full_scan_threshold}"
        )
    method, _ = method_of(spec.quantization)
    if method == "binary" and spec.size < DIMENSIONS_FOR_BITS and any(not point.rescore for point in points):
        found.append(
            f"binary codes of {spec.size} dimensions tell near points poorly apart: below {DIMENSIONS_FOR_BITS:,} "
            "rescore them (Qdrant publishes, with rescoring, a recall of 0.98 for 1,536 dimensions, 0.94–0.96 for 768)"
        )
    if spec.distance == "manhattan" and method == "turbo" and linked_by_signs(spec.quantization):
        found.append(
            "the graph of TurboQuant of one to two bits with the Manhattan distance has fewer links than are predicted "
            "(docs/memory.md), and loses recall by them: loss_code_graph tells how much"
        )
    return found


def few_queries(queries: int) -> list[str]:
    """Return a sentence where the queries are too few for a P95, whose column is then empty."""
    least = DIFFERENT[95]
    return [f"{queries} queries are too few for a P95, which takes {least}"] if queries < least else []


def between_builds(measured: Sequence[Accuracy]) -> list[str]:
    """Return a sentence on how far builds of a collection differ at the operating point where they differ most."""
    widest = max(measured, key=lambda one: one.retention_build_sd or 0.0)
    if widest.retention_build_sd is None:
        return []
    return [
        f"accuracy is the mean of {widest.builds} builds, between which retention varies by ± "
        f"{widest.retention_build_sd:.4f} (standard deviation, at the operating point with the largest); "
        "latency is the first's"
    ]


def few_labelled(qrels: Ids, queries: int) -> list[str]:
    """Return a sentence where not every one of the queries has labels [n, 3]."""
    labelled = len(np.unique(qrels[:, 0]))
    if labelled == queries:
        return []
    if labelled:
        return [
            f"{labelled:,} of {queries:,} queries have a point labelled relevant: nDCG and MRR are means over those"
        ]
    return [
        f"none of the {queries:,} queries has a point labelled relevant: no nDCG or MRR; draw more, or those that have"
    ]


def labels_under_filter(qrels: Ids, kept: Ids) -> list[str]:
    """Return a sentence where a filter keeps out all labelled points of some queries; both are labels [n, 3]."""
    before, after = (len(np.unique(labels[:, 0])) for labels in (qrels, kept))
    if before == after:
        return []
    return [
        f"search.filter leaves labels to {after:,} of {before:,} labelled queries: nDCG and MRR are means over those"
    ]
