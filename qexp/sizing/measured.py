"""Predicted and measured memory side by side, component by component; nothing is averaged away."""

from collections.abc import Sequence

from qexp.results import PAYLOAD_INDEXES, CollectionState, MemoryUse, RamEstimate
from qexp.results.footprint import Comparison

REST = ("id tracker", PAYLOAD_INDEXES)  # what has the rest of the heap when the collection is loaded
WORKING = "working memory"


def compare(
    estimate: RamEstimate, state: CollectionState, moments: Sequence[MemoryUse | None]
) -> tuple[Comparison, ...]:
    """Put every component's prediction beside its files and its resident bytes.

    `moments` are memory in use when the collection was loaded, when it was warm, and after the last round. Pages of
    mapped files are known per component. Where the heap is known only as a whole, a pinned component without a mapped
    page is on it with the bytes of its file, and centroids as predicted; what is left right after loading is the id
    tracker's and the payload indexes', which nothing tells apart, so that they share it as predicted; and what comes on
    top later is `working memory`: of searches, of the process, and not of the collection.
    """
    first = _rest(estimate, state, moments[0]) if moments[0] else None
    loaded, warm, last = (_by_component(estimate, state, memory, first) for memory in moments)
    rows = [
        Comparison(
            name=part.name,
            need=part.need,
            predicted=part.bytes,
            guide=part.guide,
            predicted_file=part.disk + part.spare,
            spare=part.spare,
            file=state.files.get(part.name),
            loaded=sum(loaded[part.name]) if loaded else None,
            warm=sum(warm[part.name]) if warm else None,
            mapped=last[part.name][0] if last else None,
            heap=last[part.name][1] if last else None,
        )
        for part in estimate.components
    ]
    predicted = {part.name for part in estimate.components}
    for name, size in state.files.items():
        if name not in predicted:  # what is preallocated whatever is in the collection
            pages = [memory.mapped.get(name, 0) if memory else None for memory in moments]
            heap = 0 if moments[-1] else None
            rows.append(Comparison(name, "disk", 0, 0, 0, size, pages[0], pages[1], pages[2], heap))
    if loaded and warm and last:
        grown = [sum(each[WORKING]) for each in (loaded, warm, last)]
        rows.append(Comparison(WORKING, "resident", 0, 0, 0, None, grown[0], grown[1], 0, grown[2]))
    return tuple(rows)


def _pinned(estimate: RamEstimate, state: CollectionState, memory: MemoryUse) -> dict[str, int]:
    return {
        part.name: state.files.get(part.name, 0) + part.bytes - part.disk
        for part in estimate.components
        if part.need == "resident" and part.name not in REST and not memory.mapped.get(part.name)
    }


def _rest(estimate: RamEstimate, state: CollectionState, memory: MemoryUse) -> int:
    """Return the bytes of the heap that no component with a file of the same bytes has."""
    return max(0, memory.heap - sum(_pinned(estimate, state, memory).values()))


def _by_component(
    estimate: RamEstimate, state: CollectionState, memory: MemoryUse | None, first: int | None
) -> dict[str, tuple[int, int]] | None:
    """Return (mapped, heap) bytes of every component; None where nothing is known."""
    if memory is None:
        return None
    if memory.heap_parts:
        return {
            part.name: (memory.mapped.get(part.name, 0), memory.heap_parts.get(part.name, 0))
            for part in estimate.components
        } | {WORKING: (0, memory.heap - sum(memory.heap_parts.values()))}
    rest = _rest(estimate, state, memory)
    own = rest if first is None else min(rest, first)
    sharing = {part.name: part.bytes for part in estimate.components if part.name in REST}
    shares = {name: own * size // sum(sharing.values()) for name, size in sharing.items()}
    heap = {**_pinned(estimate, state, memory), **shares}
    found = {part.name: (memory.mapped.get(part.name, 0), heap.get(part.name, 0)) for part in estimate.components}
    return {**found, WORKING: (0, rest - own)}
