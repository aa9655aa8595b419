"""The report as one HTML file that needs nothing else, and as Markdown."""

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from qexp.report.canvas import DARK, LIGHT, NARROW, WIDE, Frame, png, svg
from qexp.report.elements import Bullets, Element, Grid, Heading, Paragraph, Picture, Quote, Ticks, Tiles, Verdict
from qexp.report.frontier import QUESTION
from qexp.report.inline import Drawings, colours
from qexp.report.markdown import element_markdown, literal
from qexp.report.plots import Samples, plots
from qexp.report.recommend import Recommendation
from qexp.report.record import Record
from qexp.report.settings import apart
from qexp.report.story import story
from qexp.report.style import STYLE

ROOM = 4_000_000  # characters of a page with plots; those of further questions are beside it


def write_report(
    folder: Path, record: Record, decisions: Sequence[Recommendation], samples: Mapping[str, Samples]
) -> Path:
    """Write report.html, report.md and plots/*.png into `folder`; return the HTML file.

    `samples` are raw latencies in ms by collection run and visit.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    pages: list[str] = []
    texts, contents, drawings = [], [], Drawings()
    for number, (asked, decided) in enumerate(zip(_asked(decisions), decisions, strict=True), 1):
        drawn = plots(record.asked_by(decided), decided, samples, record.cliff)
        elements = story(record, decided, drawn)
        suffix = f"-{number}" if len(decisions) > 1 else ""
        pictures = {}
        for name, draw in drawn.items():
            path, wide = f"plots/{name}{suffix}.png", draw(Frame(LIGHT, WIDE))
            pictures[name] = f'<p><a href="{path}">{path}</a></p>'
            if sum(map(len, pages)) < ROOM:
                alt = next(element.alt for element in elements if isinstance(element, Picture) and element.name == name)
                pictures[name] = drawings.figure(svg(draw(Frame(LIGHT, NARROW))), svg(wide), alt)
                wide.set_layout_engine("none")  # everything has its place
            (folder / path).write_bytes(png(wide))
        page = "\n".join(_html(element, pictures) for element in elements)
        text = "\n\n".join(element_markdown(element, suffix) for element in elements)
        if len(decisions) > 1:
            place, name = f"question-{number}", html.escape(asked)
            said = next(_inline(element.text) for element in elements if isinstance(element, Verdict))
            contents.append(f'<li><a href="#{place}">{name}</a>: {said}</li>')
            page, text = f'<p class="question" id="{place}">{name}</p>\n{page}', f"**{literal(asked)}**\n\n{text}"
        pages.append(page)
        texts.append(text)
    title = f"Which quantization for {record.collections[0].dataset['name']}?"
    (folder / "report.md").write_text(f"# {literal(title)}\n\n" + "\n\n---\n\n".join(texts) + "\n", encoding="utf-8")
    listed = f"<ul>{''.join(contents)}</ul>\n" if contents else ""
    written = folder / "report.html"
    written.write_text(_page(title, drawings.glyphs() + listed + "<hr>".join(pages)), encoding="utf-8")
    return written


def _asked(decisions: Sequence[Recommendation]) -> list[str]:
    """Return what sets each question apart from the others of a report."""
    params = [decided.considered[0].row.params if decided.considered else {} for decided in decisions]
    differing = [name for name in QUESTION if len({one.get(name) for one in params}) > 1]
    return [apart(one, differing) or f"question {number}" for number, one in enumerate(params, 1)]


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{STYLE}
:root {{ {colours(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {colours(DARK)} }} }}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def _html(element: Element, pictures: Mapping[str, str]) -> str:
    match element:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Verdict(text):
            return f'<p class="verdict">{_inline(text)}</p>'
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Ticks(items):
            marks = {True: ("met", "✓", "met"), False: ("missed", "✗", "not met")}
            lines = [(marks[met], text) for met, text in items]
            return (
                '<ul class="ticks">'
                + "".join(
                    f'<li class="{kind}"><span role="img" aria-label="{said}">{mark}</span> {_inline(text)}</li>'
                    for (kind, mark, said), text in lines
                )
                + "</ul>"
            )
        case Tiles(items):
            cards = [
                f'<div class="tile"><span>{_inline(label)}</span><b>{_inline(value)}</b>'
                f"<small>{_inline(remark)}</small></div>"
                for label, value, remark in items
            ]
            return f'<div class="tiles">{"".join(cards)}</div>'
        case Grid():
            return _table(element)
        case Picture(name, _):
            return pictures[name]
        case Quote(text):
            return f"<pre>{html.escape(text)}</pre>"


def _inline(text: str) -> str:
    """Escape text; `**…**` is the only markup."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text))


def _table(grid: Grid) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        kinds = ['class="number"' if is_number else "" for is_number in grid.figures]
        end = tag.partition(" ")[0]
        return "".join(f"<{tag} {kind}>{_inline(text)}</{end}>" for kind, text in zip(kinds, row, strict=True))

    head = f"<thead><tr>{cells(grid.header, 'th scope=col')}</tr></thead>" if any(grid.header) else ""
    body = "".join(
        f"<tr{' class=marked' if number in grid.marked else ''}>{cells(row, 'td')}</tr>"
        for number, row in enumerate(grid.rows)
    )
    region = '<div class="scroll" tabindex="0" role="region" aria-label="table">'
    table = f"{region}<table>{head}<tbody>{body}</tbody></table></div>"
    return f"<details><summary>{html.escape(grid.folded)}</summary>{table}</details>" if grid.folded else table
