"""`taxonomy`: checks the taxonomy, shows what models miss in it, and writes what a person accepts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width, printable

if TYPE_CHECKING:
    from feedback_gateway.taxonomies.models import Proposal
    from feedback_gateway.taxonomies.repository import TaxonomyRepository
    from feedback_gateway.taxonomies.service import Taxonomies

app = typer.Typer(
    help="Check categories, teams and rules, and decide about categories that models miss.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)
BY = "command line"
INDENT = 12 * " "

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The proposal's id.")]


@app.command("check")
def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The configured one if none.")] = None,
    config: ConfigOption = None,
) -> None:
    """Name the taxonomy's version and all that is wrong or doubtful; exits with 1 if something is wrong."""
    from feedback_gateway.settings import load_settings
    from feedback_gateway.tasks.taxonomy import scan_taxonomy, source_of
    from feedback_gateway.tasks.taxonomy_checks import warnings_of

    path = file or load_settings(config).taxonomy
    taxonomy, problems = scan_taxonomy(path)
    for problem in problems:
        typer.echo(printable(problem))
    if taxonomy is None:
        raise typer.Exit(1)
    subs = sum(len(category.subcategories) for category in taxonomy.categories)
    counts = f"{len(taxonomy.categories)} categories, {subs} subcategories, {len(taxonomy.teams)} teams"
    name = f" ({taxonomy.label})" if taxonomy.label else ""
    source = "built in" if path is None else str(source_of(path))
    typer.echo(f"version {taxonomy.version}{printable(name)}, {source}: {counts}, {len(taxonomy.rules)} rules")
    warnings = list(warnings_of(taxonomy))
    for warning in warnings:
        typer.echo(printable(f"warning: {warning}"))
    typer.echo("It is in order." if not warnings else f"It can be used; {len(warnings)} doubts.")


