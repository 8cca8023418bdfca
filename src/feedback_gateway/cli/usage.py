"""`usage`: what was used and what it cost, straight from the database."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width

if TYPE_CHECKING:
    from feedback_gateway.calls.reports import UsageRow

UsageFormat = Literal["table", "csv", "json"]


def usage(
    *,
    by: Annotated[str, typer.Option(help="Any of consumer,task,model,day,purpose.")] = "consumer,task,model,day",
    since: Annotated[str | None, typer.Option(help="From then on: 24h, 7d, 2026-03-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    output_format: Annotated[UsageFormat, typer.Option("--format", help="table, csv or json.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Report calls, tokens and exact costs."""
    from feedback_gateway.calls.reports import UsageReport, as_csv, parse_groupings, parse_moment
    from feedback_gateway.clock import SystemClock
    from feedback_gateway.errors import ConfigurationError, InvalidRequest
    from feedback_gateway.settings import load_settings
    from feedback_gateway.storage.engine import open_engine, upgrade

    settings = load_settings(config)
    try:
        groupings = parse_groupings(by)
    except InvalidRequest as error:
        raise ConfigurationError(f"--by {by}: {error.problems[0].msg}") from None
    now = SystemClock().now()
    engine = open_engine(settings.database_url)
    try:
        upgrade(engine)
        rows = UsageReport(engine).usage(
            groupings,
            since=parse_moment(since, now=now, name="--since") if since else None,
            until=parse_moment(until, now=now, name="--until") if until else None,
        )
    finally:
        engine.dispose()
    if output_format == "csv":
        typer.echo(as_csv([row.fields() for row in rows]), nl=False)
    elif output_format == "json":
        typer.echo(json.dumps({"data": [json_fields(row) for row in rows]}, ensure_ascii=False, indent=2))
    else:
        typer.echo(usage_table(groupings, rows, width=line_width()))


def json_fields(row: "UsageRow") -> dict[str, Any]:
    """A row of `/v1/usage`: money as exact decimal strings."""
    from feedback_gateway.ledger.amounts import format_usd

    fields: Mapping[str, Any] = row.fields()
    return {name: format_usd(value) if isinstance(value, Decimal) else value for name, value in fields.items()}


def usage_table(groupings: Sequence[str], rows: Sequence["UsageRow"], *, width: int | None) -> str:
    """The report for people; figures that are 0 throughout are left out where a line would not fit `width` cells."""
    if not rows:
        return "No calls."
    figures = ("calls", "cached", "failed", "input", "cached input", "output", "cost USD", "saved USD")
    cells = []
    for row in rows:
        fields = json_fields(row)
        cost = "unknown" if fields["cost_usd"] is None else fields["cost_usd"]
        if row.unknown_cost_calls and fields["cost_usd"] is not None:
            cost += f" + {row.unknown_cost_calls} unpriced"
        names = ("calls", "cached_calls", "failed_calls", "input_tokens", "cached_input_tokens", "output_tokens")
        cells.append(
            [
                *(str(fields[name]) for name in groupings),
                *(f"{fields[name]:,}" for name in names),
                cost,
                fields["saved_usd"],
            ]
        )
    header = [*groupings, *figures]
    table = format_table(header, cells, right=figures)
    if width is None or len(table.partition("\n")[2].partition("\n")[0]) <= width:
        return table
    dispensable = set(figures) - {"calls", "cost USD"}
    kept = [
        index for index, name in enumerate(header) if name not in dispensable or any(row[index] != "0" for row in cells)
    ]
    shown = [[row[index] for index in kept] for row in cells]
    return format_table([header[index] for index in kept], shown, right=figures, width=width)
