"""What a report says: every sentence is made from figures by a rule."""

from collections.abc import Iterable, Sequence

from qexp.report import answers
from qexp.report.cliff import floors
from qexp.report.conditions import condition_elements
from qexp.report.criteria import criteria
from qexp.report.digits import money
from qexp.report.elements import Bullets, Element, Grid, Heading, Paragraph, Picture, Quote, Ticks, Tiles, Verdict
from qexp.report.frontier import Candidate, dominators, is_baseline_again
from qexp.report.glossary import GLOSSARY
from qexp.report.markdown import one_line
from qexp.report.recommend import Recommendation
from qexp.report.record import CollectionRecord, Record, findings
from qexp.report.settings import varying
from qexp.report.share import to_share
from qexp.report.table import cells, columns, speedup_text
from qexp.report.trust import LOSS_SAID, belief, loss_grid
from qexp.report.verdict import verdict_lines
from qexp.report.words import (
    MEASURE,
    SAME,
    judged_in,
    matched,
    on_storage,
    speedup,
    undominated,
    vouched,
)
from qexp.results import MIB


def story(record: Record, decided: Recommendation, pictures: Iterable[str]) -> list[Element]:
    """Return the report of one question; `pictures` are the names of the plots that could be drawn."""
    there = set(pictures)
    collections = record.asked_by(decided)
    return [
        *_decision(decided),
        *answers.condition(collections, record.failures),
        GLOSSARY,
        *_picture("frontier", _frontier_alt(decided), there),
        *_matched(decided),
        *_findings(collections),
        *_picture("oversampling", _oversampling_alt(decided), there),
        Heading("Domain and dataset"),
        _dataset(collections),
        *_comparison(decided),
        *_picture("latency", _latency_alt(decided), there),
        Heading("Key questions"),
        *answers.questions(collections, decided),
        *_picture("ram", _ram_alt(decided), there),
        *_cliff(record, there),
        *condition_elements(
            [(decided.name(one.key), row) for one in collections for row in one.rows],
            [(decided.name(one.key), row) for one in collections for row in one.loads],
        ),
        Heading("Key insights"),
        Bullets(tuple(answers.insights(decided))),
        Heading("Success criteria of Qdrant's course"),
        Ticks(tuple(criteria(decided))),
        *_loss(decided),
        *belief(collections, decided),
        *_everything(record, decided),
        Heading("To share"),
        Quote(to_share(collections[0], decided)),
        *_provenance(record, collections),
    ]


def _picture(name: str, alt: str, there: set[str]) -> list[Element]:
    return [Picture(name, alt)] if name in there else []


def _decision(decided: Recommendation) -> list[Element]:
    choice, lines = decided.choice, verdict_lines(decided)
    if choice is None:
        return [Verdict(lines[0]), *(Paragraph(line) for line in lines[1:])]
    row = choice.row
    tiles = [(MEASURE[decided.slo.accuracy], f"{choice.accuracy:.3f}", _accuracy_remark(choice, decided))]
    if not choice.baseline:
        ratio = speedup(row)
        value = f"{ratio.estimate:.2f}×" if ratio.distinguishable else SAME
        tiles.append(("speedup of the mean", value, f"95 % interval {ratio.ends}×"))
    if "latency_p95_ms" in row.metrics:
        tiles.append(("P95 latency", f"{row.metrics['latency_p95_ms']:.3f} ms", answers.latency_remark(choice)))
    tiles.append(("RAM", f"{choice.predicted_ram:.1f} MiB", answers.ram_remark(decided, choice)))
    tiles.append(("cost", f"{money(choice.cost)} a month", answers.cost_remark(row)))
    return [
        Verdict(f"Deploy {on_storage(choice)}."),
        Tiles(tuple(tiles)),
        Bullets((_asked(decided), *lines[1:], *_refuted(decided))),
    ]


