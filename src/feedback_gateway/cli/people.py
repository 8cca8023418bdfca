"""`feedback correct|reviews|agreement|rows`: what people say of stored items, straight on the database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width

if TYPE_CHECKING:
    from feedback_gateway.settings import Settings
    from feedback_gateway.tasks.registry import TaskRegistry

SinceOption = Annotated[str | None, typer.Option(help="Words said since then: a moment, or 7d.")]


def correct(
    item_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    field: Annotated[str, typer.Option(help="category, severity, sentiment, team, ...")],
    value: Annotated[str, typer.Option(help="What it should be; null for none.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    config: ConfigOption = None,
) -> None:
    """Say what a field of an item should be: that holds from now on, and takes it out of the queue."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.feedback.current import check_correction
    from feedback_gateway.settings import load_settings
    from feedback_gateway.tasks.taxonomy import load_taxonomy

    settings = load_settings(config)
    said = None if value == "null" else value
    with open_administration(settings) as administration:
        history = administration.feedback.get(item_id)
        registry, names = registry_of(settings), [*(one.task for one in history.analyses), settings.feedback.task]
        tasks = [registry.get(name) for name in dict.fromkeys(names) if name in registry.names()]
        check_correction(field, said, tasks=tasks, taxonomy=load_taxonomy(settings.taxonomy))
        made = administration.people.add(item_id, field=field, value=said, by=by, reason=reason)
    typer.echo(f"{made.field} is {made.value}, says {made.by}")


def reviews(
    *,
    source: Annotated[str | None, typer.Option(help="Only from there.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only for this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most items.")] = 50,
    config: ConfigOption = None,
) -> None:
    """Show what a person should look at, and why; what waits longest first."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        page = administration.people.waiting(source=source, reason=reason, limit=limit)
    names = ("id", "why", "category", "severity", "text")
    rows = []
    for history in page.data:
        result: Any = history.analyses[0].result if history.analyses else {}
        labels = [str(result.get(name) or "-") for name in ("category", "severity")]
        rows.append([history.item.item_id, ", ".join(history.item.review_reasons), *labels, history.item.text])
    typer.echo(format_table(names, rows, width=line_width()) if rows else "Nothing waits for a person.")


def agreement(
    *,
    by: Annotated[str, typer.Option(help="field, task, label, prompt_version, model, by; with commas.")] = "field",
    field: Annotated[str | None, typer.Option(help="Only of this field.")] = None,
    since: SinceOption = None,
    config: ConfigOption = None,
) -> None:
    """Show how often people repeated what the model had said; the last word on a field of an item counts."""
    from feedback_gateway.calls.reports import parse_moment
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.feedback.agreement import agreements, parse_group_by
    from feedback_gateway.settings import load_settings

    names = parse_group_by(by)
    with open_administration(load_settings(config)) as administration:
        start = None if since is None else parse_moment(since, now=administration.clock.now(), name="--since")
        found = agreements(administration.people.judged(field=field, since=start), group_by=names)
    rows = [
        [
            *(str(value) if value is not None else "-" for value in one.group),
            f"{one.judged:,}",
            f"{one.agreed:,}",
            f"{one.rate:.3f}",
            "{:.3f} to {:.3f}".format(*one.interval),
        ]
        for one in found
    ]
    header = (*names, "judged", "agreed", "rate", "95 %")
    typer.echo(format_table(header, rows, width=line_width()) if rows else "Nobody has said anything of an answer yet.")


def rows(
    *,
    field: Annotated[str, typer.Option(help="category, severity, sentiment, ...")] = "category",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output without it.")] = None,
    since: SinceOption = None,
    config: ConfigOption = None,
) -> None:
    """Write what people said as labelled rows, JSON Lines, for `prompts eval` and `prompts calibrate`."""
    import json

    from feedback_gateway.calls.reports import parse_moment
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        start = None if since is None else parse_moment(since, now=administration.clock.now(), name="--since")
        judged = administration.people.judged(field=field, since=start)
        labelled = [
            {"id": one.item.item_id, "text": one.item.text, "label": one.correction.value}
            for one in judged
            if one.correction.value is not None
        ]
    written = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in labelled)
    if output is None:
        typer.echo(written, nl=False)
        return
    output.write_text(written, encoding="utf-8")
    typer.echo(f"{len(labelled):,} rows written to {output}", err=True)


def registry_of(settings: "Settings") -> "TaskRegistry":
    """The tasks of the configured prompt files."""
    from feedback_gateway.prompts.library import PromptLibrary
    from feedback_gateway.services import prompt_folders
    from feedback_gateway.tasks.registry import TaskRegistry

    return TaskRegistry(PromptLibrary.load(prompt_folders(settings)))
