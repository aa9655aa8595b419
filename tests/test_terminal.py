"""Tables whose figures are whole, however narrow the terminal is."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from qexp.report import cliff, memory, table
from qexp.report.markdown import one_line
from qexp.report.terminal import Column, fitted

COLUMNS = [Column("name", left=True), Column("over-\nsampling"), Column("mean\nms"), Column("P95\nms")]
ROWS = [["scalar", "2×", "0.154", Text("0.193", style="dim")], ["binary", "10×", "0.124", Text("0.156")]]


def printed(width: int, columns: list[Column] = COLUMNS, rows: list[list[str]] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(fitted(None, columns, rows or ROWS, width, spare=(1, 3), starts=(1,)), crop=False)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_wide_terminal_has_every_column_and_a_line_between_sections() -> None:
    assert printed(80) == [
        "           over-   mean    P95",
        "name    sampling     ms     ms",
        "──────────────────────────────",
        "scalar        2×  0.154  0.193",
        "",
        "binary       10×  0.124  0.156",
    ]
    assert printed(30) == printed(80)


def test_a_narrow_one_lacks_the_spare_columns_in_their_order_and_says_so() -> None:
    lines = printed(29)
    assert lines[3:6] == ["scalar  0.154  0.193", "", "binary  0.124  0.156"]
    assert " ".join(lines[6:]) == "Too narrow for oversampling."
    lines = printed(19)
    assert lines[3:6] == ["scalar  0.154", "", "binary  0.124"]
    assert " ".join(lines[6:]) == "Too narrow for oversampling, P95 ms."


def test_words_may_go_on_in_the_next_line() -> None:
    columns = [Column("settings", left=True, folds=8), Column("n"), Column("mean\nms"), Column("m")]
    lines = printed(15, columns, [["index.m=16", "1", "0.154", "2"]])
    assert lines[3:5] == ["index.m=  0.154", "16"]
    assert " ".join(lines[5:]) == "Too narrow for n, m."


def test_nothing_in_it_is_read_as_markup() -> None:
    lines = printed(
        80, [Column("[b]name"), Column("n"), Column("m"), Column("o")], [["my[large] [/x] :rocket:", "1", "2", "3"]]
    )
    assert lines[0].startswith("                [b]name")
    assert lines[2].startswith("my[large] [/x] :rocket:")
    console = Console(file=io.StringIO(), width=80)
    console.print(fitted("[/x] title", COLUMNS, ROWS, 80))
    assert isinstance(console.file, io.StringIO)
    assert "[/x] title" in console.file.getvalue()


def test_tables_have_no_two_columns_of_one_name() -> None:
    for names in (memory.COLUMNS, memory.BILL_COLUMNS, cliff.COLUMNS, table.COLUMNS):
        assert len({one_line(name) for name in names}) == len(names)


@given(
    st.integers(1, 120),
    st.lists(st.tuples(*[st.floats(0, 1e6).map("{:.3f}".format)] * 4), min_size=1, max_size=5),
)
def test_no_figure_is_ever_cut_off(width: int, rows: list[tuple[str, ...]]) -> None:
    lines = printed(width, COLUMNS, [list(row) for row in rows])
    text = "\n".join(lines)
    gone = text.partition("Too narrow")[2]
    assert "…" not in text
    for name, place in (("name", 0), ("mean", 2)):
        assert name not in gone
        assert all(row[place] in text for row in rows)
