"""Tables for a terminal: where it is narrow they lack columns, and say which, but no figure is ever cut off."""

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qexp.report.markdown import one_line

UNLIMITED = 1000  # characters in a line of a file
GAP = 2  # characters between columns
WORDS = 14  # characters that suffice for a column of words
LEAST = 11  # characters that any cell may be folded to

Cell = str | Text


def console() -> Console:
    """Return what prints to standard output; in a file, lines are as long as they must be."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED, highlight=False)


@dataclass(frozen=True)
class Column:
    """A column of figures; `left` for words. From `folds` characters on a cell may go on in the next line."""

    name: str
    left: bool = False
    folds: int | None = None


def fitted(
    title: str | None,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    width: int,
    spare: Sequence[int] = (),
    starts: Collection[int] = (),
) -> Table:
    """Return a table that is at most `width` characters wide, and says what it lacks for that; print it uncropped.

    `spare` are the places of columns that may go, the first of them first; `starts` are the rows that begin a section.
    Where that is not enough the table is wider.
    """
    shown, least = _room(columns, rows, width, spare)
    gone = [one_line(column.name) for number, column in enumerate(columns) if number not in shown]
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left" if gone else "center",
        caption=f"Too narrow for {', '.join(gone)}." if gone else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, GAP - 1, 0, 0),
        pad_edge=False,
        width=least if least > width else None,
    )
    for column in (columns[number] for number in shown):
        table.add_column(
            Text(column.name),
            justify="left" if column.left else "right",
            overflow="fold" if column.folds else "ellipsis",
            no_wrap=not column.folds,
        )
    for number, row in enumerate(rows):
        if number in starts:
            table.add_section()
        table.add_row(*(_text(row[place]) for place in shown))
    return table


def _room(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, spare: Sequence[int]
) -> tuple[list[int], int]:
    """Return the places of the columns that there is room for, and the characters that they cannot do without."""
    wide = {place: _width(column, [row[place] for row in rows]) for place, column in enumerate(columns)}
    for place in spare:
        if _needed(wide.values()) <= width:
            break
        del wide[place]
    return list(wide), _needed(min(own, LEAST) if columns[place].folds else own for place, own in wide.items())


def _needed(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + GAP * (len(every) - 1)


def _width(column: Column, cells: Sequence[Cell]) -> int:
    widest = max(map(cell_len, (*column.name.splitlines(), *(_text(cell).plain for cell in cells))))
    return min(widest, column.folds or widest)


def _text(cell: Cell) -> Text:
    """Return the cell as it is, with nothing in it read as markup."""
    return Text(cell.replace("\t", " ")) if isinstance(cell, str) else cell
