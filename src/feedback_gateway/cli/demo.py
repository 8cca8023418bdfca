"""`demo`: the bundled sample feedback through the embedded model, in a database that is thrown away."""

import typer


def demo() -> None:
    """Classify real sample feedback without key or network; prints a table, a digest and the cost."""
    from tempfile import TemporaryDirectory

    from feedback_gateway.cli.demo_run import run_demo
    from feedback_gateway.cli.running import run_async

    with TemporaryDirectory(prefix="feedback-gateway-demo-") as folder:
        text = run_async(run_demo(folder))
    typer.echo(text)
