"""Runs that nobody made: rows with answers as they might have come back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from feedback_gateway.calls.models import Receipt
from feedback_gateway.errors import InvalidModelOutput, ProviderUnavailable
from feedback_gateway.evaluation.datasets import Dataset, Labelled
from feedback_gateway.evaluation.runner import Run, Subject
from feedback_gateway.tasks.models import Answer, Failure

Said = dict[str, Any] | None


def answered(result: dict[str, Any], *, claim: float | None = None, deployment: str = "openai/scripted") -> Answer:
    """A categorize answer that cost 0.01 USD."""
    return Answer(
        call_id="c",
        task="categorize",
        prompt_version=1,
        model="default",
        deployment=deployment,
        id=None,
        result=result,
        cached=False,
        latency_ms=10.0,
        receipt=Receipt(input_tokens=10, cached_input_tokens=0, output_tokens=2, cost_usd=Decimal("0.01")),
        claim=claim,
        taxonomy_version="000000000000",
    )


def failed(*, invalid: bool = True) -> Failure:
    """A row without an answer."""
    return Failure(id=None, error=InvalidModelOutput("no valid output") if invalid else ProviderUnavailable("down"))


def run_of(rows: Sequence[tuple[str, str]], outcomes: Sequence[Answer | Failure], *, version: int = 1) -> Run:
    """Rows of text and true label with what came back."""
    dataset = Dataset(
        name="rows", task="categorize", rows=[Labelled(text, label) for text, label in rows], answer=("category",)
    )
    return Run(dataset=dataset, subject=Subject(version=version), outcomes=outcomes, seconds=1.5)


def said(*labels: str, version: int = 1) -> Run:
    """Rows that are all truly `a`, answered with `labels`."""
    rows = [(f"text {number}", "a") for number in range(len(labels))]
    return run_of(rows, [answered({"category": label}) for label in labels], version=version)
