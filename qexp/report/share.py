"""A short text about a result, to be posted where people talk about vector search."""

from qexp.report.answers import bare_of, ram_basis
from qexp.report.recommend import Recommendation
from qexp.report.record import CollectionRecord
from qexp.report.words import MEASURE, SAME_ACCURACY, against_baseline


def to_share(collection: CollectionRecord, decided: Recommendation) -> str:
    """Return a short text with the result, its interval and its limits."""
    facts, choice = collection.dataset, decided.choice
    data = f"{facts['name']} ({facts['points']:,} points, {facts['size']} dimensions)"
    methods = len({found.best.row.params["quantization"] for found in decided.matched})
    several = f"{methods} quantization{'s' if methods > 1 else ''} of Qdrant"
    measured = f"I measured {several if methods else 'Qdrant without quantization'} on {data}"
    if choice is None:
        return f"{measured}: nothing kept to my limits."
    head = f"{measured}." if choice.baseline else f"I optimized search over {data} with quantization on Qdrant."
    lines = [head, f"Best: {decided.title(choice)}."]
    bare = bare_of(decided)
    if bare and not choice.baseline:
        kept = f"{MEASURE[decided.slo.accuracy]} {choice.accuracy_halves[1].share} on the half that had to confirm it"
        ram = f"{bare.predicted_ram:.1f} MiB of RAM became {choice.predicted_ram:.1f} ({ram_basis(choice)})"
        lines.append(f"Result: {against_baseline(choice)}; {kept}; {ram}.")
    surprise = _surprise(decided)
    return "\n".join([*lines, *([f"Surprise: {surprise}"] if surprise else []), "Measured with qexp."])


def _surprise(decided: Recommendation) -> str:
    """Return the widest gap between accuracy without and with rescoring; nothing where it matters to nobody."""
    gains = []
    for found in decided.matched:
        points = decided.compared(found)
        least, most = min(points, key=lambda one: one.simplicity), max(points, key=lambda one: one.accuracy)
        gains.append((most.accuracy - least.accuracy, least, most))
    if not gains:
        return ""
    gain, least, most = max(gains, key=lambda one: one[0])
    if gain <= SAME_ACCURACY:
        return ""
    whose = f"{MEASURE[decided.slo.accuracy]} of {decided.name(most.collection)}"
    return f"{whose} went from {least.accuracy:.3f} to {most.accuracy:.3f} by {most.point} alone."
