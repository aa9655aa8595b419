"""The course's questions, answered from figures."""

import json
from collections.abc import Iterator, Mapping, Sequence

from qexp.report.bodies import filter_body
from qexp.report.digits import money, more, percent
from qexp.report.elements import Bullets, Element, Grid, Paragraph
from qexp.report.frontier import Candidate, fastest, times_faster
from qexp.report.pace import built
from qexp.report.recommend import Matched, Recommendation, shortfalls
from qexp.report.record import MOST_NAMES, CollectionRecord
from qexp.report.words import (
    MEASURE,
    against_baseline,
    at_best,
    is_speed,
    matched,
    more_cost,
    speed,
    speedup,
    under_caps,
    undominated,
)
from qexp.results import DATATYPE_BITS, MIB, Row

_NONE = "Nothing was measured with quantization."


def condition(collections: Sequence[CollectionRecord], failures: Sequence[tuple[str, str]] = ()) -> Iterator[Element]:
    """Yield which jobs have no figures; and the filter of every search: where jobs differ in it, their names tell."""
    if failures:
        names = ", ".join(name for name, _ in failures) if len(failures) <= MOST_NAMES else f"{len(failures)} jobs"
        yield Paragraph(f"Without figures, so not compared: {names}. The end of this report has the reasons.")
    first, *others = map(filter_body, collections)
    if first and all(other == first for other in others):
        yield Paragraph(f"All of it under this filter: {json.dumps(first, ensure_ascii=False)}")


def questions(collections: Sequence[CollectionRecord], decided: Recommendation) -> Iterator[Element]:
    """Yield the four key questions with their answers."""
    yield Paragraph("**Which method has the best trade-off of speed and accuracy?** " + _best(decided))
    measured = "" if decided.matched else f" {_NONE}"
    yield Paragraph(f"**How did oversampling affect the results?**{measured}")
    if decided.matched:
        yield Bullets(tuple(_effect(decided, one) for one in decided.matched))
    yield Paragraph("**What was the impact on memory and cost?** " + _memory(decided))
    yield Paragraph(f"**How does this compare with the theoretical maxima?**{measured}")
    if decided.matched:
        yield _theory(collections, decided)
    if why := tuple(_why(collections, decided)):
        yield Bullets(why)


def _best(decided: Recommendation) -> str:
    measure, least = MEASURE[decided.slo.accuracy], decided.slo.min_accuracy
    if not decided.matched:
        return _NONE
    enough = [one for one in decided.considered if not one.baseline and one.floor >= least]
    if not enough:
        return f"None: no method reaches {measure} ≥ {least:g}. {matched(decided)}"
    places = dict.fromkeys(one.collection for one in enough)
    reached = [fastest([one for one in enough if one.collection == place]) for place in places]
    first = fastest(reached)
    level = [decided.title(one) for one in reached if one is not first and times_faster(first, one).low <= 1]
    others = " It is measurably ahead of the rest." if len(reached) > 1 else ""
    if level:
        others = f" No measurable difference from it: {'; '.join(level)}."
    text = f"At {measure} ≥ {least:g} the fastest by {decided.latency} is {decided.title(first)}"
    text += f" ({against_baseline(first)}).{others}"
    if decided.choice and not decided.choice.baseline and decided.choice.collection != first.collection:
        text += f" Recommended is {decided.title(decided.choice)} ({against_baseline(decided.choice)}), which "
        text += f"{more_cost(decided.choice, first)}."
    return text


def _effect(decided: Recommendation, found: Matched) -> str:
    """Return what rescoring and oversampling did to one collection, from its least to its most."""
    points = decided.compared(found)
    least, most = min(points, key=lambda one: one.simplicity), max(points, key=lambda one: one.simplicity)
    name = decided.name(found.collection)
    if least is most:
        return f"{name}: one operating point was measured."
    gain = most.accuracy - least.accuracy
    return (
        f"{name}: {MEASURE[decided.slo.accuracy]} went from {least.accuracy:.3f} ({least.point}) to "
        f"{most.accuracy:.3f} ({most.point}), {gain:+z.3f}; the latter "
        f"{is_speed(times_faster(most, least), decided.latency)}."
    )


def latency_remark(one: Candidate) -> str:
    """Return what the latency is of, and what comparisons make of it where its job was faster or slower than all."""
    told = "one client, closed loop"
    if not one.levelled:
        return told
    return f"{told}; {one.latency:.3f} ms adjusted for the machine's speed in its job, as the first plot has it"


