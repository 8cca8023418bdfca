"""Counts rows, failures and cost of a run, and shows them while it lasts where a person is looking."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from feedback_gateway.calls.models import Receipt
from feedback_gateway.cli.terminal import ELLIPSIS, printable

if TYPE_CHECKING:
    from rich.progress import Progress

MOST_REASONS = 5
LONGEST_REASON = 240
PLACE = re.compile(r"(?<=: )line \d+: ")
FIGURE = re.compile(r"\d[\w.:-]*")


@dataclass(slots=True)
class Tally:
    """Rows answered or failed, what is known of their cost in USD, and how many rows have no known cost.

    `kept` of the rows were there before. `reasons` counts failures that differ in figures at most, by the words that
    they share; `examples` has the first of each.
    """

    rows: int = 0
    kept: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """The rows that have no answer."""
        return self.reasons.total()

    def fail(self, reason: str) -> None:
        """Note why a row has no answer."""
        shown = PLACE.sub("", printable(reason))
        alike = FIGURE.sub("0", shown)
        self.reasons[alike] += 1
        self.examples.setdefault(alike, shown)

    def add(self, receipt: Receipt | None) -> None:
        """Count one row."""
        self.rows += 1
        if receipt is None:
            return
        if receipt.cost_usd is None:
            self.unpriced += 1
        else:
            self.cost_usd += receipt.cost_usd

    def cost(self) -> str:
        """The cost for a person to read, exact; says so where it is not all."""
        from feedback_gateway.ledger.amounts import format_usd

        known = f"{format_usd(self.cost_usd)} USD"
        return f"{known} and {self.unpriced} rows of unknown price" if self.unpriced else known

    def summary(self) -> str:
        """What is said after a run: a line, and one for each of the commonest reasons of failures."""
        lines = [f"{self.rows} rows, {self.failed} failed, cost {self.cost()}"]
        if self.rows == self.kept > 0:
            lines = [f"0 rows to do; {self.kept} are there already, {self.failed} of them failed"]
        for alike, count in self.reasons.most_common(MOST_REASONS):
            shown = self.examples[alike]
            cut = shown if len(shown) <= LONGEST_REASON else shown[:LONGEST_REASON] + ELLIPSIS
            lines.append(f"  {rows_of(count)}: {cut}")
        if len(self.reasons) > MOST_REASONS:
            rest = self.reasons.most_common()[MOST_REASONS:]
            lines.append(f"  {rows_of(sum(count for _, count in rest))}: {len(rest)} other reasons")
        return "\n".join(lines)


def rows_of(count: int) -> str:
    """A number of rows."""
    return f"{count} row" if count == 1 else f"{count} rows"


class Display(Protocol):
    """Somewhere to show how far a run is."""

    def show(self, tally: Tally, *, position: int) -> None:
        """Bring the display up to date; `position` is in bytes of the input."""
        ...


class NoDisplay:
    """Nobody is looking."""

    def show(self, tally: Tally, *, position: int) -> None:
        """Show nothing."""


@contextmanager
def display(size: int | None) -> Iterator[Display]:
    """A progress bar on standard error where that is a terminal; `size` is the input's bytes, None if unknown."""
    if not sys.stderr.isatty():
        yield NoDisplay()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    end = TaskProgressColumn() if size else SpinnerColumn()
    bar = Progress(
        BarColumn(20),
        end,
        TextColumn("{task.fields[rows]} rows  {task.fields[rate]:.0f}/s  {task.fields[cost]}", markup=False),
        TextColumn("{task.fields[failed]} failed", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield Bar(bar, size)


class Bar:
    """A progress bar of Rich."""

    def __init__(self, bar: "Progress", size: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task("rows", total=size, rows=0, rate=0.0, cost="0 USD", failed=0)
        self._before: int | None = None

    def show(self, tally: Tally, *, position: int) -> None:
        """Move the bar and its figures."""
        if self._before is None:
            self._before = tally.rows - 1  # rows of an earlier run say nothing of this one's speed
        elapsed = self._bar.tasks[0].elapsed or 1e-9
        self._bar.update(
            self._task,
            completed=position,
            rows=tally.rows,
            rate=(tally.rows - self._before) / elapsed,
            cost=tally.cost(),
            failed=tally.failed,
        )
