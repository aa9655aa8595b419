"""Sentences of the report, from rows made by hand."""

from dataclasses import replace

import pytest

from qexp.report.elements import Bullets, Grid, Heading, Paragraph, Picture, Quote, Tiles, Verdict
from qexp.report.recommend import recommend
from qexp.report.record import CollectionRecord, Record
from qexp.report.story import _asked, _comparison, _dataset, _decision, _everything, _latency_alt, _provenance, story
from qexp.report.verdict import verdict_lines
from qexp.results import MIB, Check
from qexp.results.footprint import CapTrial, Cliff
from tests.tables import TABLE, baseline, job, row
from tests.test_recommend import SLO


def test_the_decision_has_the_figures_of_the_choice():
    decided = recommend(TABLE, SLO)
    verdict, tiles, bullets = _decision(decided)
    assert bullets.items == (_asked(decided), *verdict_lines(decided)[1:])
    assert verdict == Verdict("Deploy binary, rescoring 4× (storage on_disk).")
    assert tiles == Tiles(
        (
            ("accuracy retention", "0.960", "0.960 (0.960–0.960) on the half of the queries that has to confirm it"),
            ("speedup of the mean", "0.91×", "95 % interval 0.90–0.92×"),
            ("P95 latency", "2.200 ms", "one client, closed loop"),
            ("RAM", "400.0 MiB", "predicted; 1000.0 MiB without quantization (2.5× less)"),
            ("cost", "$2.00 a month", "saves $8.00 a month, $96.00 a year"),
        )
    )


def test_what_cannot_be_told_from_the_baseline_or_is_the_baseline_is_not_called_fast():
    alike = row("scalar", 2)
    alike.metrics.update(speedup_mean=1.04, speedup_mean_low=0.98, speedup_mean_high=1.1)
    tile = ("speedup of the mean", "no measurable difference", "95 % interval 0.98–1.10×")
    assert _decision(recommend([baseline(), alike], SLO))[1].items[1] == tile
    bare = [baseline(cost=1), row("scalar", 2, accuracy=0.5)]
    assert _decision(recommend(bare, SLO))[1].items[:2] == (
        ("accuracy retention", "1.000", "by definition"),
        ("P95 latency", "2.000 ms", "one client, closed loop"),
    )
    judged = _decision(recommend(bare, replace(SLO, accuracy="recall")))[1].items[0]
    assert judged == ("recall", "1.000", "1.000 (1.000–1.000) on the half of the queries that has to confirm it")


def test_without_enough_samples_for_a_p95_none_is_shown():
    rows = [baseline(), row("scalar", 2)]
    for one in rows:
        for name in [name for name in one.metrics if name.startswith("latency_p95_ms")]:
            del one.metrics[name]
    decided = recommend(rows, SLO)
    labels = ", ".join(label for label, *_ in _decision(decided)[1].items)
    assert labels == "accuracy retention, speedup of the mean, RAM, cost"
    assert [cells[3] for cells in _comparison(decided)[2].rows] == ["", ""]


def test_what_only_one_half_of_the_queries_chose_is_named():
    rows = [baseline(), row("scalar", 2, second=0.8), row("binary", 2, cost=2)]
    assert _decision(recommend(rows, SLO))[2].items[-1] == (
        "Cheaper, chosen by one half of the queries but not confirmed by the other: scalar, rescoring 2× (0.885 (0.970 "
        "on the queries that chose, 0.800 (0.800–0.800) on the other half))."
    )


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "accuracy retention of at least 0.95, by"),
        ({"max_p95_ms": 0.5, "min_accuracy": 0.9}, "accuracy retention of at least 0.9, P95 of at most 0.5 ms, by"),
        ({"max_ram_mib": 12.5}, "accuracy retention of at least 0.95, RAM of at most 12.5 MiB, by"),
        ({"accuracy": "recall", "max_usd_month": 3}, "recall of at least 0.95, at most $3.00 a month, by"),
    ],
)
def test_every_limit_that_was_asked_for_is_said(limits, said):
    decided = recommend(TABLE, replace(SLO, **limits))
    assert _asked(decided).startswith(f"Asked for: {said}")
    assert _asked(decided).endswith("the cheapest. Operating points considered: 7.")


def test_methods_are_compared_where_they_reach_the_accuracy():
    _, said, grid = _comparison(recommend(TABLE, SLO))
    assert " asked for. product: at the most accurate point that was measured. Speedups are over the" in said.text
    assert grid.rows == (
        ("no quantization", "", "1.800", "2.000", "1 by definition", "1.000", "1000.0"),
        ("scalar", "rescoring 2×", "0.450", "0.500", "4.00× (3.96–4.04)", "0.970", "400.0"),
        ("binary", "rescoring 4×", "1.980", "2.200", "0.91× (0.90–0.92)", "0.960", "400.0"),
        ("turbo", "no rescoring", "0.900", "1.000", "2.00× (1.98–2.02)", "0.960", "500.0"),
        ("product", "rescoring 2×", "0.900", "1.000", "2.00× (1.98–2.02)", "0.600", "100.0"),
    )
    assert grid.marked == {2}


