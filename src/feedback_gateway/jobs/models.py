"""What background work passes around."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from feedback_gateway.feedback.models import Analysis, FeedbackItem, Run

Held = Literal["run", "consumer", "everybody"]


@dataclass(frozen=True, slots=True)
class Work:
    """One run of a bundle, and the item that it is of."""

    run: Run
    item: FeedbackItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A run that is to be tried again, not before `seconds` have passed, and who else had better wait as long."""

    seconds: float
    problem: str
    held: Held = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """A run that trying again does not help."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run found."""

    prompt_version: int
    taxonomy_version: str | None
    model: str
    call_id: str
    result: Mapping[str, Any]
    by: str

    def analysis(self, run: Run, *, analysis_id: str, at: datetime) -> Analysis:
        """As it is stored."""
        return Analysis(
            analysis_id=analysis_id,
            run_id=run.run_id,
            item_id=run.item_id,
            task=run.task,
            prompt_version=self.prompt_version,
            taxonomy_version=self.taxonomy_version,
            model=self.model,
            call_id=self.call_id,
            result=self.result,
            by=self.by,
            at=at,
        )


Outcome = Found | Later | Never
