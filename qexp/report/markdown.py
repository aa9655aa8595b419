"""What a report consists of, as Markdown."""

import re
from collections.abc import Iterable, Sequence

from qexp.report.elements import Bullets, Element, Grid, Heading, Paragraph, Picture, Quote, Ticks, Tiles, Verdict


def table_markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells of the header may have several lines."""
    lines = [_line([*map(one_line, header)]), "|" + " --- |" * len(header)]
    return "\n".join([*lines, *map(_line, rows)])


def one_line(name: str) -> str:
    """Return a column's name, which may be folded between words or at a hyphen, in one line."""
    return " ".join(name.replace("-\n", "").split())


def literal(text: str) -> str:
    """Return text with what Markdown would take for markup escaped, `**…**` apart: it may be a name of the user's."""
    return re.sub(r"[\\`\[\]<|]|(?<!\*)\*(?!\*)|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def unescaped(text: str) -> str:
    """Return text that `literal` has escaped as it was."""
    return re.sub(r"\\([\\`\[\]<|*_])", r"\1", text)


def bullets(items: Iterable[str]) -> str:
    """Return a list of what is said, with names of the user's in it."""
    return "\n".join(f"- {literal(item)}" for item in items)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(literal, cells))} |"


def element_markdown(element: Element, suffix: str = "") -> str:
    """Return an element as Markdown; pictures lie in `plots/`, their names end with `suffix`."""
    match element:
        case Heading(text):
            return f"## {text}"
        case Paragraph(text):
            return literal(text)
        case Verdict(text):
            return f"**{literal(text)}**"
        case Bullets(items):
            return bullets(items)
        case Ticks(items):
            return "\n".join(f"- [{'x' if met else ' '}] {literal(text)}" for met, text in items)
        case Tiles(items):
            return "\n".join(
                f"- {literal(label)}: **{literal(value)}** ({literal(remark)})" for label, value, remark in items
            )
        case Grid(header, rows, marked):
            bold = [
                [f"**{cell}**" if number in marked and cell else cell for cell in row]
                for number, row in enumerate(rows)
            ]
            return table_markdown(header, bold)
        case Picture(name, alt):
            return f"![{literal(alt)}](plots/{name}{suffix}.png)"
        case Quote(text):
            return f"```\n{text}\n```"
