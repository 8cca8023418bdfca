"""`demo`: the bundled sample feedback through the embedded model, or a tour of the gateway; leaves nothing behind."""

from typing import Annotated

import typer

from feedback_gateway.errors import ConfigurationError


def demo(
    *,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="Show failover, cache, budget and ledger in front of scripted providers.")
    ] = False,
    learn: Annotated[
        bool, typer.Option("--learn", help="Sort a labelled file before and after people corrected 200 of its rows.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --gateway: let it all run on until Ctrl-C.")] = False,
) -> None:
    """Classify real sample feedback without key or network; prints a table, a digest and the cost."""
    from tempfile import TemporaryDirectory

    from feedback_gateway.cli.running import run_async

    if keep and not gateway:
        raise ConfigurationError("--keep needs --gateway: nothing else of the demonstration runs on")
    if learn and gateway:
        raise ConfigurationError("--learn and --gateway show different things: give one of them")
    with TemporaryDirectory(prefix="feedback-gateway-demo-") as folder:
        if gateway:
            from feedback_gateway.cli.gateway_demo import run_gateway_demo, stay

            run_async(run_gateway_demo(folder, afterwards=stay if keep else None))
            return
        if learn:
            from feedback_gateway.cli.learning_demo import run_learning_demo

            typer.echo(run_async(run_learning_demo(folder)))
            return
        from feedback_gateway.cli.demo_run import run_demo

        typer.echo(run_async(run_demo(folder)))
