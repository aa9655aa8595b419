"""What sizing has to know of a dataset: asked once for all jobs of a sweep that share it."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from qexp.data.payload import payload_lines, sampled_lines
from qexp.data.vectors import Data
from qexp.results import CollectionSpec
from qexp.sizing.indexes import index_size
from qexp.sizing.links import forward_links
from qexp.sizing.payload import PayloadSize, payload_size
from qexp.sizing.ram import linked_by_signs


def chosen_links(data: Data, spec: CollectionSpec) -> float:
    """Return `forward_links` of the points, by what the collection's graph is built with."""
    return _chosen_links(data.vectors, spec.m, spec.ef_construct, spec.distance, linked_by_signs(spec.quantization))


def held_payload(data: Data, spec: CollectionSpec) -> PayloadSize:
    """Return the size of the payload, from a sample of it, and of its indexes, for which all of it is read."""
    return _held_payload(data.payload, spec.points, tuple(spec.payload_indexes.items()))


@lru_cache
def _chosen_links(vectors: Path, m: int, ef_construct: int, distance: str, by_signs: bool) -> float:
    return forward_links(np.load(vectors, mmap_mode="r"), m, ef_construct, distance, by_signs)


@lru_cache
def _held_payload(payload: Path | None, points: int, indexed: tuple[tuple[str, str], ...]) -> PayloadSize:
    indexes = index_size(payload_lines(payload, points), points, dict(indexed))
    return replace(payload_size(sampled_lines(payload, points)), indexes=indexes)
