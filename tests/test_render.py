"""The report in a real browser, and its figures against MLflow's."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from qexp import history
from qexp.report import render
from qexp.report.canvas import DARK, LIGHT
from qexp.report.cliff import floors
from qexp.report.elements import Bullets, Grid, Heading, Paragraph, Picture, Quote, Ticks, Tiles, Verdict
from qexp.report.frontier import questions
from qexp.report.markdown import element_markdown
from qexp.report.recommend import recommend
from qexp.report.render import write_report
from qexp.report.table import cells
from qexp.results.footprint import CapTrial, Cliff

CHROMIUM = shutil.which("chromium")
BROWSER = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
]
SMALL = {"embedding_size": "32"}
PROBE = """<script>addEventListener("load", () => {
  const page = document.documentElement;
  parent.document.documentElement.dataset.found = JSON.stringify({
    width: innerWidth, needed: page.scrollWidth,
    plots: [...document.querySelectorAll("figure")].map(figure => {
      const drawn = [...figure.querySelectorAll("svg")].filter(one => one.clientWidth);
      const letter = getComputedStyle(drawn[0].querySelector("use").parentElement).fill;
      return [drawn.length, drawn[0].viewBox.baseVal.width * 4 / 3, drawn[0].clientWidth,
        figure.getAttribute("aria-label").length, letter];
    }),
    ink: getComputedStyle(document.body).color, page: getComputedStyle(document.body).backgroundColor,
    clipped: [...document.querySelectorAll(".scroll:not(details *)")]
      .filter(one => one.scrollWidth > one.clientWidth + 1).length,
    outside: performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:")),
  });
});</script></body>"""


@pytest.fixture(scope="module")
def report(swept, tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", swept.environment["MLFLOW_TRACKING_URI"])
        record = history.read("last")
        samples = {one.run_id: history.latencies(one) for one in record.collections}
    slo = replace(record.slo, min_accuracy=0.9)
    return write_report(tmp_path_factory.mktemp("report"), record, [recommend(record.rows, slo)], samples)


def probe(report: Path, folder: Path, width: int, dark: bool = False) -> dict:
    """Open the report in a frame of `width` pixels and return what the page says of itself."""
    framed = html.escape(report.read_text().replace("</body>", PROBE))
    page = folder / "probe.html"
    page.write_text(f'<!doctype html><iframe width="{width}" height="900" style="border:0" srcdoc="{framed}"></iframe>')
    done = subprocess.run(
        [
            CHROMIUM,
            *BROWSER,
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--window-size=1500,1000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, done.stderr
    return json.loads(html.unescape(found[1]))


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (.ci/run installs it)")
@pytest.mark.parametrize("width", [390, 1100, 1400])
def test_plots_are_drawn_and_nothing_sticks_out(report, tmp_path, width):
    found = probe(report, tmp_path, width)
    assert found["needed"] <= found["width"] == width
    assert len(found["plots"]) == 4
    assert width < 1400 or not found["clipped"]  # there is room for every column
    for number, natural, shown, described, _ in found["plots"]:
        assert number == 1
        assert natural > 100
        assert natural * 0.75 <= shown or shown > 0.85 * width  # not shrunk to where letters are unreadable
        assert described > 20
    assert found["outside"] == []


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (.ci/run installs it)")
def test_names_that_are_wider_than_a_phone_are_broken(report, tmp_path):
    long = tmp_path / "long.html"
    start = '<p class="verdict">Deploy '
    long.write_text(report.read_text().replace(start, f"{start}scalar (index.full_scan_threshold=10000), "))
    assert "full_scan_threshold" in long.read_text()
    assert probe(long, tmp_path, 360)["needed"] <= 360


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (.ci/run installs it)")
def test_dark_pages_are_dark(report, tmp_path):
    light, dark = probe(report, tmp_path, 800), probe(report, tmp_path, 800, dark=True)
    assert light["page"] == "rgb(255, 255, 255)"
    assert dark["page"] == "rgb(20, 23, 30)"
    for found, theme in ((light, LIGHT), (dark, DARK)):
        letters = {
            f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})" for colour in theme.colours
        }
        assert {letter for *_, letter in found["plots"]} <= letters


def test_figures_are_those_of_mlflow(report, recorded):
    text = report.read_text()
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text)
    shown = [[html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    for row in recorded.rows:
        assert cells(row) in shown


def test_it_is_one_small_file_that_needs_no_network(report):
    text = report.read_text()
    assert len(text) < 5_000_000
    assert not re.findall(r'(?:src|href|srcset)="(?!data:|#)', text)
    assert "http://" not in re.sub(r"data:[^\"]*", "", text)
    assert "https://" not in text


def test_plots_that_a_page_has_no_room_for_are_beside_it(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "ROOM", 1)
    decided = recommend(recorded.rows, recorded.slo)
    first, second = write_report(tmp_path, recorded, [decided, decided], {}).read_text().split("<hr>")
    assert "<figure" in first
    assert "<figure" not in second
    for path in re.findall(r'href="(plots/[^"]+)"', second):
        assert (tmp_path / path).read_bytes().startswith(b"\x89PNG")


def test_markdown_says_the_same(report):
    markdown = (report.parent / "report.md").read_text()
    page = html.unescape(re.sub("<[^>]+>", "", report.read_text()))
    for line in markdown.splitlines():
        if line.startswith("- ") and "**" not in line and "[" not in line:
            assert line[2:] in page
    plots = re.findall(r"\]\((plots/\S+\.png)\)", markdown)
    assert plots
    for name in plots:
        assert (report.parent / name).read_bytes().startswith(b"\x89PNG")


def test_every_plot_is_told_in_its_own_words(report):
    told = [
        html.unescape(label) for label in re.findall(r'<figure role="img" aria-label="([^"]*)"', report.read_text())
    ]
    begin = ("Accuracy against", "Accuracy over oversampling", "Latency of a search", "Predicted RAM by component")
    assert [label.startswith(words) for label, words in zip(told, begin, strict=True)] == [True] * 4


ELEMENTS = [
    (Heading("a < b"), "<h2>a &lt; b</h2>"),
    (Paragraph("**a** < b"), "<p><strong>a</strong> &lt; b</p>"),
    (Verdict("**a** & b"), '<p class="verdict"><strong>a</strong> &amp; b</p>'),
    (Bullets(("a", "<b>")), "<ul><li>a</li><li>&lt;b&gt;</li></ul>"),
    (
        Ticks(((True, "a"), (False, "<b>"))),
        '<ul class="ticks"><li class="met"><span role="img" aria-label="met">✓</span> a</li>'
        '<li class="missed"><span role="img" aria-label="not met">✗</span> &lt;b&gt;</li></ul>',
    ),
    (
        Tiles((("a", "1 <", "b"), ("c", "2", "d"))),
        '<div class="tiles"><div class="tile"><span>a</span><b>1 &lt;</b><small>b</small></div>'
        '<div class="tile"><span>c</span><b>2</b><small>d</small></div></div>',
    ),
    (Picture("ram", "what it shows"), "drawn"),
    (Quote("**a** < b"), "<pre>**a** &lt; b</pre>"),
]


@pytest.mark.parametrize(("element", "expected"), ELEMENTS)
def test_every_element_is_html(element, expected):
    assert render._html(element, {"ram": "drawn"}) == expected


@pytest.mark.parametrize(
    ("header", "head"),
    [(("x", "y"), '<tr><th scope=col >x</th><th scope=col class="number">y</th></tr>'), (("", ""), "")],
)
def test_a_table_marks_rows_and_sets_figures_to_the_right(header, head):
    table = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table>'
        f"{f'<thead>{head}</thead>' if head else ''}<tbody>"
        '<tr><td >a</td><td class="number">1.0</td></tr>'
        '<tr class=marked><td >&lt;b&gt;</td><td class="number">2×</td></tr></tbody></table></div>'
    )
    rows = (("a", "1.0"), ("<b>", "2×"))
    assert render._html(Grid(header, rows, frozenset({1})), {}) == table
    folded = f"<details><summary>2 &lt;rows&gt;</summary>{table}</details>"
    assert render._html(Grid(header, rows, frozenset({1}), folded="2 <rows>"), {}) == folded


def test_text_is_escaped(recorded, tmp_path):
    first = recorded.collections[0]
    hostile = replace(first, dataset=first.dataset | {"name": "<script>alert(1)</script>"})
    record = replace(recorded, collections=(hostile, *recorded.collections[1:]))
    page = write_report(tmp_path, record, [recommend(record.rows, record.slo)], {}).read_text()
    assert "<script>" not in page


def test_a_report_without_a_choice_and_without_latencies(recorded, tmp_path):
    slo = replace(recorded.slo, max_usd_month=1e-9)
    page = write_report(tmp_path, recorded, [recommend(recorded.rows, slo)], {})
    assert "Nothing that was measured keeps to the limits." in page.read_text()


def test_a_report_of_a_server_that_does_not_tell_the_size_of_codes(recorded, tmp_path):
    def bare(metrics):
        return {name: value for name, value in metrics.items() if name != "compression_ratio"}

    collections = tuple(
        replace(one, metrics=bare(one.metrics), rows=tuple(replace(row, metrics=bare(row.metrics)) for row in one.rows))
        for one in recorded.collections
    )
    record = replace(recorded, collections=collections)
    page = write_report(tmp_path, record, [recommend(record.rows, record.slo)], {}).read_text()
    assert "The RAM that searching wants goes from" in page
    assert "smaller than the vectors" not in page


def test_a_measured_cliff_is_drawn_and_told(recorded, tmp_path):
    mib = 2**20
    trials = [
        CapTrial("none", "no rescore", None, 1.0, 1.0, 1.2),
        CapTrial("none", "no rescore", 100 * mib, 1.0, 1.0, 1.2),
        CapTrial("none", "no rescore", 50 * mib),
        CapTrial("binary", "rescore 3×", None, 0.5, 0.5, 0.6),
        CapTrial("binary", "rescore 3×", 100 * mib, 0.5, 0.5, 0.6),
        CapTrial("binary", "rescore 3×", 50 * mib, 0.5, 0.5, 0.6),
    ]
    record = replace(recorded, cliff=Cliff(120 * mib, tuple(trials)))
    page = write_report(tmp_path, record, [recommend(record.rows, record.slo)], {})
    for line in floors(record.cliff):
        assert line in html.unescape(page.read_text())
    assert (tmp_path / "plots" / "cliff.png").stat().st_size > 10_000


def test_each_question_has_plots_of_its_own_collections(recorded, tmp_path, monkeypatch):
    small = [
        replace(one, run_id=f"{one.run_id}-32", rows=tuple(replace(row, params=row.params | SMALL) for row in one.rows))
        for one in recorded.collections
    ]
    both = replace(recorded, collections=(*recorded.collections, *small))
    decisions = [recommend(rows, both.slo) for rows in questions(both.rows)]
    drawn = []
    monkeypatch.setattr(render, "plots", lambda collections, *rest: drawn.append(collections) or {})
    page = write_report(tmp_path, both, decisions, {}).read_text()
    assert drawn == [list(recorded.collections), small]
    asked = [f"{rows[0].params['embedding_size']} dimensions" for rows in questions(both.rows)]
    assert re.findall(r'<li><a href="#(question-\d)">(.*?)</a>: (?:Deploy|Nothing)', page) == [
        (f"question-{number}", name) for number, name in enumerate(asked, 1)
    ]
    assert re.findall(r'<p class="question" id="question-\d">(.*?)</p>', page) == asked
    text = (tmp_path / "report.md").read_text()
    assert all(f"**{name}**" in text for name in asked)
    assert page.count("<h2>How it was measured</h2>") == text.count("## How it was measured") == 2
    title = "Which quantization for synthetic?"
    assert f"<h1>{title}</h1>" in page
    assert text.startswith(f"# {title}\n\n")


def test_a_name_is_no_markup_of_the_report(recorded, tmp_path, monkeypatch):
    first, *others = recorded.collections
    named = replace(first, dataset=first.dataset | {"name": "my_own *data*"})
    monkeypatch.setattr(render, "plots", lambda *rest: {})
    record = replace(recorded, collections=(named, *others))
    write_report(tmp_path, record, [recommend(record.rows, record.slo)], {})
    assert (tmp_path / "report.md").read_text().startswith("# Which quantization for my_own \\*data\\*?\n\n")


def test_only_bold_is_markup_of_what_is_said():
    said = "**Which?** my *own* `one`"
    text = "**Which?** my \\*own\\* \\`one\\`"
    assert element_markdown(Paragraph(said)) == text
    assert element_markdown(Bullets((said,))) == f"- {text}"
    assert element_markdown(Ticks(((False, said),))) == f"- [ ] {text}"
    assert element_markdown(Tiles((("<1>", "[2]", "a|b"),))) == "- \\<1>: **\\[2\\]** (a\\|b)"
    assert element_markdown(Verdict("a `b`")) == "**a \\`b\\`**"
    assert element_markdown(Picture("p", "a [b]"), "-2") == "![a \\[b\\]](plots/p-2.png)"