def ram_basis(one: Candidate) -> str:
    """Return what the RAM of a candidate rests on: prediction, and memory caps where they showed more."""
    return "; ".join(filter(None, ("predicted", under_caps(one))))


def ram_remark(decided: Recommendation, one: Candidate) -> str:
    """Return RAM against the baseline's."""
    bare = bare_of(decided)
    if bare is None or one.baseline:
        return ram_basis(one)
    change = more(one.predicted_ram, bare.predicted_ram)
    return f"{ram_basis(one)}; {bare.predicted_ram:.1f} MiB without quantization ({change})"


def cost_remark(row: Row) -> str:
    """Return what is saved against no quantization, and with how many points, if others than were measured."""
    saved, target = row.metrics.get("savings_usd_month"), row.metrics.get("cost_target_points")
    points = f", with {target:,.0f} points" if target else ""
    if saved is None:
        return f"nothing is saved{points}"
    verb = "saves" if saved >= 0 else "costs more by"
    return f"{verb} {money(abs(saved))} a month, {money(abs(12 * saved))} a year{points}"


def bare_of(decided: Recommendation) -> Candidate | None:
    """Return the baseline to compare memory with: one that was built as the choice's own; without a choice, any."""
    bare = [one for one in decided.considered if one.baseline]
    own = [one for one in bare if decided.choice and built(one.row) == built(decided.choice.base)]
    return next(iter(own or bare), None)


def _memory(decided: Recommendation) -> str:
    choice, bare = decided.choice, bare_of(decided)
    if choice is None or bare is None or choice.baseline:
        return "No quantized configuration was chosen, so none is saved."
    mine, whole = choice.row.metrics, bare.row.metrics
    change = more(choice.predicted_ram, bare.predicted_ram)
    text = (
        f"{_smaller(mine)}The RAM that searching wants goes from {bare.predicted_ram:.1f} to "
        f"{choice.predicted_ram:.1f} MiB, {change}, predicted; that {cost_remark(choice.row)}."
    )
    if capped := under_caps(choice):
        text += f" But {capped}."
    if "ram_measured_mib" in mine and "ram_measured_mib" in whole:
        text += (
            f" In memory after the last round: {whole['ram_measured_mib']:.1f} MiB without quantization, "
            f"{mine['ram_measured_mib']:.1f} MiB with it; pages that nothing needs stay cached until memory runs short."
        )
    return text


def _smaller(metrics: Mapping[str, float]) -> str:
    """Return how much smaller codes are, where the engine tells; vectors of one byte a component may be smaller."""
    ratio = metrics.get("compression_ratio")
    if not ratio:
        return ""
    times = f"{max(ratio, 1 / ratio):.1f}"
    told = "about as large as" if times == "1.0" else f"{times}× {'smaller' if ratio > 1 else 'larger'} than"
    return f"The codes are {told} the vectors. "


def _theory(collections: Sequence[CollectionRecord], decided: Recommendation) -> Grid:
    rows = []
    for collection, best in _fastest(collections, decided):
        config = collection.config
        compression, factor = (config.get(f"quantization.theory.{name}") for name in ("compression", "speedup"))
        rows.append(
            (
                decided.name(best.collection),
                f"{compression:g}×" if compression else "",
                f"{measured:.1f}×" if (measured := collection.metrics.get("compression_ratio")) else "",
                f"{factor:g}×" if factor else "",
                f"{speedup(best.row).ratio}, {best.point}",
                f"{best.accuracy:.3f}",
            )
        )
    own = f"its {MEASURE[decided.slo.accuracy]}"
    header = ("method", "smaller, theory", "smaller, measured", "faster, theory", "fastest measured", own)
    return Grid(header, tuple(rows))


def _fastest(
    collections: Sequence[CollectionRecord], decided: Recommendation
) -> Iterator[tuple[CollectionRecord, Candidate]]:
    """Yield each quantized collection with its fastest operating point, whatever its accuracy."""
    for found in decided.matched:
        points = [one for one in decided.considered if one.collection == found.collection]
        best = max(points, key=lambda one: one.row.metrics["speedup_mean"])
        yield next(one for one in collections if one.has(best.row)), best


