"""How results are printed."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH = 118


def console() -> Console:
    """Standard output, as wide as the tables are wherever it goes."""
    return Console(width=WIDTH, highlight=False)


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """A table whose first column holds words and whose others hold numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        made.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def number(value: float) -> str:
    """`value` with about three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratio(value: float, base: float) -> str:
    """How many times `base` `value` is."""
    return f"{value / base:.2f}x"
