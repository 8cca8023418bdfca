"""`replay`: a stored period or a file once more, through another prompt version or model; the cost is shown first."""

import asyncio
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feedback_gateway.cli.disagreements import ReportFormat, as_json, report_lines
from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.running import run_async
from feedback_gateway.cli.terminal import line_width
from feedback_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from feedback_gateway.evaluation.pricing import Estimate
    from feedback_gateway.evaluation.replay import Earlier, Outcome, Plan, Replay, Target
    from feedback_gateway.services import Services
    from feedback_gateway.settings import Settings

MASKED = "the log keeps texts masked (log.payloads: redacted): masked text is replayed as it is, masked"
EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What the command line asked for."""

    since: str | None
    until: str | None
    file: Path | None
    task: str | None
    target: "Target"
    limit: int
    resume: bool
    yes: bool
    shown: int
    output_format: ReportFormat


def replay(
    *,
    since: Annotated[str | None, typer.Option(help="Calls of the log from then on: 24h, 7d, 2026-03-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Calls before then.")] = None,
    file: Annotated[Path | None, typer.Option(help="Rows in place of the log: JSON Lines or CSV.")] = None,
    task: Annotated[str | None, typer.Option(help="This task only; for a file classify unless its rows say.")] = None,
    prompt_version: Annotated[int | None, typer.Option(min=1, help="The prompt version to try.")] = None,
    model: Annotated[str | None, typer.Option(help="The alias of model_list to try.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most items.")] = 10_000,
    resume: Annotated[bool, typer.Option("--resume", help="Take over what an earlier replay answered.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking.")] = False,
    shown: Annotated[int, typer.Option("--show", min=0, help="Most differing items that are listed.")] = 20,
    output_format: Annotated[ReportFormat, typer.Option("--format", help="table or json.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Ask again what was asked before, through another version or model, and list what differs.

    The cost is shown before anything is asked. A row of a file with a `result`, as `classify` writes it, is compared
    with that; any other is answered by the version that serves as well. Safe to stop: what was asked is booked.
    """
    from feedback_gateway.evaluation.replay import Target
    from feedback_gateway.settings import load_settings

    if (since is None and until is None) == (file is None):
        raise ConfigurationError("replay needs --since (or --until) for calls of the log, or --file")
    if prompt_version is not None and task is None and file is None:
        raise ConfigurationError("--prompt-version needs --task: versions are numbered by task")
    chosen = ReplayOptions(
        since=since,
        until=until,
        file=file,
        task=task,
        target=Target(version=prompt_version, model=model),
        limit=limit,
        resume=resume,
        yes=yes,
        shown=shown,
        output_format=output_format,
    )
    replay_chosen(chosen, load_settings(config))


def replay_chosen(chosen: ReplayOptions, settings: "Settings") -> None:
    """Say what is to be done, ask, and do it; exits with 1 where an item failed."""
    plan, lines = run_async(make_plan(chosen, settings))
    for line in lines:
        typer.echo(line, err=True)
    if not plan.rows:
        return
    if not chosen.yes and plan.estimate.calls:
        confirm()  # outside the event loop, where Ctrl-C ends a question at once
    try:
        failed = run_async(carry_out(chosen, plan, settings))
    except typer.Exit:
        typer.echo("stopped; what was asked is booked, and the same command with --resume goes on", err=True)
        raise
    if failed:
        raise typer.Exit(1)


async def make_plan(chosen: ReplayOptions, settings: "Settings") -> "tuple[Plan, list[str]]":
    """What is to be done, and what to say of it before it is."""
    from feedback_gateway.services import open_services

    async with open_services(settings) as services:
        work = await replay_of(chosen, services)
        with closing(rows_of(chosen, services)) as rows:
            plan = await asyncio.to_thread(work.plan, rows, limit=chosen.limit, is_resumed=chosen.resume)
        return plan, list(plan_lines(chosen, services, plan))


async def carry_out(chosen: ReplayOptions, plan: "Plan", settings: "Settings") -> bool:
    """Replay and report; whether any item failed."""
    from feedback_gateway.services import open_services

    async with open_services(settings) as services:
        work = await replay_of(chosen, services)
        outcome = await work.run(plan, report=lambda so_far: show(so_far, plan))
        return report(chosen, services, outcome)


async def replay_of(chosen: ReplayOptions, services: "Services") -> "Replay":
    """What replays, at the operator's own cost."""
    from feedback_gateway.evaluation.replay import Replay

    return Replay(services, chosen.target, consumer=await asyncio.to_thread(services.books.consumers.local))


