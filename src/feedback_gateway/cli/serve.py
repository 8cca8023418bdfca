"""`serve`: the HTTP gateway, in one process or several."""

from typing import Annotated

import typer

from feedback_gateway.cli.options import ConfigOption


def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the port.")] = 1,
    config: ConfigOption = None,
) -> None:
    """Run the gateway; prints its URL as soon as it answers there."""
    from feedback_gateway.environment import shared_metrics
    from feedback_gateway.settings import load_settings

    settings = load_settings(config)
    with shared_metrics(workers):
        from feedback_gateway.cli.server import run_server

        code = run_server(settings, host=host, port=port, workers=workers)
    if code:
        raise typer.Exit(code)
