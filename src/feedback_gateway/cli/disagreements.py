"""`prompts disagreements`: where versions answered the same item differently, from the call log."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.running import run_async
from feedback_gateway.cli.terminal import format_table, line_width, printable

if TYPE_CHECKING:
    from feedback_gateway.calls.pairs import Side
    from feedback_gateway.evaluation.disagreements import Comparison, Disagreements
    from feedback_gateway.settings import Settings

ReportFormat = Literal["table", "json"]
MOST_CHANGES = 3
LONGEST_TEXT = 60


def disagreements(
    *,
    task: Annotated[str, typer.Argument(help="The task whose versions are compared.")],
    since: Annotated[str | None, typer.Option(help="From then on: 24h, 7d, 2026-03-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most differing items that are listed.")] = 20,
    output_format: Annotated[ReportFormat, typer.Option("--format", help="table or json.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Show where shadows and replays disagreed with the answers that were given, label by label."""
    from feedback_gateway.settings import load_settings

    found, notice = run_async(read(load_settings(config), task, since=since, until=until, limit=limit))
    if output_format == "json":
        typer.echo(as_json(found, notice=notice))
        return
    typer.echo("\n".join(report_lines(found, width=line_width())))
    if notice:
        typer.echo(notice, err=True)


async def read(
    settings: "Settings", task: str, *, since: str | None, until: str | None, limit: int
) -> "tuple[Disagreements, str | None]":
    """What the log says, and what is missing in it."""
    from feedback_gateway.api.disagreements import labels_of_task, notice_of
    from feedback_gateway.calls.reports import parse_moment
    from feedback_gateway.evaluation.disagreements import Disagreements
    from feedback_gateway.services import open_services

    async with open_services(settings) as services:
        now = services.clock.now()
        pairs = services.books.pairs.of(
            task,
            since=parse_moment(since, now=now, name="--since") if since else None,
            until=parse_moment(until, now=now, name="--until") if until else None,
        )
        found = Disagreements(labels_of_task(services, task), limit).add(pairs)
        return found, notice_of(services, found)


def as_json(found: "Disagreements", *, notice: str | None, **more: Any) -> str:
    """The report as the HTTP API gives it, and more beside it."""
    from feedback_gateway.api.disagreements import disagreements_json

    return json.dumps(disagreements_json(found, notice=notice) | more, ensure_ascii=False, indent=2)


def report_lines(found: "Disagreements", *, width: int | None) -> Iterator[str]:
    """The report for people."""
    if not found.comparisons:
        yield "Nothing was made to be compared: set a shadow, or replay a period."
        return
    for one in found.comparisons.values():
        yield from comparison_lines(one, width=width)
    if found.differences:
        rows = [
            [
                excerpt(difference.pair.inputs),
                "; ".join(changes_of(difference.pair.answered, difference.pair.beside, difference.fields)),
                difference.pair.answered.call_id,
                difference.pair.beside.call_id,
            ]
            for difference in found.differences
        ]
        yield ""
        yield format_table(["text", "answered → beside", "call", "call beside"], rows, width=width)


def comparison_lines(one: "Comparison", *, width: int | None) -> Iterator[str]:
    """Two versions, and the labels in which they differ."""
    left, right = (f"version {version} ({model})" for version, model in zip(one.versions, one.models, strict=True))
    yield f"{one.purpose}: {left} answered, {right} beside it"
    missing = [f"{one.failed} without a second answer"] if one.failed else []
    missing += [f"{one.unknown} logged without results"] if one.unknown else []
    yield f"  {one.pairs} pairs, {one.compared} compared" + "".join(f", {part}" for part in missing)
    if one.agreement is None or one.interval is None:
        return
    low, high = one.interval
    yield f"  the same in every label: {one.agreed} = {one.agreement:.1%} (95 %: {low:.1%} to {high:.1%})"
    rows = []
    for name, field in sorted(one.fields.items(), key=lambda named: -named[1].differ):
        common = field.changes.most_common(MOST_CHANGES)
        often = ", ".join(f"{before} → {after} {count}x" for (before, after), count in common)
        rows.append([name, str(field.differ), f"{1 - field.differ / field.compared:.1%}", often])
    yield format_table(["field", "differ", "agree", "most often"], rows, right=("differ", "agree"), width=width)


def changes_of(answered: "Side", beside: "Side", fields: tuple[str, ...]) -> Iterator[str]:
    """What one label was and what it is beside that."""
    from feedback_gateway.tasks.labels import MISSING, value_at

    for name in fields:
        before, after = (value_at(side.result, name) or MISSING for side in (answered, beside))
        yield f"{name}: {before} → {after}"


def excerpt(inputs: Any) -> str:
    """The beginning of an item's text."""
    text = inputs.get("text") if isinstance(inputs, dict) else None
    shown = printable(text if isinstance(text, str) else json.dumps(inputs, ensure_ascii=False))
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"