def test_every_trial_is_listed_and_the_choice_is_marked():
    jobs = (job("scalar", *TABLE[:3]), job("binary", TABLE[0], *TABLE[3:]))
    _, trials, dominated = _everything(Record("run", "title", jobs), recommend(TABLE, SLO))
    assert [cells[:3] for cells in trials.rows] == [
        ("baseline (A/A)", "", ""),
        ("scalar", "off", "1×"),
        ("scalar", "on", "2×"),
        ("baseline (A/A)", "", ""),
        ("binary", "off", "1×"),
        ("binary", "on", "4×"),
        ("turbo", "off", "1×"),
        ("product", "on", "2×"),
    ]
    assert (trials.marked, trials.folded) == ({5}, "8 rows")
    assert dominated.rows == (("turbo, no rescoring", "scalar, rescoring 2×"),)
    assert dominated.folded == "1 dominated point, and by what"


def test_a_trial_that_two_jobs_have_measured_is_listed_twice_and_judged_once():
    tuned = row("scalar", 2, accuracy=0.97, p95=0.3, cost=4)
    jobs = (job("scalar", *TABLE[:3]), job("scalar", baseline(cost=10), tuned))
    decided = recommend([one for found in jobs for one in found.rows], SLO)
    _, trials, *_ = _everything(Record("run", "title", jobs), decided)
    assert [cells[4] for cells in trials.rows] == ["2.000", "0.400", "0.500", "2.000", "0.300"]
    assert trials.marked == {2}


FACTS = {
    "name": "words",
    "points": 262_144,
    "size": 64,
    "native_size": 64,
    "distance": "Cosine",
    "queries": 1_200,
    "m": 16,
    "ef_construct": 100,
    "digest": "abc",
}
BROUGHT = "not recorded: the dataset brought its vectors"
GENERATED = "none: the vectors were generated"


@pytest.mark.parametrize(
    ("facts", "config", "source", "size", "model"),
    [
        ({}, {}, "generated", "64 dimensions", GENERATED),
        ({}, {"dataset.path": "a.npy"}, "a.npy", "64 dimensions", BROUGHT),
        ({}, {"dataset.collection": "mine"}, "mine", "64 dimensions", BROUGHT),
        ({}, {"dataset.path": "a.npy", "dataset.model": "ada"}, "a.npy", "64 dimensions", "ada"),
        ({}, {"dataset.model": "ada", "embedding.model": "bge"}, "generated", "64 dimensions", "bge"),
        ({"native_size": 96}, {}, "generated", "64 dimensions, the first of 96, normalised again", GENERATED),
        ({"native_size": 96, "distance": "dot"}, {}, "generated", "64 dimensions, the first of 96", GENERATED),
        ({}, {"embedding.model": "bge"}, "generated", "64 dimensions", "bge"),
        ({}, {"embedding.function": "mine.py:encode"}, "generated", "64 dimensions", "mine.py:encode"),
    ],
)
def test_the_dataset_is_described(facts, config, source, size, model):
    one = job("scalar")
    grid = _dataset([replace(one, dataset=FACTS | facts, config=one.config | config)])
    assert grid.rows == (
        ("dataset", "words"),
        ("source", source),
        ("points", "262,144 (64.0 MiB as float32)"),
        ("embedding", size),
        ("model", model),
        ("distance", (FACTS | facts)["distance"]),
        ("queries", "1,200: one half chooses, the other confirms"),
        ("index", "HNSW, m 16, ef_construct 100"),
        ("content", "abc"),
    )


def test_every_index_that_was_built_is_told_once():
    built = [replace(job("scalar"), dataset=FACTS | {"m": m}) for m in (16, 32, 16)]
    assert _dataset(built).rows[-2] == ("index", "HNSW, m 16, ef_construct 100; m 32, ef_construct 100")


