"""The command line: names the commands and turns every failure into one line and an exit code.

0 done, 1 the work failed, 2 wrong usage or configuration. Nothing heavy is imported before a command runs.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from feedback_gateway import __version__
from feedback_gateway.cli import (
    classify,
    consumers,
    db,
    demo,
    doctor,
    feedback,
    keys,
    ledger,
    prompts,
    replay,
    serve,
    taxonomy,
    usage,
    worker,
)
from feedback_gateway.cli.terminal import complain
from feedback_gateway.errors import ConfigurationError, Conflict, GatewayError, InvalidRequest, NotFound, UnknownTask

POSSIBLE = re.compile(r" \(Possible options: (.*)\)$")
WRONG_USAGE = (ConfigurationError, UnknownTask, InvalidRequest, Conflict, NotFound)


class CommandLine(TyperGroup):
    """All commands; a failure that reaches it is told in one line on standard error."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - the signature of what it overrides
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002
        **extra: Any,
    ) -> Any:
        """Run one command and exit with its code; `standalone_mode` False returns the code in place of exiting."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra) or 0
        except typer.TyperException as error:
            code, said = error.exit_code, error.format_message()
            if type(error).__name__ == "NoArgsIsHelpError":  # typer's own, which it does not export
                typer.echo(said, err=True)
            else:
                said = POSSIBLE.sub(r". Did you mean \1?", said.replace("Value error, ", ""))
                complain(said + choices_for(error, said), code=code)
        except WRONG_USAGE as error:
            code = complain(explain(error), code=2)
        except GatewayError as error:
            code = complain(error.detail, code=1)
        except typer.Abort:
            code = complain("stopped", code=130)
        except OSError as error:
            code = complain(str(error), code=1)
        if standalone_mode:
            sys.exit(code)
        return code


def choices_for(error: typer.TyperException, said: str) -> str:
    """What there is in place of an option or a command that there is not, to go on a complaint with."""
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    if type(error).__name__ == "NoSuchOption":  # typer's own, which it does not export
        names = [name for one in context.command.get_params(context) for name in one.opts if name.startswith("--")]
    elif str(error).startswith("No such command"):
        names = context.command.list_commands(context)
    else:
        return ""
    return f"{'' if said.endswith('?') else '.'} There are: {', '.join(names)}"


def explain(error: GatewayError) -> str:
    """The detail, and the choices that there are where it does not name them."""
    for place in error.problems[:1]:
        choices = place.msg.rpartition("; ")[-1]
        if choices not in error.detail:
            return f"{error.detail}; {choices}"
    return error.detail


app = typer.Typer(
    name="feedback-gateway",
    cls=CommandLine,
    help="Turns the words that users write into checked, structured answers, through any LLM, at a known cost.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:  # noqa: FBT001 - an option's callback
    """Print the version and stop."""
    if wanted:
        typer.echo(f"feedback-gateway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Show the version."),
) -> None:
    """Take the options that stand before any command."""


app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("demo")(demo.demo)
app.command("classify")(classify.classify)
app.add_typer(feedback.app, name="feedback")
app.add_typer(prompts.app, name="prompts")
app.add_typer(taxonomy.app, name="taxonomy")
app.add_typer(consumers.app, name="consumers")
app.add_typer(keys.app, name="keys")
app.add_typer(ledger.app, name="ledger")
app.command("usage")(usage.usage)
app.command("replay")(replay.replay)
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)
