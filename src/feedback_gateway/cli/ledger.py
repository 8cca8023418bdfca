"""`ledger list|correct`: what calls were charged, and setting it right by a line that is added."""

from decimal import Decimal
from typing import Annotated

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width

app = typer.Typer(no_args_is_help=True, help="What calls were charged; corrections are added, nothing is edited.")


@app.command("list")
def list_lines(
    *,
    call: Annotated[str | None, typer.Option(help="Only of this call.")] = None,
    consumer: Annotated[str | None, typer.Option(help="Only of this consumer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most lines.")] = 50,
    config: ConfigOption = None,
) -> None:
    """Show lines of the ledger, newest first."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.ledger.amounts import format_usd
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        found = administration.ledger.entries(call_id=call, consumer=consumer, limit=limit)
    rows = [
        [
            f"{one.created_at:%Y-%m-%d %H:%M:%S}",
            one.kind,
            "unknown" if one.amount_usd is None else format_usd(one.amount_usd),
            one.consumer,
            one.task,
            one.call_id,
            one.reason or "",
        ]
        for one in found
    ]
    names = ("written", "kind", "USD", "consumer", "task", "call", "reason")
    typer.echo(format_table(names, rows, right=("USD",), width=line_width()) if rows else "No charges.")


@app.command("correct")
def correct(
    call_id: Annotated[str, typer.Argument(help="The call.")],
    *,
    cost_usd: Annotated[str, typer.Option(help="What it really cost, in USD.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the ledger.")],
    config: ConfigOption = None,
) -> None:
    """Add the line that makes a call's charges sum up to what it really cost."""
    from feedback_gateway.api.admin_bodies import CorrectionBody, validated
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.ledger.amounts import format_usd
    from feedback_gateway.settings import load_settings

    body = validated(CorrectionBody, {"call_id": call_id, "cost_usd": cost_usd, "reason": reason})
    with open_administration(load_settings(config)) as administration:
        entry = administration.corrections.correct(call_id, body.cost_usd, by="command line", reason=reason)
    typer.echo(f"added a correction of {format_usd(entry.amount_usd or Decimal(0))} USD to {call_id}")
