"""Predicted and measured memory side by side, component by component; nothing is averaged away."""

from collections.abc import Sequence

from qexp.footprint import Comparison
from qexp.results import CollectionState, MemoryUse, RamEstimate

REST = "id tracker"  # the component that takes what is left of the heap


def compare(
    estimate: RamEstimate, state: CollectionState, moments: Sequence[MemoryUse | None]
) -> tuple[Comparison, ...]:
    """Put every component's prediction beside its files and its resident bytes.

    `moments` are memory in use when the collection was loaded, when it was warm, and after the last round. Pages of
    mapped files are known per component. The heap is known as a whole: a pinned component without a mapped page is on
    it with the bytes of its file, and what is left belongs to the id tracker and the engine itself.
    """
    loaded, warm, last = (_by_component(estimate, state, memory) for memory in moments)
    return tuple(
        Comparison(
            name=part.name,
            need=part.need,
            predicted=part.bytes,
            guide=part.guide,
            predicted_file=part.disk,
            file=state.files.get(part.name),
            loaded=sum(loaded[part.name]) if loaded else None,
            warm=sum(warm[part.name]) if warm else None,
            mapped=last[part.name][0] if last else None,
            heap=last[part.name][1] if last else None,
        )
        for part in estimate.components
    )


def _by_component(
    estimate: RamEstimate, state: CollectionState, memory: MemoryUse | None
) -> dict[str, tuple[int, int]] | None:
    """Return (mapped, heap) bytes of every component; None where nothing is known."""
    if memory is None:
        return None
    heap = {
        part.name: state.files.get(part.name, 0)
        for part in estimate.components
        if part.need == "resident" and part.name != REST and not memory.mapped.get(part.name)
    }
    heap[REST] = max(0, memory.heap - sum(heap.values()))
    return {part.name: (memory.mapped.get(part.name, 0), heap.get(part.name, 0)) for part in estimate.components}


def hot_bytes(comparisons: Sequence[Comparison]) -> int | None:
    """Return the resident bytes of what searching wants in RAM, leaving out pages of what may stay on disk."""
    wanted = [part.resident for part in comparisons if part.need != "disk"]
    known = [resident for resident in wanted if resident is not None]
    return sum(known) if known and len(known) == len(wanted) else None


def file_bytes(comparisons: Sequence[Comparison]) -> int:
    """Return the bytes of the components' files, without what the engine preallocates."""
    return sum(part.file or 0 for part in comparisons)