def test_a_report_has_all_its_parts_in_their_order():
    split = dict.fromkeys(("loss_hnsw", "loss_code_graph", "loss_codes", "gain_rescoring"), 0.01)
    rows = [*TABLE[:2], replace(TABLE[2], metrics=TABLE[2].metrics | split), *TABLE[3:]]
    checks = (Check("T08", "recall", "held"), Check("T02", "index", "warning"), Check("T02", "m", "held"))
    tags = {"qexp.findings": "3× is enough", "qexp.warnings": "small"}
    one = replace(job("scalar", *rows), dataset=FACTS, tags=tags, checks=checks)
    free = CapTrial("none", "no rescore", None, 1.0, 1.0, 1.2)
    record = Record("run", "title", (one,), cliff=Cliff(MIB, (free, replace(free, cap=MIB))))
    decided = recommend(rows, SLO)
    elements = story(record, decided, ["frontier", "oversampling", "latency", "ram", "cliff"])
    alts = {element.name: element.alt for element in elements if isinstance(element, Picture)}
    titles = [element.text if isinstance(element, Heading) else getattr(element, "name", "") for element in elements]
    assert " | ".join(filter(None, titles)) == (
        "frontier | At matched accuracy | Tuned and adaptive oversampling | oversampling | Domain and dataset | "
        "Methods compared | latency | Key questions | ram | When memory runs short | cliff | Key insights | Success "
        "criteria of Qdrant's course | Where recall is lost | Why to believe it | Every trial | To share | How it was "
        "measured"
    )
    assert {Bullets(("3× is enough.",)), Bullets(("Note: small.",))} < {
        one for one in elements if isinstance(one, Bullets)
    }
    (grid,) = [element for element in elements if isinstance(element, Grid) and element.folded == "3 checks"]
    assert grid.rows == (("T02", "held", "m"), ("T02", "warning", "index"), ("T08", "held", "recall"))
    assert alts["cliff"].endswith(" caps. baseline: holds under every cap, down to 1.0 MiB.")
    assert Bullets(("baseline: holds under every cap, down to 1.0 MiB.",)) in elements
    assert alts["ram"].endswith(
        ": no quantization 1000.0 MiB, scalar 400.0 MiB, binary 400.0 MiB, turbo 500.0 MiB, product 100.0 MiB."
    )
    points = ": no quantization 1.000 at 2.000 ms; scalar, no rescoring 0.900 at 0.400 ms; "
    assert alts["frontier"].startswith(f"Accuracy against P95 latency of every operating point{points}")
    assert alts["latency"].endswith(" and each method: P5, quartiles, median, P95.")
    tail = replace(rows[2], metrics=rows[2].metrics | {"latency_p99_ms": 0.6})
    assert _latency_alt(recommend([*rows[:2], tail, *rows[3:]], SLO)).endswith(", median, P95, P99.")
    elements = story(replace(record, failures=(("turbo", "it crashed"),)), decided, [])
    assert not [element for element in elements if isinstance(element, Picture)]
    assert Paragraph("Without figures, so not compared: turbo. The end of this report has the reasons.") in elements


def test_without_a_choice_it_is_said_what_is_nearest():
    first, *further = _decision(recommend(TABLE, replace(SLO, max_usd_month=0.1)))
    assert first == Verdict("Nothing that was measured keeps to the limits.")
    assert [one.text.partition(":")[0] for one in further] == ["Nearest", "To try"]


def test_where_it_comes_from_and_what_failed_is_said():
    jobs = [replace(job(name), tags={"qexp.reproduce": f"qexp {command}"}) for name, command in ("aa", "ba", "cb")]
    _, facts, commands = _provenance(Record("4711", "title", tuple(jobs), (("turbo", "it crashed"),)), jobs)
    assert facts.items[0] == "MLflow run 4711."
    assert facts.items[-1] == "No figures of job turbo: it crashed."
    assert commands.text == "qexp a\nqexp b"


def test_every_machine_that_measured_is_named_once():
    def measured(cpu: str) -> CollectionRecord:
        environment = {"cpu": cpu, "cpus": 2, "memory_gib": 4.0, "libraries": {"numpy": "2.4.6"}}
        return replace(job("scalar"), environment=environment)

    jobs = [measured("one"), measured("other"), measured("one"), job("unknown")]
    _, facts, _ = _provenance(Record("run", "title", tuple(jobs), ()), jobs)
    assert isinstance(facts, Bullets)
    assert facts.items[3:] == ("one, 2 cores, 4.0 GiB; numpy 2.4.6.", "other, 2 cores, 4.0 GiB; numpy 2.4.6.")
    for engine, told in (
        ("server-1.19.0", "Qdrant 1.19.0 on a server, searched from: one, 2"),
        ("edge-0.9.0", "one, 2"),
    ):
        assert replace(jobs[0], tags={"qexp.engine": engine}).machine.startswith(told)


def test_every_name_has_its_storage_where_there_are_several():
    def measured(storage: str, **costs: float) -> CollectionRecord:
        doubtful = row("binary", 2, second=0.8, cost=costs["cheap"], storage=storage)
        rows = (baseline(cost=10, storage=storage), row("scalar", 2, cost=costs["dear"], storage=storage), doubtful)
        return replace(job("scalar", *rows), dataset=FACTS)

    jobs = (measured("hot", cheap=5, dear=6), measured("on_disk", cheap=2, dear=3))
    decided = recommend([one for found in jobs for one in found.rows], SLO)
    elements = story(Record("run", "title", jobs), decided, [])
    said = [item if isinstance(item, str) else item[1] for one in elements for item in getattr(one, "items", ())]
    said += [line for one in elements if isinstance(one, Quote) for line in one.text.splitlines()]
    bare = [line for line in said if "scalar, rescoring" in line or "binary, rescoring" in line]
    assert bare == []
    assert "Best: scalar (on_disk), rescoring 2×." in said