def _accuracy_remark(choice: Candidate, decided: Recommendation) -> str:
    if choice.baseline and decided.slo.accuracy == "retention":
        return "by definition"
    return f"{choice.accuracy_halves[1].share} on the half of the queries that has to confirm it"


def _asked(decided: Recommendation) -> str:
    slo = decided.slo
    limits = [f"{MEASURE[slo.accuracy]} of at least {slo.min_accuracy:g}"]
    limits += [f"P95 of at most {slo.max_p95_ms:g} ms"] if slo.max_p95_ms else []
    limits += [f"RAM of at most {slo.max_ram_mib:g} MiB"] if slo.max_ram_mib else []
    limits += [f"at most {money(slo.max_usd_month)} a month"] if slo.max_usd_month else []
    return (
        f"Asked for: {', '.join(limits)}, by the worse end of the 95 % interval on both halves of the queries; among "
        f"what keeps to that{undominated(slo)}, the cheapest. Operating points considered: {len(decided.considered)}."
    )


def _refuted(decided: Recommendation) -> list[str]:
    if not decided.refuted:
        return []
    named = "; ".join(f"{decided.title(one)} ({vouched(one, decided.slo)})" for one in decided.refuted)
    return [f"Cheaper, chosen by one half of the queries but not confirmed by the other: {named}."]


def _frontier_alt(decided: Recommendation) -> str:
    points = "; ".join(f"{decided.title(one)} {one.accuracy:.3f} at {one.latency:.3f} ms" for one in decided.considered)
    return f"Accuracy against {decided.latency} of every operating point: {points}."


def _oversampling_alt(decided: Recommendation) -> str:
    return f"Accuracy over oversampling for every method. {matched(decided)}"


def _latency_alt(decided: Recommendation) -> str:
    known = any("latency_p99_ms" in decided.shown(found).row.metrics for found in decided.matched)
    shown = f"P5, quartiles, median, P95{', P99' if known else ''}"
    return f"Latency of a search, baseline and each method: {shown}."


def _ram_alt(decided: Recommendation) -> str:
    totals = {decided.name(one.collection): one.predicted_ram for one in decided.considered}
    return f"Predicted RAM by component: {', '.join(f'{name} {total:.1f} MiB' for name, total in totals.items())}."


def _matched(decided: Recommendation) -> list[Element]:
    if not decided.matched:
        return []
    return [Heading("At matched accuracy"), Paragraph(matched(decided))]


def _findings(collections: list[CollectionRecord]) -> list[Element]:
    """Return what tuning found, and whether adaptive policies beat fixed oversampling."""
    said = findings(collections)
    return [Heading("Tuned and adaptive oversampling"), Bullets(tuple(said))] if said else []


def _dataset(collections: Sequence[CollectionRecord]) -> Grid:
    """Return what was searched, which is the same in all collections, and their indexes, which may differ."""
    facts, config = collections[0].dataset, collections[0].config
    indexes = dict.fromkeys(f"m {one.built('m')}, ef_construct {one.built('ef_construct')}" for one in collections)
    size = f"{facts['size']} dimensions"
    if facts["size"] != facts["native_size"]:
        again = ", normalised again" if facts["distance"].lower() == "cosine" else ""
        size += f", the first of {facts['native_size']}{again}"
    mib = facts["points"] * facts["size"] * 4 / MIB
    source = config.get("dataset.path") or config.get("dataset.collection")
    encoder = config.get("embedding.model") or config.get("embedding.function")
    unknown = "not recorded: the dataset brought its vectors" if source else "none: the vectors were generated"
    rows = (
        ("dataset", facts["name"]),
        ("source", str(source or "generated")),
        ("points", f"{facts['points']:,} ({mib:,.1f} MiB as float32)"),
        ("embedding", size),
        ("model", str(encoder or config.get("dataset.model") or unknown)),
        ("distance", facts["distance"]),
        ("queries", f"{facts['queries']:,}: one half chooses, the other confirms"),
        ("index", f"HNSW, {'; '.join(indexes)}"),
        ("content", facts["digest"]),
    )
    return Grid(("", ""), rows)