def confirm() -> None:
    """Ask whoever sits there. Raises ConfigurationError where nobody does, and Abort where they say no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError("nobody is there to ask; add --yes to begin")
    typer.confirm("Begin?", abort=True, err=True)


def rows_of(chosen: ReplayOptions, services: "Services") -> "Generator[Earlier]":
    """What is to be asked again. Blocks."""
    from feedback_gateway.evaluation.replay import Earlier

    if chosen.file is not None:
        yield from rows_of_file(chosen.file, chosen.task)
        return
    for call in services.books.pairs.answered(chosen.task, **period_of(chosen, services)):
        yield Earlier(
            task=call.task,
            item=call.inputs,
            result=call.result,
            call_id=call.call_id,
            version=call.version,
            model=call.model,
            input_tokens=call.input_tokens,
            output_tokens=call.output_tokens,
        )


def period_of(chosen: ReplayOptions, services: "Services") -> "dict[str, datetime | None]":
    """The period whose calls are asked again."""
    from feedback_gateway.calls.reports import parse_moment

    now = services.clock.now()
    return {
        name: parse_moment(value, now=now, name=f"--{name}") if value else None
        for name, value in (("since", chosen.since), ("until", chosen.until))
    }


def rows_of_file(file: Path, task: str | None) -> "Iterator[Earlier]":
    """Rows with a text, and with the answer that they had where it stands in them."""
    from feedback_gateway.cli.labelled_rows import read_columns
    from feedback_gateway.evaluation.replay import Earlier

    for row in read_columns(file):
        item = {name: row[name] for name in ("id", "text", "texts") if row.get(name) is not None}
        result, usage = row.get("result"), row.get("usage")
        known: dict[str, Any] = {}
        if isinstance(result, dict) and isinstance(row.get("prompt_version"), int):
            known = {"result": result, "version": row["prompt_version"], "model": str(row.get("model", ""))}
            known["call_id"] = str(row["call_id"]) if row.get("call_id") else None
        if isinstance(usage, dict):
            known |= {name: int(usage.get(name) or 0) for name in ("input_tokens", "output_tokens")}
        own = row.get("task") if known.get("result") else None
        yield Earlier(task=task or (own if isinstance(own, str) else "classify"), item=item, **known)


def plan_lines(chosen: ReplayOptions, services: "Services", plan: "Plan") -> Iterator[str]:
    """What is about to be done, and what it costs."""
    payloads = services.settings.log.payloads
    if chosen.file is None and payloads == "redacted":
        yield MASKED
    if chosen.file is None and payloads == "none":
        yield "log.payloads is `none`: calls that are logged now keep no text, and cannot be replayed"
    if chosen.file is None and (textless := services.books.pairs.textless(chosen.task, **period_of(chosen, services))):
        yield f"left out: {textless:,} logged without their texts"
    for why, count in plan.left_out.items():
        yield f"left out: {count:,} {why}"
    if not plan.rows:
        yield "There is nothing to replay."
        return
    if plan.done:
        yield f"answered by an earlier replay: {len(plan.done):,}"
    yield f"{len(plan.rows):,} items, {plan.estimate.calls:,} calls"
    yield cost_line(plan.estimate, attempts=services.settings.retry.attempts)


def cost_line(estimate: "Estimate", *, attempts: int) -> str:
    """The two figures that whoever pays wants to see."""
    from feedback_gateway.ledger.amounts import format_usd

    if estimate.calls == estimate.unpriced and estimate.calls:
        return "cost: unknown, for want of a price"
    also = f", and {estimate.unpriced:,} calls of unknown price" if estimate.unpriced else ""
    if not estimate.most_usd:
        return f"cost: nothing{also}"
    expected = format_usd(rounded(estimate.expected_usd))
    most = format_usd(rounded(estimate.most_usd))
    return f"cost: {expected} USD expected, {most} USD at most ({attempts} attempts a call){also}"


def rounded(usd: Decimal) -> Decimal:
    """An estimate with no more digits than it deserves."""
    return usd.quantize(Decimal("0.000001"))


def show(outcome: "Outcome", plan: "Plan") -> None:
    """Say now and then how far it is, where somebody looks."""
    done = len(outcome.pairs) + sum(outcome.failures.values())
    if sys.stderr.isatty() and done % EVERY == 0:
        typer.echo(f"{done:,} of {len(plan.rows):,}", err=True)


def report(chosen: ReplayOptions, services: "Services", outcome: "Outcome") -> bool:
    """Print what differs and what it has cost; whether any item failed."""
    from feedback_gateway.api.disagreements import labels_of_task
    from feedback_gateway.evaluation.disagreements import Disagreements
    from feedback_gateway.ledger.amounts import format_usd

    names = services.registry.names() if chosen.task is None else [chosen.task]
    labels = tuple(dict.fromkeys(label for name in names for label in labels_of_task(services, name)))
    found = Disagreements(labels, chosen.shown).add(outcome.pairs)
    cost = format_usd(outcome.cost_usd)
    if chosen.output_format == "json":
        more = {"calls": outcome.calls, "cost_usd": cost, "unpriced_calls": outcome.unpriced}
        typer.echo(as_json(found, notice=None, **more, failures=outcome.failures))
    else:
        typer.echo("\n".join(report_lines(found, width=line_width())))
        unpriced = f", and {outcome.unpriced} calls of unknown price" if outcome.unpriced else ""
        typer.echo(f"\n{outcome.calls:,} calls, {cost} USD{unpriced}")
    for why, count in outcome.failures.items():
        typer.echo(f"{count:,} failed: {why}", err=True)
    return bool(outcome.failures)
