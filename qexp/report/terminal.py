"""Tables for a terminal: where it is narrow they lack columns, and say which, but no figure is ever cut off."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED = 1000  # characters in a line of a file
GAP = 2  # characters between columns

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

    @property
    def title(self) -> str:
        """Its name in one line."""
        return " ".join(self.name.replace("-\n", "").split())


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
    shown, needed = _room(columns, rows, width, spare)
    gone = [column.title for number, column in enumerate(columns) if number not in shown]
    table = Table(
        title=title,
        title_style="bold",
        title_justify="left" if gone else "center",
        caption=f"Too narrow for {', '.join(gone)}." if gone else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, GAP - 1, 0, 0),
        pad_edge=False,
        width=needed if needed > width else None,
    )
    for column in (columns[number] for number in shown):
        table.add_column(
            column.name,
            justify="left" if column.left else "right",
            overflow="fold" if column.folds else "ellipsis",
            no_wrap=not column.folds,
        )
    for number, row in enumerate(rows):
        if number in starts:
            table.add_section()
        table.add_row(*(row[place] for place in shown))
    return table


def _room(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, spare: Sequence[int]
) -> tuple[list[int], int]:
    """Return the places of the columns that there is room for, and the characters that they need at least."""
    wide = {place: _width(column, [row[place] for row in rows]) for place, column in enumerate(columns)}
    for place in spare:
        if _needed(wide) <= width:
            break
        del wide[place]
    return list(wide), _needed(wide)


def _needed(wide: dict[int, int]) -> int:
    return sum(wide.values()) + GAP * (len(wide) - 1)


def _width(column: Column, cells: Sequence[Cell]) -> int:
    texts = [*column.name.splitlines(), *(cell.plain if isinstance(cell, Text) else cell for cell in cells)]
    widest = max(map(cell_len, texts))
    return min(widest, column.folds or widest)
