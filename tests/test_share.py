"""The text to share, from rows made by hand."""

from dataclasses import replace

from qexp.report.recommend import recommend
from qexp.report.share import to_share
from tests.tables import TABLE, baseline, job, row
from tests.test_recommend import SLO


def test_jobs_of_one_quantization_are_one_in_the_text_to_share():
    apart = [{"settings": f"index.m={m}"} for m in (8, 16)]
    rows = [one for told in apart for one in (baseline(**told), row("scalar", 2, accuracy=0.5, **told))]
    found = job("scalar", *rows)
    found.dataset["name"] = "words"
    text = to_share(found, recommend(rows, replace(SLO, max_ram_mib=10)))
    assert (
        text == "I measured 1 quantization of Qdrant on words (1,000 points, 64 dimensions): nothing kept to my limits."
    )
    bare = recommend([baseline()], replace(SLO, max_ram_mib=10))
    assert to_share(found, bare).startswith("I measured Qdrant without quantization on words (1,000 points, 64")


def test_the_text_to_share_has_the_result_and_its_limits():
    found = job("scalar", baseline(cost=10), row("scalar", 2, ram=100))
    found.dataset["name"] = "words"
    start = "I optimized search over words (1,000 points, 64 dimensions) with quantization on Qdrant.\nBest: "
    told = "scalar, rescoring 2×.\nResult: 2.00× faster in mean latency (1.98–2.02) against no quantization; accuracy "
    told += (
        "retention 0.970 (0.970–0.970) on the half that had to confirm it; 1000.0 MiB of RAM became 100.0 (predicted"
    )
    assert to_share(found, recommend(found.rows, SLO)) == f"{start}{told}).\nMeasured with qexp."
    found.rows[1].metrics["ram_fallen_mib"] = 600.0
    capped = f"{told}; it fell off with a memory cap of 600.0 MiB)"
    assert to_share(found, recommend(found.rows, SLO)) == f"{start}{capped}.\nMeasured with qexp."
    bare = recommend(found.rows, replace(SLO, min_accuracy=0.98))
    measured = "I measured 1 quantization of Qdrant on words (1,000 points, 64 dimensions).\nBest: no quantization."
    assert to_share(found, bare) == f"{measured}\nMeasured with qexp."
    nothing = recommend([*found.rows, row("binary", 2)], replace(SLO, max_usd_month=0.5))
    assert to_share(found, nothing).startswith("I measured 2 quantizations of Qdrant on words (1,000 points,")
    widest = (
        "\nSurprise: accuracy retention of binary went from 0.500 to 0.960 by rescoring 4× alone.\nMeasured with qexp."
    )
    assert to_share(found, recommend(TABLE, SLO)).endswith(widest)
    assert to_share(found, recommend([baseline()], SLO)).endswith("\nMeasured with qexp.")
    untold = baseline()
    del untold.metrics["accuracy_retention_a_low"]  # of which nothing is known to compare with
    alone = recommend([untold, found.rows[1]], SLO)
    assert to_share(found, alone) == f"{start}scalar, rescoring 2×.\nMeasured with qexp."


def test_only_a_gap_that_matters_is_a_surprise():
    def text(accuracy):
        found = job("scalar", baseline(), row("scalar", accuracy=0.96), row("scalar", 2, accuracy=accuracy))
        found.dataset["name"] = "words"
        return to_share(found, recommend(found.rows, SLO))

    assert "Surprise: accuracy retention of scalar went from 0.960 to 0.970 by rescoring 2× alone." in text(0.97)
    assert "Surprise" not in text(0.9604)
    found = job("scalar", baseline(), row("scalar"), row("binary"))
    found.dataset["name"] = "words"
    assert "Surprise" not in to_share(found, recommend(found.rows, SLO))  # neither went anywhere
