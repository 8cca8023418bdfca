"""`prompts`: lists prompt files, checks them, and measures them on labelled rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feedback_gateway.cli.disagreements import disagreements
from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.running import run_async
from feedback_gateway.cli.terminal import format_table, line_width, printable
from feedback_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from feedback_gateway.evaluation.datasets import Dataset
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


@app.command("eval")
def evaluate_prompt(
    *,
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="The task to measure.")] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled rows, JSON Lines or CSV.")] = None,
    model: Annotated[str | None, typer.Option(help="An alias of model_list.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The prompt version to measure.")] = None,
    baseline: Annotated[int | None, typer.Option(min=1, help="A prompt version to compare with.")] = None,
    text_column: Annotated[str | None, typer.Option(help="The column that holds the text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="The column that holds the label.")] = None,
    examples: Annotated[
        int, typer.Option(min=0, help="Rows a label that are learned from and not measured (categorize).")
    ] = 0,
    train: Annotated[Path | None, typer.Option(help="Take the rows to learn from out of this file.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Measure only so many rows.")] = None,
    all_sets: Annotated[
        Path | None, typer.Option("--all", metavar="FOLDER", help="Measure every known labelled set in FOLDER.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Measure a prompt on labelled rows: accuracy, macro-F1, confusion, calibration, evidence, cost and latency."""
    from feedback_gateway.cli.eval_report import comparison_lines, overview, report_lines
    from feedback_gateway.cli.labelled_rows import read_columns
    from feedback_gateway.evaluation.datasets import describe_dataset, known_datasets
    from feedback_gateway.evaluation.runner import Subject, evaluate, evaluate_all
    from feedback_gateway.settings import load_settings

    settings = load_settings(config)
    subject = Subject(model=model, version=version)
    if all_sets is not None:
        datasets = known_datasets(all_sets, read_columns)
        results = run_async(evaluate_all(settings, datasets, subject=subject, limit=limit, report=show_progress))
        typer.echo(overview(results))
        return
    if task is None or data is None:
        raise ConfigurationError("prompts eval needs a TASK and --data FILE, or --all FOLDER")
    dataset = describe_dataset(
        task,
        data,
        read_columns,
        text_column=text_column,
        label_column=label_column,
        examples=examples,
        train=train,
    )
    report = run_async(evaluate(settings, dataset, subject=subject, limit=limit))
    typer.echo("\n".join(report_lines(dataset, report)))
    if baseline is not None:
        other = run_async(evaluate(settings, dataset, subject=Subject(model=model, version=baseline), limit=limit))
        typer.echo("\n".join(comparison_lines(report, other, baseline=baseline)))


def show_progress(dataset: "Dataset") -> None:
    """Name the set that is being measured, for whoever waits."""
    typer.echo(f"measuring {dataset.name} …", err=True)
