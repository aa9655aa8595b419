import io

from rich.console import Console

from qexp.report.conditions import COLD, SPARE
from qexp.report.elements import Grid
from qexp.report.table import grid_table, markdown, rich_table, speedup_text
from qexp.results import Row
from tests.tables import baseline, row

PARAMS = {
    "dataset": "wordnet",
    "quantization": "binary",
    "rescore": "true",
    "oversampling": "3",
    "storage": "on_disk",
    "hnsw_ef": "default",
    "limit": "10",
}
METRICS = {
    "latency_mean_ms": 0.1234,
    "latency_p95_ms": 0.2,
    "speedup_mean": 2.5,
    "speedup_mean_low": 2.25,
    "speedup_mean_high": 2.75,
    "accuracy_retention": 0.9876,
    "recall": 0.9,
    "compression_ratio": 32.0,
    "ram_estimated_mib": 4.84,
    "savings_usd_month": 0.297,
}


def test_what_a_name_has_is_no_markup_of_markdown() -> None:
    lines = markdown([Row(PARAMS | {"quantization": "a|b *c* <i>_d_ [e](f)`g"}, METRICS)], "h *i*").splitlines()
    assert lines[0] == "**h \\*i\\***"
    assert lines[4].startswith("| a\\|b \\*c\\* \\<i>\\_d\\_ \\[e\\](f)\\`g | on | 3× | 0.123 |")


def test_a_row_as_markdown() -> None:
    lines = markdown([Row(PARAMS, METRICS)], "title").splitlines()
    assert lines[0] == "**title**"
    assert lines[2].startswith("| quantization | rescore | oversampling | mean ms | P95 ms | speedup (95 % interval)")
    assert "predicted for the points measured;" in lines[-1]
    assert lines[-1].endswith("with cost.target_points those of that many points.")
    assert lines[4] == "| binary | on | 3× | 0.123 | 0.200 | 2.50× (2.25–2.75) | 0.988 | 0.900 | 32.0× | 4.8 | 0.30 |"


def test_every_column_has_its_own_figure() -> None:
    noisy, plain = baseline(), row("pq")
    noisy.metrics.update(speedup_mean=1.2, speedup_mean_low=1.1, speedup_mean_high=1.3)
    plain.metrics.update(ndcg=0.5, mrr=0.25)
    failed = {"dataset": "words", "quantization": "turbo", "role": "failed", "run": "turbo-run", "error": "no *room*"}
    _, _, header, _, *lines = markdown([noisy, plain, Row(failed, {})], "title").splitlines()
    assert header == (
        "| quantization | rescore | oversampling | mean ms | P95 ms | speedup (95 % interval) | accuracy retention | "
        "recall | nDCG | MRR | codes smaller | RAM MiB | saves USD/month |"
    )
    assert lines[:5] == [
        "| baseline (A/A) |  |  | 1.800 | 2.000 | 1.20× (1.10–1.30) noisy |  | 1.000 |  |  |  | 1000.0 |  |",
        "| pq | off | 1× | 0.900 | 1.000 | 2.00× (1.98–2.02) | 0.970 | 0.970 | 0.500 | 0.250 | 4.0× | 100.0 | 9.00 |",
        "| turbo failed |  |  |  |  |  |  |  |  |  |  |  |  |",
        "",
        "- turbo-run failed: no \\*room\\*",
    ]


def test_only_what_is_measurably_better_is_green() -> None:
    same, slow = row("scalar", p95=2.0), row("scalar", 2, p95=4.0, accuracy=0.94)
    same.metrics["accuracy_retention"] = 0.95
    rows = [baseline(), same, slow, row("binary"), Row({"quantization": "x", "role": "failed"}, {})]
    table = rich_table(rows, "title", 200)
    styles = {str(column.header): [str(cell.style) for cell in column.cells] for column in table.columns}
    speedups, retentions = (next(styles[name] for name in styles if name.startswith(start)) for start in ("sp", "acc"))
    assert speedups == ["dim", "", "red", "green", "red"]
    assert retentions == ["dim", "green", "", "green", "red"]
    assert [line.end_section for line in table.rows] == [True, False, True, True, False]


def test_what_is_unknown_is_empty() -> None:
    lines = markdown([Row({"quantization": "binary"}, {"latency_mean_ms": 1.0})], "title").splitlines()
    assert lines[4] == "| binary |  |  | 1.000 |  |  |  |  |  |  |  |"


def test_an_interval_that_contains_1_is_marked() -> None:
    assert speedup_text(METRICS) == "2.50× (2.25–2.75)"
    assert speedup_text(METRICS | {"speedup_mean_low": 0.99}).endswith(" ≈")
    assert speedup_text({}) == ""


def test_a_parameter_in_which_rows_differ_gets_a_column() -> None:
    rows = [Row(PARAMS | {"hnsw_ef": ef}, METRICS) for ef in ("64", "128")]
    assert "| hnsw ef | quantization |" in markdown(rows, "title")
    console = Console(width=200)
    with console.capture() as capture:
        console.print(rich_table(rows, "title", 200))
    lines = capture.get().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["hnsw", "ef", "─" * len(lines[3]), "64", "128"]


def test_rows_that_may_be_compared_are_together() -> None:
    jobs = [(method, size) for method in ("scalar", "binary") for size in ("64", "128")]
    rows = [one for method, size in jobs for one in (baseline(embedding_size=size), row(method, embedding_size=size))]
    shown = [
        line.split("|")[1:3] for line in markdown(rows, "words").splitlines() if line.startswith(("| 64", "| 128"))
    ]
    assert [[cell.strip() for cell in cells] for cells in shown] == [
        [size, method] for size in ("64", "128") for name in ("scalar", "binary") for method in ("baseline (A/A)", name)
    ]


def test_the_servers_time_has_a_column_where_any_row_has_it() -> None:
    assert "server" not in markdown([Row(PARAMS, METRICS)], "title")
    rows = [Row(PARAMS, METRICS), Row(PARAMS, METRICS | {"server_latency_mean_ms": 0.05})]
    lines = markdown(rows, "title").splitlines()
    assert "| mean ms | server ms | P95 ms |" in lines[2]
    assert "| 0.123 |  | 0.200 |" in lines[4]
    assert "| 0.123 | 0.050 | 0.200 |" in lines[5]
    console = Console(width=200)
    with console.capture() as capture:
        console.print(rich_table(rows, "title", 200))
    assert "server" in capture.get()


def test_a_report_table_fits_a_terminal_and_says_what_it_lacks() -> None:
    row = ("scalar", "rescoring 2×", "0.361", "1.234", "3.17× (3.02–3.32)", "12.345", "15.23")
    grid = Grid(COLD, (row, ("binary", "baseline", *row[2:])))

    def printed(width: int) -> list[str]:
        out = io.StringIO()
        Console(width=width, file=out).print(grid_table(grid, width, SPARE), crop=False)
        return out.getvalue().splitlines()

    assert [line.split() for line in printed(100)][3:] == [
        " ".join(row).split(),
        " ".join(("binary", "baseline", *row[2:])).split(),
    ]
    narrow = printed(60)
    assert max(map(len, narrow)) <= 60
    assert narrow[-1].rstrip() == "Too narrow for first query ms, faults a query."
    assert "3.17× (3.02–3.32)" in narrow[3]
