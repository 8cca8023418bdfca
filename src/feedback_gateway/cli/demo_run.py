"""The work of `demo`: classifies the sample, adds it up and summarises it. Every word of the digest is a quote."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from textwrap import wrap
from typing import Any

from feedback_gateway.api.rendering import total
from feedback_gateway.cli.terminal import GAP, Column, format_line, header_lines, printable, terminal_width
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.errors import GatewayError
from feedback_gateway.ledger.amounts import format_usd
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure

LABELS = (Column("sentiment", 9), Column("category", 15), Column("severity", 11))
TEAM = Column("team", 16)
FLAG = Column("?", 1)
TEAM_FROM = 110
"""Cells of a line from which on there is room for the team."""
WIDEST = 160
FLAGGED = (
    "Marked with ? are those that a person should look at: the model is not sure of the sentiment or the category, "
    "so it says so (`needs_review`) rather than guess in silence."
)
MOST_POINTS = 5


async def run_demo(folder: str) -> str:
    """What `demo` prints. `folder` takes the database."""
    settings = Settings(database_url=f"sqlite:///{Path(folder) / 'demo.db'}", prompts=Path(folder))
    rows = read_sample()
    items = [row for row in rows if "logs" not in row]
    incidents = [row for row in rows if "logs" in row]
    async with open_services(settings) as services:
        options = CallOptions()
        outcomes = await services.tasks.run_many(
            "classify", [pick(row, "id", "text") for row in items], consumer=LOCAL_CONSUMER, options=options
        )
        texts = [pick(row, "id", "text") for row in items]
        others = [
            await answer(services, "summarize", {"texts": texts}),
            await answer(services, "root-cause-suggest", pick(incidents[0], "id", "text", "logs")),
        ]
    raise_first([*outcomes, *others])
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    summary, causes = (outcome for outcome in others if isinstance(outcome, Answer))
    width = min(WIDEST, terminal_width())
    receipt = total(outcome.receipt for outcome in [*answers, summary, causes])
    cost = "unknown" if receipt.cost_usd is None else f"{format_usd(receipt.cost_usd)} USD"
    return "\n".join(
        [
            f"{len(answers)} pieces of real feedback, as the embedded model reads them:",
            "",
            *table_lines(items, answers, width=width),
            "",
            *digest_lines(answers, summary.result, width=width),
            "",
            *cause_lines(incidents[0], causes.result, width=width),
            "",
            f"Cost: {cost} for {len(answers) + 2} calls, all answered by {summary.deployment}.",
        ]
    )


def read_sample() -> list[dict[str, Any]]:
    """The bundled feedback; where it is from stands in sample.md."""
    text = resources.files(__package__).joinpath("sample.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def pick(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The columns that a task takes."""
    return {name: row[name] for name in names}


async def answer(services: Services, task: str, item: Mapping[str, Any]) -> Answer | Failure:
    """One task over one item."""
    (outcome,) = await services.tasks.run_many(task, [item], consumer=LOCAL_CONSUMER, options=CallOptions())
    return outcome


def raise_first(outcomes: Sequence[Answer | Failure]) -> None:
    """Raise the first failure: the demonstration has no row that may fail."""
    error: GatewayError | None = next((one.error for one in outcomes if isinstance(one, Failure)), None)
    if error is not None:
        raise error


def table_lines(items: Sequence[Mapping[str, Any]], answers: Sequence[Answer], *, width: int) -> list[str]:
    """One line for each item, a question mark before those that a person should look at; then what that means."""
    labels = (*LABELS, TEAM) if width >= TEAM_FROM else LABELS
    used = sum(column.width + GAP for column in (FLAG, *labels))
    columns = [FLAG, Column("feedback", width - used), *labels]
    lines = header_lines(columns).splitlines()
    for item, one in zip(items, answers, strict=True):
        shown = {name: str(one.result[name]) for name in ("sentiment", "category", "severity")}
        shown |= {"?": "?" if one.result["needs_review"] else "", "feedback": item["text"], "team": team_of(one)}
        lines.append(format_line(columns, [shown[column.name] for column in columns]))
    return [*lines, "", *wrap(FLAGGED, width)]


def team_of(one: Answer) -> str:
    """Who is to deal with an item."""
    return one.result["route"]["team"] or "nobody"


def digest_lines(answers: Sequence[Answer], summary: Mapping[str, Any], *, width: int) -> list[str]:
    """Counts over the answers, then the summary's headline and its quotes with the ids of their items."""
    lines = [f"Digest of {len(answers)} items"]
    counted = {name: [str(one.result[name]) for one in answers] for name in ("sentiment", "severity", "category")}
    for name, labels in {**counted, "team": [team_of(one) for one in answers]}.items():
        counts = Counter(labels).most_common()
        lines += paragraph(f"{name}: " + ", ".join(f"{label} {count}" for label, count in counts), width=width)
    waiting = sum(bool(one.result["needs_review"]) for one in answers)
    lines.append(f"  for a person to look at (?): {waiting}")
    lines += ["", *wrap(f"What they share most: {printable(summary['headline'].partition(': ')[2])}", width)]
    for point in summary["key_points"][:MOST_POINTS]:
        source, *others = point["item_ids"]
        alike = f"; much the same: {', '.join(others)}" if others else ""
        lines += paragraph(f"“{point['point']}” [{source}{alike}]", width=width, bullet="- ")
    return lines


def cause_lines(incident: Mapping[str, Any], causes: Mapping[str, Any], *, width: int) -> list[str]:
    """What the log of one incident shows, and what is missing to say more."""
    title = f"Root cause, from a log of {len(incident['logs'].splitlines())} lines: {incident['text']}"
    lines = wrap(printable(title), width)
    for one in causes["hypotheses"]:
        lines += paragraph(f"{one['cause']} (likelihood {one['likelihood']})", width=width, bullet="- ")
        for quote in one["evidence"][:1]:
            lines += paragraph(f"{quote['source']}: “{quote['quote']}”", width=width, bullet="    ")
    for missing in causes["missing_information"][:MOST_POINTS]:
        lines += paragraph(f"missing: {missing}", width=width, bullet="- ")
    return lines


def paragraph(text: str, *, width: int, bullet: str = "") -> list[str]:
    """`text` in lines of `width`, indented."""
    start = "  " + bullet
    indent = " " * len(start)
    return wrap(printable(text), width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)
