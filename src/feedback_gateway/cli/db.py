"""`db`: the database's schema."""

import typer

from feedback_gateway.cli.options import ConfigOption

app = typer.Typer(help="Look after the database.", rich_markup_mode=None, no_args_is_help=True, add_completion=False)


@app.command("upgrade")
def upgrade_schema(config: ConfigOption = None) -> None:
    """Make the database's tables, or bring them up to date; `serve` does so by itself."""
    from feedback_gateway.settings import load_settings
    from feedback_gateway.storage.engine import HEAD, describe, open_engine, upgrade

    engine = open_engine(load_settings(config).database_url)
    try:
        found = upgrade(engine)
    finally:
        engine.dispose()
    change = "up to date already" if found == HEAD else f"upgraded from {found or 'nothing'} to {HEAD}"
    typer.echo(f"{describe(engine.url)}: schema {HEAD}, {change}")