def _comparison(decided: Recommendation) -> list[Element]:
    """Every collection at one operating point."""
    chosen = [one for one in decided.considered if one.baseline]
    chosen += [decided.shown(found) for found in decided.matched]
    header = ("method", "at", "mean ms", "P95 ms", "speedup (95 % interval)", MEASURE[decided.slo.accuracy], "RAM MiB")
    rows = []
    for one in chosen:
        metrics = one.row.metrics
        rows.append(
            (
                decided.name(one.collection),
                one.point,
                f"{metrics['latency_mean_ms']:.3f}",
                f"{metrics['latency_p95_ms']:.3f}" if "latency_p95_ms" in metrics else "",
                "1 by definition" if one.baseline else speedup_text(metrics),
                f"{one.accuracy:.3f}",
                f"{one.predicted_ram:.1f}",
            )
        )
    marked = frozenset(number for number, one in enumerate(chosen) if one is decided.choice)
    missed = [decided.name(found.collection) for found in decided.matched if not found.reached]
    note = f" {', '.join(missed)}: at the most accurate point that was measured." if missed else ""
    note += " Speedups are over the baseline as it was in the method's own job."
    return [
        Heading("Methods compared"),
        Paragraph(f"The recommended point; of the others the simplest that reaches the accuracy asked for.{note}"),
        Grid(header, tuple(rows), marked),
    ]


def _loss(decided: Recommendation) -> list[Element]:
    """Return where recall is lost, for the compared points."""
    shown = map(decided.shown, decided.matched)
    loss = loss_grid((decided.title(one), one.row) for one in shown)
    return [Heading("Where recall is lost"), Paragraph(LOSS_SAID), loss] if loss else []


def _cliff(record: Record, there: set[str]) -> list[Element]:
    if record.cliff is None:
        return []
    said = floors(record.cliff)
    alt = f"Mean latency under shrinking memory caps. {' '.join(said)}"
    return [Heading("When memory runs short"), Bullets(tuple(said)), *_picture("cliff", alt, there)]


def _everything(record: Record, decided: Recommendation) -> list[Element]:
    extra = varying([one.row for one in decided.considered])
    rows = [row for one in record.asked_by(decided) for row in one.rows if row.baseline or not is_baseline_again(row)]
    shown = columns(rows)
    header = (*(name.replace("_", " ") for name in extra), *map(one_line, shown))
    table = tuple((*(row.params.get(name, "") for name in extra), *cells(row, shown)) for row in rows)
    marked = frozenset(number for number, row in enumerate(rows) if decided.choice and row is decided.choice.row)
    beaten = tuple(
        (decided.title(one), decided.title(by))
        for one, by in dominators(decided.considered, decided.slo.objectives)
        if one is not decided.choice  # what beats it misses a limit
    )
    size = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    elements: list[Element] = [Heading("Every trial"), Grid(header, table, marked, folded=size)]
    if beaten:
        points = "1 dominated point" if len(beaten) == 1 else f"{len(beaten)} dominated points"
        said = f"{points}, and by what{judged_in(decided.slo)}"
        elements.append(Grid(("dominated", "by"), beaten, folded=said))
    return elements


def _provenance(record: Record, collections: list[CollectionRecord]) -> list[Element]:
    facts = [
        f"MLflow run {record.run_id}.",
        "Latency is timed around one search call, one client, every operating point once a round in random order.",
        "Speedups are ratios of means of the same round; their intervals are t intervals over rounds.",
    ]
    facts += filter(None, dict.fromkeys(one.machine for one in collections))
    facts += [f"No figures of job {name}: {reason.rstrip('.')}." for name, reason in record.failures]
    commands = dict.fromkeys(one.tags["qexp.reproduce"] for one in collections if "qexp.reproduce" in one.tags)
    return [Heading("How it was measured"), Bullets(tuple(facts)), Quote("\n".join(commands))]
