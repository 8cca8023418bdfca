"""`consumers add|list|update|disable|enable`: who may call, how much and how often."""

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width

if TYPE_CHECKING:
    from feedback_gateway.consumers.models import Consumer
    from feedback_gateway.ledger.models import Budget, Standing

app = typer.Typer(no_args_is_help=True, help="Who may call, how much and how often.")

PeriodName = Literal["day", "week", "month", "total"]
NameArgument = Annotated[str, typer.Argument(help="The consumer's name.")]
BudgetOption = Annotated[str | None, typer.Option(help="USD a period, such as 25 or 0.50; `none` takes it away.")]
PeriodOption = Annotated[PeriodName | None, typer.Option(help="day, week, month or total, in UTC; month without it.")]
WarnOption = Annotated[
    float | None, typer.Option(min=0.01, max=1, help="The share of the budget from which on to warn; 0.8 without it.")
]
TaskBudgetOption = Annotated[
    list[str], typer.Option(metavar="TASK=USD", help="A budget of one task, for the same period; may be repeated.")
]
RpmOption = Annotated[int | None, typer.Option(min=0, help="Requests a minute.")]
TpmOption = Annotated[int | None, typer.Option(min=0, help="Tokens a minute.")]
TaskOption = Annotated[list[str], typer.Option(help="A task that may be run; may be repeated. All without it.")]
ModelOption = Annotated[list[str], typer.Option(help="A model that may be asked; may be repeated. All without it.")]


@app.command("add")
def add(
    name: NameArgument,
    *,
    budget: BudgetOption = None,
    period: PeriodOption = None,
    warn_at: WarnOption = None,
    task_budget: TaskBudgetOption = [],  # noqa: B006 Typer's way
    requests_per_minute: RpmOption = None,
    tokens_per_minute: TpmOption = None,
    task: TaskOption = [],  # noqa: B006
    model: ModelOption = [],  # noqa: B006
    config: ConfigOption = None,
) -> None:
    """Add a consumer; without a budget nothing that it spends is refused."""
    from feedback_gateway.api.admin_bodies import ConsumerBody, validated
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    budgets = budget_fields(budget, task_budget, period=period, warn_at=warn_at)
    limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
    scopes = {"tasks": task or None, "models": model or None}
    body = validated(ConsumerBody, {"name": name, **budgets, "limits": limits, "scopes": scopes})
    with open_administration(load_settings(config)) as administration:
        added = administration.consumers.add(body.consumer())
    typer.echo(f"added {added.name}; make a key with `feedback-gateway keys create --consumer {added.name}`")


@app.command("update")
def update(
    name: NameArgument,
    *,
    budget: BudgetOption = None,
    period: PeriodOption = None,
    warn_at: WarnOption = None,
    task_budget: TaskBudgetOption = [],  # noqa: B006
    requests_per_minute: RpmOption = None,
    tokens_per_minute: TpmOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a consumer; what is not given stays."""
    from feedback_gateway.api.admin_bodies import ConsumerChanges, validated
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    changes: dict[str, Any] = budget_fields(budget, task_budget, period=period, warn_at=warn_at)
    with open_administration(load_settings(config)) as administration:
        known = administration.consumers.find(name)
        if requests_per_minute is not None or tokens_per_minute is not None:
            given, stored = (requests_per_minute, tokens_per_minute), known.limits
            changes["limits"] = {
                "requests_per_minute": stored.requests_per_minute if given[0] is None else given[0],
                "tokens_per_minute": stored.tokens_per_minute if given[1] is None else given[1],
            }
        body = validated(ConsumerChanges, changes)
        administration.consumers.change(name, partial(body.changes, now=administration.clock.now()))
    typer.echo(f"changed {name}")


@app.command("list")
def list_all(*, config: ConfigOption = None) -> None:
    """Show all consumers and how their budgets stand."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    rows = []
    with open_administration(load_settings(config)) as administration:
        after: str | None = None
        while page := administration.consumers.list_consumers(after=after):
            after = page[-1].id
            for consumer in page:
                now = administration.clock.now()
                rows.append(row_of(consumer, administration.ledger.standings(consumer.name, consumer.budgets, now=now)))
    if not rows:
        typer.echo("No consumers; add one with `feedback-gateway consumers add NAME`.")
        return
    names = ("name", "state", "budgets", "a minute", "tasks", "models")
    typer.echo(format_table(names, rows, width=line_width()))


@app.command("disable")
def disable(name: NameArgument, *, config: ConfigOption = None) -> None:
    """Refuse all keys of a consumer."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        administration.consumers.disable(name)
    typer.echo(f"disabled {name}: its keys are refused from now on")


@app.command("enable")
def enable(name: NameArgument, *, config: ConfigOption = None) -> None:
    """Accept the keys of a consumer again."""
    from feedback_gateway.cli.administration import open_administration
    from feedback_gateway.settings import load_settings

    with open_administration(load_settings(config)) as administration:
        administration.consumers.change(name, {"disabled_at": None})
    typer.echo(f"enabled {name}")


def budget_fields(
    budget: str | None, by_task: list[str], *, period: PeriodName | None, warn_at: float | None
) -> dict[str, dict[str, Any] | None]:
    """The budgets as `/v1/admin/consumers` takes them, those that were given. Raises ConfigurationError."""
    from feedback_gateway.errors import ConfigurationError

    if budget in (None, "none") and not by_task and (period, warn_at) != (None, None):
        raise ConfigurationError("--period and --warn-at are of a budget: give --budget or --task-budget with them")
    shape = {"period": period or "month", "warn_at": warn_at or 0.8}
    fields: dict[str, dict[str, Any] | None] = {}
    if budget is not None:
        fields["budget"] = None if budget == "none" else {"limit_usd": budget, **shape}
    if by_task:
        pairs = [pair.rpartition("=") for pair in by_task]
        fields["task_budgets"] = {task: {"limit_usd": limit, **shape} for task, _, limit in pairs}
    return fields


def row_of(consumer: "Consumer", standings: "list[Standing]") -> list[str]:
    """One consumer for people."""
    limits = [
        f"{limit:,} {unit}"
        for limit, unit in (
            (consumer.limits.requests_per_minute, "requests"),
            (consumer.limits.tokens_per_minute, "tokens"),
        )
        if limit is not None
    ]
    return [
        consumer.name,
        "active" if consumer.disabled_at is None else "disabled",
        "; ".join(budget_text(one.budget, one.spent_usd + one.reserved_usd) for one in standings) or "-",
        ", ".join(limits) or "-",
        ", ".join(sorted(consumer.scopes.tasks)) if consumer.scopes.tasks is not None else "all",
        ", ".join(sorted(consumer.scopes.models)) if consumer.scopes.models is not None else "all",
    ]


def budget_text(budget: "Budget", used: Decimal) -> str:
    """`3.50 of 25 USD a month`."""
    from feedback_gateway.ledger.amounts import format_usd

    task = f"{budget.task}: " if budget.task else ""
    return f"{task}{format_usd(used)} of {format_usd(budget.limit_usd)} USD {budget.span}"
