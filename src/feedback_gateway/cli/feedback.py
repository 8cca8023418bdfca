"""`feedback import|list|show|retry`: stored items, straight on the database; `serve` or `worker` analyses them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.people import agreement, correct, reviews, rows
from feedback_gateway.cli.rows_in import InputFormat
from feedback_gateway.cli.terminal import complain, format_table, line_width

if TYPE_CHECKING:
    from feedback_gateway.feedback.models import ItemHistory

app = typer.Typer(no_args_is_help=True, help="Stored feedback: items, what was made of them, and since when.")

ConsumerOption = Annotated[str, typer.Option(help="Whose items they are, and who pays for their analyses.")]
StatusOption = Annotated[
    Literal["stored", "queued", "waiting", "analysed", "failed"] | None, typer.Option(help="Only of this status.")
]


app.command("correct")(correct)
app.command("reviews")(reviews)
app.command("agreement")(agreement)
app.command("rows")(rows)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines or CSV; - is standard input.")],
    *,
    source: Annotated[
        str | None, typer.Option(help="Where rows come from that do not say it; the file's name without it.")
    ] = None,
    consumer: ConsumerOption = "local",
    text_column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    input_format: Annotated[
        InputFormat | None, typer.Option(help="jsonl or csv, where the file does not show it.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="The file's encoding, where it is not recognised.")] = None,
    config: ConfigOption = None,
) -> None:
    """Store every row of a file; one that was stored before, by `external_id` or `id`, stays as it is.

    `author_id`, `created_at` and `rating` are read, and other columns become metadata. Exits with 1 if any row could
    not be stored.
    """
    from feedback_gateway.cli.feedback_rows import import_rows
    from feedback_gateway.cli.rows_in import open_source
    from feedback_gateway.cli.table_in import open_table
    from feedback_gateway.settings import load_settings

    settings = load_settings(config)
    with open_source(file, encoding=encoding) as opened:
        if opened.notice:
            complain(f"{opened.name}: {opened.notice}", code=0)
        table = open_table(opened, file, input_format=input_format, text_column=text_column)
        named = source or ("standard input" if str(file) == "-" else file.stem)
        imported = import_rows(table, settings, source=named, consumer=consumer)
    for refused in imported.refused:
        complain(refused, code=1)
    typer.echo(imported.summary())
    if imported.failed:
        raise typer.Exit(1)


@app.command("list")
def list_items(
    *,
    source: Annotated[str | None, typer.Option(help="Only from there.")] = None,
    status: StatusOption = None,
    consumer: Annotated[str | None, typer.Option(help="Only of this consumer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most items.")] = 50,
    output_format: Annotated[Literal["table", "jsonl"], typer.Option("--format", help="table or jsonl.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Show stored items, newest first."""
    import json

    from feedback_gateway.api.feedback_rendering import item_json
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.feedback.repository import ItemFilters
    from feedback_gateway.settings import load_settings
    from feedback_gateway.tasks.taxonomy import load_taxonomy

    found: list[ItemHistory] = []
    cursor: str | None = None
    filters = ItemFilters(source=source, status=status, consumer=consumer)
    settings = load_settings(config)
    with open_administration(settings) as administration:
        while len(found) < limit:
            page = administration.feedback.page(filters, limit=min(limit - len(found), 200), cursor=cursor)
            found += page.data
            cursor = page.next_cursor
            if cursor is None:
                break
    if output_format == "jsonl":
        taxonomy = load_taxonomy(settings.taxonomy)
        for history in found:
            shown = item_json(history, task=settings.feedback.task, taxonomy=taxonomy)
            typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    names = ("id", "written", "source", "status", "category", "severity", "text")
    rows = [row_of(history) for history in found]
    typer.echo(format_table(names, rows, width=line_width()) if rows else "No items.")


@app.command("show")
def show(item_id: Annotated[str, typer.Argument(metavar="ID")], *, config: ConfigOption = None) -> None:
    """Show one item with all that was made of it, as JSON."""
    import json

    from feedback_gateway.api.feedback_rendering import item_json
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings
    from feedback_gateway.tasks.taxonomy import load_taxonomy

    settings = load_settings(config)
    with open_administration(settings) as administration:
        history = administration.feedback.get(item_id)
    shown = item_json(history, task=settings.feedback.task, taxonomy=load_taxonomy(settings.taxonomy))
    typer.echo(json.dumps(shown, ensure_ascii=False, indent=2))


@app.command("retry")
def retry(
    item_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One item; all of them without it.")] = None,
    *,
    config: ConfigOption = None,
) -> None:
    """Have analyses that failed or wait tried again now."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        again = administration.runs.retry(item_id=item_id)
    typer.echo(f"{again:,} analyses are tried again")


def row_of(history: "ItemHistory") -> list[str]:
    """One item for people."""
    item = history.item
    result: Any = history.analyses[0].result if history.analyses else {}
    labels = [str(result.get(name) or "-") for name in ("category", "severity")]
    written = f"{item.created_at:%Y-%m-%d %H:%M}"
    return [item.item_id, written, item.source, item.status, *labels, item.text]
