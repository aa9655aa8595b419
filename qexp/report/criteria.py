"""The success criteria of the course, met or not by figures."""

from collections.abc import Iterator

from qexp.report.answers import bare_of
from qexp.report.digits import percent
from qexp.report.recommend import Recommendation
from qexp.report.words import MEASURE, speed, speedup, under_caps


def criteria(decided: Recommendation) -> Iterator[tuple[bool, str]]:
    """Yield the course's success criteria: whether the figures meet each, and what they say."""
    quantized = [one for one in decided.considered if not one.baseline]
    methods = list(dict.fromkeys(one.collection.method for one in quantized))
    yield len(methods) > 1, f"Several methods tested with real figures: {', '.join(methods) or 'none'}."
    told = [one for one in quantized if speedup(one.row).low > 1]
    yield (
        bool(told),
        f"Concrete speed improvements: {len(told)} of {len(quantized)} operating points are measurably faster.",
    )
    for prefix, aim in (("scalar", 5), ("binary", 20)):
        if own := [one for one in quantized if one.collection.method.startswith(prefix)]:
            first = max(own, key=lambda one: speedup(one.row).estimate)
            top, kept = speedup(first.row), f"{MEASURE[decided.slo.accuracy]} {first.accuracy:.3f}"
            yield top.low >= aim, f"{prefix} surely {aim}× faster or more: {top.ratio} at best, at {kept}."
    recovered = [
        found.reached
        for found in decided.matched
        if found.reached and found.reached.row.point.rescore and speedup(found.reached.row).low > 1
    ]
    named = "; ".join(f"{decided.title(one)}: {one.accuracy:.3f}, {speed(speedup(one.row))}" for one in recovered)
    yield bool(recovered), f"Accuracy recovered by oversampling with the speed kept: {named or 'in no method'}."
    bare, choice = bare_of(decided), decided.choice
    saved, what = None, "nothing was chosen that could save any"
    if choice and bare:
        saved = 1 - choice.predicted_ram / bare.predicted_ram
        what = f"{percent(saved)} on storage {choice.collection.storage}, predicted"
        if capped := under_caps(choice):
            saved = min(saved, 1 - choice.ram / bare.ram)
            what += f", but {capped}, without quantization {bare.ram:.1f}"
    yield saved is not None and saved >= 0.5, f"Significant memory savings (half or more): {what}."
    decision = "nothing keeps to the limits"
    if choice and not quantized:
        decision = "nothing was measured with quantization"
    elif choice:
        decision = f"{decided.title(choice)}, confirmed by the other half of the queries"
    yield choice is not None and bool(quantized), f"An informed recommendation: {decision}."
