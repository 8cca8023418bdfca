"""Two runs over the same rows: which rows changed, and whether one is better by more than chance. Runs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from feedback_gateway.evaluation.datasets import Labelled
from feedback_gateway.evaluation.figures import predicted
from feedback_gateway.evaluation.intervals import mcnemar
from feedback_gateway.evaluation.runner import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row that was answered otherwise; `number` counts the measured rows from 1."""

    number: int
    row: Labelled
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """Whether it is for the better; a wrong answer for another wrong one is neither."""
        if self.after == self.row.label:
            return "improved"
        return "worsened" if self.before == self.row.label else "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs from the baseline: rows and, by McNemar's exact paired test, how likely that split is by chance."""

    rows: int
    changes: Sequence[Change]
    improved: int
    worsened: int
    p_value: float


def compare(baseline: Run, run: Run) -> Comparison:
    """How `run` differs from `baseline`. Raises ValueError unless both are over the same rows."""
    if [row.text for row in baseline.rows] != [row.text for row in run.rows]:
        raise ValueError("only runs over the same rows can be compared")
    answered = zip(run.rows, predicted(baseline), predicted(run), strict=True)
    changes = [
        Change(number=number, row=row, before=before, after=after)
        for number, (row, before, after) in enumerate(answered, start=1)
        if before != after
    ]
    improved = sum(change.kind == "improved" for change in changes)
    worsened = sum(change.kind == "worsened" for change in changes)
    return Comparison(
        rows=len(run.rows),
        changes=changes,
        improved=improved,
        worsened=worsened,
        p_value=mcnemar(worsened, improved),
    )
