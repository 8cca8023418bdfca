"""`demo`: the bundled sample feedback through the embedded model, or a tour of the gateway; leaves nothing behind."""

from typing import Annotated

import typer


def demo(
    *,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="Show failover, cache, budget and ledger in front of scripted providers.")
    ] = False,
) -> None:
    """Classify real sample feedback without key or network; prints a table, a digest and the cost."""
    from tempfile import TemporaryDirectory

    from feedback_gateway.cli.running import run_async

    with TemporaryDirectory(prefix="feedback-gateway-demo-") as folder:
        if gateway:
            from feedback_gateway.cli.gateway_demo import run_gateway_demo

            run_async(run_gateway_demo(folder))
            return
        from feedback_gateway.cli.demo_run import run_demo

        typer.echo(run_async(run_demo(folder)))
