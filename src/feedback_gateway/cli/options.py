"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

OutputFormat = Literal["jsonl", "csv", "table"]

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; ./gateway.yaml where there is one."),
]
