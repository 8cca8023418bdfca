"""`classify`: any task over a file or standard input, row by row; a failed row is written in its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feedback_gateway.cli.options import ConfigOption, OutputFormat
from feedback_gateway.cli.rows_in import InputFormat

if TYPE_CHECKING:
    from feedback_gateway.cli.progress import Tally

FileArgument = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="JSON Lines or CSV; standard input without it.")
]
FormatOption = Annotated[
    OutputFormat | None,
    typer.Option("--format", help="jsonl, csv (safe to open in a spreadsheet) or table; as --output ends, else jsonl."),
]
RetryOption = Annotated[
    bool, typer.Option("--retry-failed", help="As --resume, and ask again about the rows that failed.")
]
InputFormatOption = Annotated[InputFormat | None, typer.Option(help="jsonl or csv, where the file does not show it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions:
    """What the command line asked for."""

    file: Path | None
    task: str
    output_format: OutputFormat
    output: Path | None
    resume: bool
    retry_failed: bool
    force: bool
    text_column: str
    input_format: InputFormat | None
    encoding: str | None
    model: str | None
    prompt_version: int | None
    concurrency: int | None


def classify(
    *,
    file: FileArgument = None,
    task: Annotated[str, typer.Option(help="The task to run over each row.")] = "classify",
    output_format: FormatOption = None,
    output: Annotated[Path | None, typer.Option(help="Write here in place of standard output.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --output already holds.")] = False,
    retry_failed: RetryOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what --output already holds.")] = False,
    text_column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    input_format: InputFormatOption = None,
    encoding: Annotated[str | None, typer.Option(help="The file's encoding, where it is not recognised.")] = None,
    model: Annotated[str | None, typer.Option(help="An alias of model_list.")] = None,
    prompt_version: Annotated[int | None, typer.Option(min=1, help="A version of the prompt.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, max=1000, help="Rows worked on at the same time.")] = None,
    config: ConfigOption = None,
) -> None:
    """Run a task over every row of a file.

    An output row is the input row, its id and other columns as they were, and the answer of the task call beside
    them; a column that the answer itself has is renamed (`model` to `input_model`). A failed row has `error` and
    `line` in place of `result`. Exits with 1 if any row failed.
    """
    from feedback_gateway.cli.classify_rows import classify_file
    from feedback_gateway.settings import load_settings

    chosen = ClassifyOptions(
        file=file,
        task=task,
        output_format=output_format or format_of(output),
        output=output,
        resume=resume,
        retry_failed=retry_failed,
        force=force,
        text_column=text_column,
        input_format=input_format,
        encoding=encoding,
        model=model,
        prompt_version=prompt_version,
        concurrency=concurrency,
    )
    try:
        tally = classify_file(chosen, load_settings(config))
    except typer.Exit:
        if chosen.output is not None and chosen.output_format != "table":
            typer.echo("stopped; the same command with --resume goes on", err=True)
        raise
    say_outcome(tally, chosen)


def say_outcome(tally: "Tally", chosen: ClassifyOptions) -> None:
    """Say what came of a run. Raises Exit with 1 where rows failed."""
    typer.echo(tally.summary(), err=True)
    if tally.failed:
        typer.echo(place_of_errors(chosen), err=True)
        raise typer.Exit(1)


def place_of_errors(chosen: ClassifyOptions) -> str:
    """Where to read why each row failed, and how to ask again."""
    if chosen.output_format == "table":
        return "the table has each error in its row"
    kept = "on standard output" if chosen.output is None else f"in {chosen.output}"
    fields = "error.status, error.title and error.detail" if chosen.output_format == "csv" else "`error` and `line`"
    again = "" if chosen.output is None else "; the same command with --retry-failed asks again about them"
    return f"each failed row {kept} says why, in {fields}{again}"


def format_of(output: Path | None) -> OutputFormat:
    """The format that an output's name asks for."""
    return "csv" if output is not None and output.suffix.lower() == ".csv" else "jsonl"
