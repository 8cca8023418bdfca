"""Runs a task over labelled rows through the ordinary services, so that what is measured is what users get."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from feedback_gateway.evaluation.datasets import Dataset, Labelled
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: an alias and a prompt version, None for the configured ones."""

    model: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A set and what came back for each of its rows, in their order; `seconds` is the time for all of them."""

    dataset: Dataset
    subject: Subject
    outcomes: Sequence[Answer | Failure]
    seconds: float

    @property
    def name(self) -> str:
        """Who answered: prompt version and deployments."""
        answers = [outcome for outcome in self.outcomes if isinstance(outcome, Answer)]
        version = next((str(answer.prompt_version) for answer in answers), str(self.subject.version or "unknown"))
        deployments = ", ".join(sorted({answer.deployment for answer in answers})) or self.subject.model or "nobody"
        return f"version {version}, {deployments}"

    @property
    def rows(self) -> Sequence[Labelled]:
        """The rows that were asked for."""
        return self.dataset.rows


async def measure(settings: Settings, dataset: Dataset, *, subject: Subject, limit: int | None = None) -> Run:
    """Ask for every row, or the first `limit`, without anybody's corrections as examples.

    Raises what opening the services raises, and UnknownTask or InvalidRequest for the subject.
    """
    dataset, settings = replace(dataset, rows=dataset.rows[:limit]), settings.without_examples
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if dataset.taxonomy is not None:
            file = Path(folder) / "taxonomy.yaml"
            file.write_text(json.dumps(dataset.taxonomy, ensure_ascii=False), encoding="utf-8")
            settings = settings.model_copy(update={"taxonomy": file})
        async with open_services(settings) as services:
            outcomes = await services.tasks.run_many(
                dataset.task,
                [{"text": row.text, **row.inputs} for row in dataset.rows],
                consumer=await asyncio.to_thread(services.books.consumers.local),
                options=CallOptions(model=subject.model, prompt_version=subject.version, cache="bypass"),
            )
    return Run(dataset=dataset, subject=subject, outcomes=outcomes, seconds=time.perf_counter() - started)


async def measure_all(
    settings: Settings,
    datasets: Sequence[Dataset],
    *,
    subject: Subject,
    limit: int | None,
    report: Callable[[Dataset], None],
) -> list[Run]:
    """Measure one set after the other; `report` is told which one is next."""
    measured = []
    for dataset in datasets:
        report(dataset)
        measured.append(await measure(settings, dataset, subject=subject, limit=limit))
    return measured