def _why(collections: Sequence[CollectionRecord], decided: Recommendation) -> Iterator[str]:
    """Yield what the figures say about the distance between theory and measurement."""
    for collection, best in _fastest(collections, decided):
        config, metrics = collection.config, collection.metrics
        theory = config.get("quantization.theory.compression")
        if not theory or "codes_disk_mib" not in metrics:
            continue
        each = metrics["codes_disk_mib"] * MIB / collection.dataset["points"]
        ideal = collection.dataset["size"] * DATATYPE_BITS["float32"] / 8 / theory
        name, datatype = decided.name(best.collection), config["storage.datatype"]
        if each > 1.01 * ideal:
            yield (
                f"{name}: a code takes {each:.0f} bytes, not the {ideal:.0f} of a published {theory:g}×, which counts "
                "no corrections, no padding and no half bits."
            )
        if datatype != "float32":
            bits = DATATYPE_BITS[datatype]
            yield (
                f"{name}: theory compares with float32, and these vectors are {datatype}: {bits} bits a dimension "
                "before any quantization."
            )
    bare, choice = bare_of(decided), decided.choice
    own = next((one for one in collections if choice and one.has(choice.row)), None)
    if bare and choice and own and not choice.baseline:
        rest, share = ", ".join(_beside_codes(own)), 1 - own.metrics["codes_predicted_mib"] / choice.predicted_ram
        told = f"{percent(share)} of the RAM of {decided.title(choice)} is not codes"
        yield f"{told} but what no quantization shrinks: {rest}."
    here = bare is not None and bare.row.params["engine"] == "edge"  # a server's memory is not seen from the client
    gib = collections[0].environment.get("memory_gib") if here else None
    if bare and gib and decided.matched and bare.predicted_ram < 1024 * gib:
        wants = f"The unquantized collection wants {bare.predicted_ram:.1f} MiB and the machine has {gib:g} GiB"
        yield f"{wants}: memory was not short, so these speedups say nothing about a machine where it is."
    if choice and own and (point := choice.row.point).rescore:
        segments = own.config.get("index.segments", 1) * own.config.get("engine.shards", 1)  # each rescores its own
        each = f" in each of {segments} segments" if segments > 1 else ""
        reads = f"{int(point.limit * point.oversampling)} original vectors{each}"
        yield f"Rescoring at {point.oversampling:g}× reads up to {reads} for every {point.limit} results."


def _beside_codes(collection: CollectionRecord) -> Iterator[str]:
    """Yield what else is counted as RAM."""
    config, metrics = collection.config, collection.metrics
    if config["storage.vectors"] == "cached":
        yield "original vectors"
    yield from ("graph", "id tracker")
    if config.get("cost.payload_in_ram") and (config.get("cost.payload_bytes") or "payload_predicted_mib" in metrics):
        yield "payload"
    if "payload_indexes_predicted_mib" in metrics:
        yield "payload indexes"


def insights(decided: Recommendation) -> Iterator[str]:
    """Yield what stands out, each with its figures."""
    if decided.choice:
        limits = f"keeps to the limits{undominated(decided.slo)}{_at_its_price(decided, decided.choice)}"
        yield f"{decided.title(decided.choice)} is the cheapest that {limits}; {cost_remark(decided.choice.row)}."
    for found in decided.matched:
        name = decided.name(found.collection)
        points = decided.compared(found)
        bare = next((one for one in points if not one.row.point.rescore), None)
        reached = decided.shown(found) if found.reached else None
        if bare and bare is reached:
            yield f"{name} needs no rescoring: {bare.accuracy:.3f} without it."
        elif reached and bare:
            yield f"{name} alone keeps {bare.accuracy:.3f}; {reached.point} brings {reached.accuracy:.3f}."
        elif not reached:
            seems = found.best.accuracy >= decided.slo.min_accuracy
            limit = "is not sure to keep to the limit" if seems else "stays below the limit"
            yield f"{name} {limit}: {at_best(found.best, decided.slo)} at best, with {found.best.point}."
        slowest = min((speedup(one.row) for one in points), key=lambda ratio: ratio.high)
        if slowest.high < 1:
            yield f"{name} can be slower than no quantization: {speed(slowest)}."


def _at_its_price(decided: Recommendation, choice: Candidate) -> str:
    """Return that other collections within the limits cost as much, as on whole machines; nothing where none does."""
    others = [one for one in decided.considered if one.collection != choice.collection and one.price == choice.price]
    return ", with others at the same price" if any(not shortfalls(one, decided.slo) for one in others) else ""
