"""`prompts eval`: measures a prompt, or an alias, on labelled rows, alone or against another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.running import run_async
from feedback_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from feedback_gateway.evaluation.datasets import Dataset
    from feedback_gateway.evaluation.figures import Report
    from feedback_gateway.evaluation.page import Against
    from feedback_gateway.evaluation.runner import Run, Subject
    from feedback_gateway.settings import Settings

DataOption = Annotated[Path | None, typer.Option(help="Labelled rows, JSON Lines or CSV.")]
ModelOption = Annotated[str | None, typer.Option(help="An alias of model_list.")]
VersionOption = Annotated[int | None, typer.Option(min=1, help="The prompt version to measure.")]
TextColumnOption = Annotated[str | None, typer.Option(help="The column that holds the text.")]
LabelColumnOption = Annotated[str | None, typer.Option(help="The column that holds the label.")]
ExamplesOption = Annotated[
    int, typer.Option(min=0, help="Rows a label that are learned from and not measured (categorize).")
]
TrainOption = Annotated[Path | None, typer.Option(help="Take the rows to learn from out of this file.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Measure only so many rows.")]
FormatOption = Annotated[Literal["table", "json"], typer.Option("--format", help="What is printed.")]


def evaluate_prompt(
    *,
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="The task to measure.")] = None,
    data: DataOption = None,
    model: ModelOption = None,
    version: VersionOption = None,
    baseline: Annotated[int | None, typer.Option(min=1, help="A prompt version to compare with.")] = None,
    baseline_model: Annotated[str | None, typer.Option(help="An alias to compare with.")] = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    examples: ExamplesOption = 0,
    train: TrainOption = None,
    limit: LimitOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file, too.")] = None,
    output: FormatOption = "table",
    all_sets: Annotated[
        Path | None, typer.Option("--all", metavar="FOLDER", help="Measure every known labelled set in FOLDER.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Measure a prompt on labelled rows: accuracy, macro-F1, confusion, calibration, evidence, cost and latency."""
    from feedback_gateway.evaluation.runner import Subject
    from feedback_gateway.settings import load_settings

    settings = load_settings(config)
    subject = Subject(model=model, version=version)
    if all_sets is not None:
        measure_folder(settings, all_sets, subject=subject, limit=limit, output=output)
        return
    if task is None or data is None:
        raise ConfigurationError("prompts eval needs a TASK and --data FILE, or --all FOLDER")
    dataset = read_dataset(settings, task, data, columns=(text_column, label_column), examples=examples, train=train)
    other = None
    if baseline is not None or baseline_model is not None:
        other = Subject(model=baseline_model or model, version=baseline or version)
    measure_set(settings, dataset, subject=subject, baseline=other, limit=limit, html=html, output=output)


def read_dataset(
    settings: "Settings",
    task: str,
    data: Path,
    *,
    columns: tuple[str | None, str | None],
    examples: int,
    train: Path | None,
) -> "Dataset":
    """The rows of a file; `columns` are those of text and label where they were named."""
    from feedback_gateway.cli.labelled_rows import read_columns
    from feedback_gateway.evaluation.datasets import describe_dataset
    from feedback_gateway.tasks.taxonomy import load_taxonomy

    text_column, label_column = columns
    return describe_dataset(
        task,
        data,
        read_columns,
        text_column=text_column,
        label_column=label_column,
        examples=examples,
        train=train,
        configured={category.name for category in load_taxonomy(settings.taxonomy).categories},
    )


def measure_set(
    settings: "Settings",
    dataset: "Dataset",
    *,
    subject: "Subject",
    baseline: "Subject | None",
    limit: int | None,
    html: Path | None,
    output: str,
) -> None:
    """Measure one set, beside a baseline where there is one, and show it."""
    from feedback_gateway.evaluation.comparison import compare
    from feedback_gateway.evaluation.figures import report_on
    from feedback_gateway.evaluation.page import Against, render_page
    from feedback_gateway.evaluation.runner import measure

    run = run_async(measure(settings, dataset, subject=subject, limit=limit))
    report = report_on(run)
    against = None
    if baseline is not None:
        other = run_async(measure(settings, dataset, subject=baseline, limit=limit))
        against = Against(run=other, report=report_on(other), comparison=compare(other, run))
    show(run, report, against, output=output)
    if html is not None:
        write_file(html, render_page(run, report, against=against))
        typer.echo(f"written: {html}", err=True)


def show(run: "Run", report: "Report", against: "Against | None", *, output: str) -> None:
    """Print what was measured."""
    from feedback_gateway.cli.eval_report import comparison_lines, report_lines
    from feedback_gateway.evaluation.plain import comparison_json, report_json

    if output == "json":
        made = report_json(run, report)
        if against is not None:
            made["baseline"] = report_json(against.run, against.report) | comparison_json(against.comparison)
        typer.echo(json.dumps(made, ensure_ascii=False, indent=2))
        return
    lines = report_lines(run, report)
    if against is not None:
        lines += comparison_lines(report, against.report, against.comparison, name=against.run.name)
    typer.echo("\n".join(lines))


def measure_folder(settings: "Settings", folder: Path, *, subject: "Subject", limit: int | None, output: str) -> None:
    """Measure every known set in `folder`, one line each."""
    from feedback_gateway.cli.eval_report import overview
    from feedback_gateway.cli.labelled_rows import read_columns
    from feedback_gateway.evaluation.datasets import known_datasets
    from feedback_gateway.evaluation.figures import report_on
    from feedback_gateway.evaluation.plain import report_json
    from feedback_gateway.evaluation.runner import measure_all

    datasets = known_datasets(folder, read_columns)
    runs = run_async(measure_all(settings, datasets, subject=subject, limit=limit, report=show_progress))
    results = [(run, report_on(run)) for run in runs]
    if output == "json":
        typer.echo(json.dumps([report_json(*one) for one in results], ensure_ascii=False, indent=2))
    else:
        typer.echo(overview(results))


def show_progress(dataset: "Dataset") -> None:
    """Name the set that is being measured, for whoever waits."""
    typer.echo(f"measuring {dataset.name} …", err=True)


def write_file(path: Path, text: str) -> None:
    """Write a file. Raises ConfigurationError where it cannot be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
