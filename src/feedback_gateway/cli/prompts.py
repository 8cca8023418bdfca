"""`prompts`: lists prompt files and checks them; what measures them stands beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feedback_gateway.cli.calibrating import calibrate_task
from feedback_gateway.cli.disagreements import disagreements
from feedback_gateway.cli.measuring import evaluate_prompt
from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.terminal import format_table, line_width, printable
from feedback_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from feedback_gateway.settings import TaskSettings

app = typer.Typer(
    help="List, check and measure prompt files.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)


app.command("disagreements")(disagreements)


@app.command("list")
def list_prompts(config: ConfigOption = None) -> None:
    """List every prompt with its versions, the one that serves last."""
    from feedback_gateway.prompts.library import PromptLibrary
    from feedback_gateway.services import prompt_folders
    from feedback_gateway.settings import TaskSettings, load_settings

    settings = load_settings(config)
    library = PromptLibrary.load(prompt_folders(settings))
    rows = []
    for name in library.names():
        chosen = settings.tasks.get(name, TaskSettings())
        prompt = library.get(name, chosen.version)
        versions = ", ".join(str(version) for version in library.versions(name))
        rows.append(
            [name, versions, serving_cell(prompt.version, chosen), chosen.model or prompt.model, prompt.description]
        )
    typer.echo(format_table(["task", "versions", "serves", "model", "description"], rows, width=line_width()))


def serving_cell(version: int, chosen: "TaskSettings") -> str:
    """The version that serves, and what runs beside it."""
    canary = [] if chosen.canary is None else [f"{chosen.canary.version} for {chosen.canary.share:.3g} of all"]
    shadow = [] if chosen.shadow is None else [f"{chosen.shadow} as shadow"]
    deprecated = " (deprecated)" if version in chosen.deprecations else ""
    return ", ".join([f"{version}{deprecated}", *canary, *shadow])


@app.command("check")
def check_prompts(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="Folders to check; the configured ones if none.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Check every prompt file and show all that is wrong as `file:line: reason`; exits with 1 if anything is."""
    from feedback_gateway.prompts.library import PromptLibrary
    from feedback_gateway.services import prompt_folders
    from feedback_gateway.settings import load_settings
    from feedback_gateway.tasks.registry import RESERVED

    for folder in folders or []:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is no folder; name one that holds .prompt files")
    library = PromptLibrary(folders or prompt_folders(load_settings(config)))
    problems = list(library.broken.values())
    for name in library.names():
        if name in RESERVED:
            path = library.get(name).path
            problems.append(f"{path}:1: the name {name!r} belongs to another route; choose another")
    for problem in sorted(problems):
        typer.echo(printable(problem))
    if problems:
        raise typer.Exit(1)
    count = sum(len(library.versions(name)) for name in library.names())
    typer.echo(f"{count} prompts are in order.")


app.command("eval")(evaluate_prompt)
app.command("calibrate")(calibrate_task)
