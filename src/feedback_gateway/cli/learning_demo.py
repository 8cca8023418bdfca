"""The work of `demo --learn`: a file is sorted, people correct a part of it, and the same file is sorted again."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from random import Random

from feedback_gateway.cli.demo_run import raise_first
from feedback_gateway.cli.terminal import format_table
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.evaluation.intervals import resampled
from feedback_gateway.evaluation.metrics import score
from feedback_gateway.feedback.models import NewItem
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions

TASK = "categorize"
CORRECTIONS = 200
SEED = 20260101
LOOK_S = 0.1
COLUMNS = ("macro-F1", "rows", "before", "95 % interval", "after", "95 % interval")
Row = Mapping[str, str]


async def run_learning_demo(folder: str) -> str:
    """What `demo --learn` prints. `folder` takes the database and the taxonomy."""
    rows = read_labelled()
    labels = sorted({row["label"] for row in rows})
    taxonomy = Path(folder) / "taxonomy.yaml"
    taxonomy.write_text(json.dumps({"categories": [{"name": label} for label in labels]}), encoding="utf-8")
    settings = Settings.model_validate(
        {
            "database_url": f"sqlite:///{Path(folder) / 'demo.db'}",
            "prompts": folder,
            "taxonomy": taxonomy,
            "tasks": {TASK: {"examples": {}}},
        }
    )
    corrected = frozenset(Random(SEED).sample(range(len(rows)), CORRECTIONS))  # noqa: S311 the same rows every time
    async with open_services(settings) as services:
        before = await sort(services, rows)
        await asyncio.to_thread(correct, services, [rows[place] for place in sorted(corrected)])
        while services.tasks.examples.version(TASK, LOCAL_CONSUMER.name) is None:  # noqa: ASYNC110 a thread tells nobody
            await asyncio.sleep(LOOK_S)
        after = await sort(services, rows)
    others = [place for place in range(len(rows)) if place not in corrected]
    table = [
        line("the whole file", rows, before, after, places=range(len(rows))),
        line("rows that nobody corrected", rows, before, after, places=others),
    ]
    return "\n".join(
        [
            f"{len(rows)} real questions to a bank, sorted into {len(labels)} categories that have a name and",
            f"no example. People then correct {len(corrected)} of them (true labels, rows drawn by a fixed",
            "seed), and the same file is sorted again, by the embedded model, without a key.",
            "",
            *format_table(COLUMNS, table, right=COLUMNS[1:]).splitlines(),
            "",
            "The rows that nobody corrected tell what was learned: of the others the model has",
            "seen the answer.",
        ]
    )


def read_labelled() -> list[dict[str, str]]:
    """The bundled rows; where they are from stands in sample.md."""
    text = resources.files(__package__).joinpath("learning.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def sort(services: Services, rows: Sequence[Row]) -> list[str]:
    """The category of each row."""
    items = [{"id": row["id"], "text": row["text"]} for row in rows]
    outcomes = await services.tasks.run_many(TASK, items, consumer=LOCAL_CONSUMER, options=CallOptions())
    raise_first(outcomes)
    return [str(outcome.result["category"]) for outcome in outcomes if isinstance(outcome, Answer)]


def correct(services: Services, rows: Sequence[Row]) -> None:
    """Store the rows as feedback, and the word of a person for each. Blocks."""
    items = [NewItem(text=row["text"], source="demo", external_id=row["id"]) for row in rows]
    _, placed = services.books.feedback.add(items, consumer=LOCAL_CONSUMER.name, task=TASK)
    for row, where in zip(rows, placed, strict=True):
        services.books.people.add(where.item_id, field="category", value=row["label"], by="demo")


def line(
    name: str, rows: Sequence[Row], before: Sequence[str], after: Sequence[str], *, places: Sequence[int]
) -> list[str]:
    """One line of the table: both figures with their intervals, over some of the rows."""
    cells = [name, str(len(places))]
    truths = [rows[place]["label"] for place in places]
    for said in (before, after):
        scores = score(truths, [said[place] for place in places])
        interval = resampled(scores.confusion)[1]
        cells += [f"{scores.macro_f1:.3f}", f"{interval.low:.3f} to {interval.high:.3f}"]
    return cells
