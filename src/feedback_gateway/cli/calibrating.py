"""`prompts calibrate`: from which confidence on answers may go without a person, and what a claimed one is worth."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from feedback_gateway.cli.measuring import (
    ExamplesOption,
    FormatOption,
    LabelColumnOption,
    LimitOption,
    ModelOption,
    TextColumnOption,
    TrainOption,
    VersionOption,
    read_dataset,
    write_file,
)
from feedback_gateway.cli.options import ConfigOption
from feedback_gateway.cli.running import run_async
from feedback_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from feedback_gateway.evaluation.calibrating import Finding
    from feedback_gateway.evaluation.runner import Run


def calibrate_task(
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task whose confidence is measured.")],
    data: Annotated[Path, typer.Option(help="Labelled rows, JSON Lines or CSV.")],
    precision: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="The share that must be right among answers without a person.")
    ] = 0.95,
    model: ModelOption = None,
    version: VersionOption = None,
    method: Annotated[
        Literal["isotonic", "platt"] | None,
        typer.Option(help="How the mapping is fitted; whichever fits better if not."),
    ] = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    examples: ExamplesOption = 0,
    train: TrainOption = None,
    limit: LimitOption = None,
    write: Annotated[Path | None, typer.Option(help="Keep mapping and threshold in this file.")] = None,
    output: FormatOption = "table",
    config: ConfigOption = None,
) -> None:
    """Find the confidence from which on answers are right often enough, or how many more labels that takes."""
    from feedback_gateway.evaluation.calibrating import calibrate
    from feedback_gateway.evaluation.plain import finding_json
    from feedback_gateway.evaluation.runner import Subject, measure
    from feedback_gateway.settings import load_settings

    settings = load_settings(config)
    dataset = read_dataset(settings, task, data, columns=(text_column, label_column), examples=examples, train=train)
    run = run_async(measure(settings, dataset, subject=Subject(model=model, version=version), limit=limit))
    finding = calibrate(run, target=precision, method=method)
    if output == "json":
        typer.echo(json.dumps(finding_json(finding), ensure_ascii=False, indent=2))
    else:
        from feedback_gateway.cli.calibration_report import finding_lines

        typer.echo("\n".join(finding_lines(run, finding)))
    if write is not None:
        keep(write, finding)
        typer.echo(how_to_use(write, run), err=True)


def keep(path: Path, finding: "Finding") -> None:
    """Add the calibration to a file, in the place of the one for the same task, version, deployment and taxonomy."""
    from feedback_gateway.tasks.calibration import CalibrationFile, load_calibrations

    known = load_calibrations(path) if path.exists() else CalibrationFile()
    if path.parent != Path() and not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} is no folder; create it first")
    write_file(path, known.with_one(finding.calibration).model_dump_json(indent=2) + "\n")


def how_to_use(path: Path, run: "Run") -> str:
    """What remains to be done."""
    said = f"written: {path}; name it in tasks.{run.dataset.task}.calibration"
    if run.dataset.taxonomy is None:
        return said
    return f"{said}. It holds for the taxonomy of this file's labels only, not for the configured one"
