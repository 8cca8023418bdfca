"""What a person reads: text made harmless for a terminal, lines of columns, and complaints of one line."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

ELLIPSIS = "…"
PLAIN = 80
LEAST_CELLS = 4
GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its width in terminal cells; a negative one puts the text at its right end."""

    name: str
    width: int


def printable(text: str) -> str:
    """One line without control characters, escape sequences or changes of direction."""
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells, cut with an ellipsis; wide characters count twice."""
    from rich.cells import cell_len, set_cell_size

    right, width = width < 0, abs(width)
    text = printable(text)
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ELLIPSIS
    return " " * (width - length) + text if right else text + " " * (width - length)


def format_line(columns: Sequence[Column], cells: Sequence[str]) -> str:
    """Cells under their columns, two spaces apart."""
    fitted = [fit(cell, column.width) for column, cell in zip(columns, cells, strict=True)]
    return "  ".join(fitted).rstrip()


def header_lines(columns: Sequence[Column]) -> str:
    """The columns' names and a rule under each."""
    return (
        format_line(columns, [column.name for column in columns])
        + "\n"
        + "  ".join("─" * abs(column.width) for column in columns)
    )


def format_table(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), width: int | None = None
) -> str:
    """A whole table, each column as wide as its widest cell; `right` names columns set flush right.

    The widest of the other columns are cut until a line takes at most `width` cells.
    """
    from rich.cells import cell_len

    shown = [[printable(cell) for cell in row] for row in rows]
    columns = []
    for index, name in enumerate(names):
        widest = max([cell_len(name), *(cell_len(row[index]) for row in shown)])
        columns.append(Column(name, -widest if name in right else widest))
    if width is not None:
        widths = narrow([column.width for column in columns], most=width + GAP, least=LEAST_CELLS)
        columns = [Column(column.name, cells) for column, cells in zip(columns, widths, strict=True)]
    return "\n".join([header_lines(columns), *(format_line(columns, row) for row in shown)])


def narrow(widths: Sequence[int], *, most: int, least: int) -> list[int]:
    """Widths of columns, the widest cut cell by cell until they take `most` with a gap each, or have `least`.

    A negative width is not cut.
    """
    found = list(widths)
    while sum(abs(width) + GAP for width in found) > most:
        widest = max(range(len(found)), key=found.__getitem__)
        if found[widest] <= least:
            break
        found[widest] -= 1
    return found


def line_width() -> int | None:
    """Cells of the terminal's line, None where the output goes somewhere that has no width."""
    return terminal_width() if sys.stdout.isatty() else None


def terminal_width() -> int:
    """Cells of a line: the terminal's, or 80 where there is none."""
    from shutil import get_terminal_size

    return get_terminal_size((PLAIN, 24)).columns if sys.stdout.isatty() else PLAIN


def complain(message: str, *, code: int) -> int:
    """Say `message` on standard error in one line; returns `code`."""
    sys.stderr.write(f"feedback-gateway: {printable(message)}\n")
    return code