@app.command("show")
def show(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="One that served; the file as it is if none.")
    ] = None,
    *,
    built_in: Annotated[bool, typer.Option("--built-in", help="The one that comes along, to begin with.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the taxonomy file, the built-in one where none is configured, or as JSON what a version said."""
    import json

    from feedback_gateway.settings import load_settings
    from feedback_gateway.tasks.taxonomy import read_bytes

    if version is None:
        path = None if built_in else load_settings(config).taxonomy
        typer.echo(read_bytes(path).decode("utf-8", "replace"), nl=False)
        return
    with open_taxonomies(config) as (repository, _):
        typer.echo(json.dumps(dict(repository.version(version).content), ensure_ascii=False, indent=2))


@app.command("versions")
def versions(config: ConfigOption = None) -> None:
    """List every taxonomy that served, the newest first."""
    with open_taxonomies(config) as (repository, _):
        rows = [
            [one.version, one.label or "", one.first_seen_at.isoformat(" ", "seconds"), summary_of(one.content)]
            for one in repository.versions()
        ]
    if not rows:
        typer.echo("None has served yet.")
        return
    typer.echo(format_table(["version", "label", "first seen", "categories"], rows, width=line_width()))


@app.command("proposals")
def proposals(
    *,
    rejected: Annotated[bool, typer.Option("--rejected", help="Show what was rejected, too.")] = False,
    config: ConfigOption = None,
) -> None:
    """List the categories that models missed, the best supported first, with what users wrote."""
    with open_taxonomies(config) as (_, taxonomies):
        found = taxonomies.proposals(with_rejected=rejected)
    for proposal in found:
        typer.echo("\n".join(proposal_lines(proposal)))
    if not found:
        typer.echo("No proposals: no model missed a category, or all of them are decided.")
        return
    typer.echo("Decide with `feedback-gateway taxonomy accept ID` or `reject ID`.")


@app.command("accept")
def accept(
    proposal: IdArgument,
    *,
    name: Annotated[str | None, typer.Option(help="Call it otherwise than it was proposed.")] = None,
    description: Annotated[str, typer.Option(help="What belongs there: models go by it.")] = "",
    parent: Annotated[str | None, typer.Option(help="Make it a subcategory of this category.")] = None,
    seen: Annotated[
        str | None, typer.Option("--if-version", metavar="VERSION", help="Refuse if the taxonomy is another by now.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write a proposed category into the taxonomy file; running gateways take it up by themselves."""
    from feedback_gateway.taxonomies.service import Wish

    wish = Wish(name=name, description=description, parent=parent, taxonomy_version=seen)
    with open_taxonomies(config) as (_, taxonomies):
        accepted = taxonomies.accept(proposal, wish, by=BY)
    where = f"{accepted.parent} / {accepted.category.name}" if accepted.parent else accepted.category.name
    if accepted.was_there:
        typer.echo(printable(f"{where}: is in the file already; the taxonomy stays {accepted.version}"))
        return
    typer.echo(printable(f"{where}: added; the taxonomy was {accepted.before} and is {accepted.version}"))
    typer.echo("`feedback-gateway taxonomy retag` shows what it takes to have stored feedback sorted again.")


@app.command("reject")
def reject(proposal: IdArgument, *, config: ConfigOption = None) -> None:
    """Propose it no more, until twice as many items ask for it."""
    with open_taxonomies(config) as (_, taxonomies):
        found = taxonomies.reject(proposal, by=BY)
    again = 2 * found.support
    typer.echo(printable(f"{found.cluster.name}: rejected; it comes back if {again} items ask for it"))


@app.command("retag")
def retag(
    *,
    since: Annotated[str | None, typer.Option(help="Only feedback from then on: 30d, 24h, a date or a time.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking.")] = False,
    config: ConfigOption = None,
) -> None:
    """Sort stored feedback again that a change of the taxonomy can touch; says first how many and at what price."""
    from feedback_gateway.cli.retagging import run_retagging
    from feedback_gateway.cli.running import run_async
    from feedback_gateway.settings import load_settings

    if code := run_async(run_retagging(load_settings(config), since=since, is_sure=yes)):
        raise typer.Exit(code)


@contextmanager
def open_taxonomies(config: Path | None) -> "Iterator[tuple[TaxonomyRepository, Taxonomies]]":
    """Open the database, bring it up to date, and note the taxonomy that is configured."""
    from feedback_gateway.clock import SystemClock
    from feedback_gateway.llm.embedded_client import names_alike
    from feedback_gateway.settings import load_settings
    from feedback_gateway.storage.engine import open_engine, upgrade
    from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
    from feedback_gateway.taxonomies.repository import TaxonomyRepository
    from feedback_gateway.taxonomies.service import Taxonomies

    settings, clock = load_settings(config), SystemClock()
    file = TaxonomyFile(settings.taxonomy)
    engine = open_engine(settings.database_url)
    try:
        upgrade(engine)
        repository = TaxonomyRepository(engine)
        repository.keep(file.current, at=clock.now())
        yield repository, Taxonomies(repository, file, clock, alike=names_alike)
    finally:
        engine.dispose()


def proposal_lines(proposal: "Proposal") -> Iterator[str]:
    """A proposal with what speaks for it."""
    cluster = proposal.cluster
    asked = f"{proposal.support} item{'' if proposal.support == 1 else 's'}"
    people = f" of {len(cluster.people)} {'person' if len(cluster.people) == 1 else 'people'}" if cluster.people else ""
    was = ", rejected" if proposal.rejected_at else ""
    yield printable(f"{proposal.id}  {cluster.name}  ({asked}{people}{was})")
    others = [name for name in cluster.names if name != cluster.name]
    if others:
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""  # noqa: PLR2004
        yield INDENT + printable(f"also: {', '.join(others[:8])}{more}")
    for example in proposal.examples:
        yield INDENT + printable(f"“{example}”")


def summary_of(content: object) -> str:
    """The categories of a stored version in one line."""
    categories = content["categories"] if isinstance(content, dict) else []
    return ", ".join(str(one["name"]) for one in categories)
