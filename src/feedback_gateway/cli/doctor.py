"""`doctor`: checks what the gateway needs and says how to mend what is wrong."""

from typing import Annotated

import typer

from feedback_gateway.cli.options import ConfigOption


def doctor(
    *,
    live: Annotated[bool, typer.Option("--live", help="Send one small request to every deployment.")] = False,
    config: ConfigOption = None,
) -> None:
    """Check configuration, database, prompts, taxonomy and deployments; exits with 1 if anything fails."""
    from feedback_gateway.cli.checkup import examine
    from feedback_gateway.cli.running import run_async
    from feedback_gateway.cli.terminal import printable

    findings = run_async(examine(config, live=live))
    for finding in findings:
        mend = f" → {finding.mend}" if finding.mend else ""
        typer.echo(f"{finding.state:<4}  {finding.part}: {printable(finding.message + mend)}")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)
