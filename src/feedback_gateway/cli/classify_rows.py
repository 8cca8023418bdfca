"""The work of `classify`: rows from a file through a task to an output, in order and without holding the file."""

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, BinaryIO

from feedback_gateway.api.rendering import answer_json, failure_json
from feedback_gateway.cli.classify import ClassifyOptions
from feedback_gateway.cli.csv_in import CsvRows, find_column, recognise_dialect
from feedback_gateway.cli.progress import Tally, display
from feedback_gateway.cli.resume import OnExisting, Written, open_output, skip_written
from feedback_gateway.cli.rows_in import InputFormat, Row, Source, json_rows, open_source, recognise_format
from feedback_gateway.cli.rows_out import (
    CsvLayout,
    CsvWriter,
    JsonLinesWriter,
    RowWriter,
    TableWriter,
    csv_layout,
)
from feedback_gateway.cli.running import in_thread, run_async
from feedback_gateway.cli.terminal import complain, terminal_width
from feedback_gateway.errors import ConfigurationError, InvalidRequest
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure
from feedback_gateway.tasks.registry import Task

CONSUMER = "local"
MAX_ID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An opened input and all that was asked for. `columns` is the header of a CSV file, None for JSON Lines."""

    options: ClassifyOptions
    settings: Settings
    source: Source
    rows: Iterator[Row]
    input_format: InputFormat
    text_column: str
    columns: tuple[str, ...] | None
    on_existing: OnExisting


def open_run(options: ClassifyOptions, settings: Settings, source: Source) -> Run:
    """Recognise the input. Raises ConfigurationError for options or a file that cannot work."""
    on_existing = check_output(options)
    if options.concurrency is not None:
        limits = settings.limits.model_copy(update={"concurrency": options.concurrency})
        settings = settings.model_copy(update={"limits": limits})
    if source.notice:
        complain(f"{source.name}: {source.notice}", code=0)
    input_format = options.input_format or recognise_format(source, options.file)
    text_column = options.text_column
    columns = None
    if input_format == "csv":
        table = CsvRows(source, recognise_dialect(source.sample, text_column))
        columns = tuple(table.columns)
        text_column = require_column(columns, text_column, source=source)
        rows = iter(table)
    else:
        rows = json_rows(source)
    return Run(
        options=options,
        settings=settings,
        source=source,
        rows=rows,
        input_format=input_format,
        text_column=text_column,
        columns=columns,
        on_existing=on_existing,
    )


def check_output(options: ClassifyOptions) -> OnExisting:
    """What to do with an output that exists. Raises ConfigurationError for options that contradict each other."""
    if options.resume and options.output is None:
        raise ConfigurationError("--resume needs --output: it goes on with that file")
    if options.resume and options.force:
        raise ConfigurationError("--resume and --force contradict each other; give one of them")
    if options.resume and options.output_format == "table":
        raise ConfigurationError("--resume needs --format jsonl or csv; a table cannot be read back")
    written = [path for path in (options.output, options.file) if path is not None and path.exists()]
    if len(written) > 1 and written[0].samefile(written[1]):
        raise ConfigurationError(f"--output {options.output} is the input itself; name another file")
    if options.resume:
        return "resume"
    return "overwrite" if options.force else "refuse"


def require_column(columns: tuple[str, ...], wanted: str, *, source: Source) -> str:
    """The name of the text column. Raises ConfigurationError that names the columns there are."""
    found = find_column(columns, wanted)
    if found is None and columns:
        have = ", ".join(columns)
        raise ConfigurationError(
            f"{source.name} has no column {wanted!r}; it has: {have}. Name the one with the text in --text-column"
        )
    return found or wanted


def classify_file(options: ClassifyOptions, settings: Settings) -> Tally:
    """Answer every row of a file that is not answered yet; what came of all of them."""
    with open_source(options.file, encoding=options.encoding) as source:
        return run_async(answer_rows(open_run(options, settings, source)))


async def answer_rows(run: Run) -> Tally:
    """Answer every row that is not answered yet; what came of all of them."""
    async with open_services(run.settings) as services:
        task = services.registry.get(run.options.task, run.options.prompt_version)
        stream = sys.stdout.buffer
        if run.options.output is not None:
            stream = open_output(run.options.output, on_existing=run.on_existing)
        try:
            return await write_answers(run, services, task, stream)
        finally:
            if run.options.output is not None:
                stream.close()


async def write_answers(run: Run, services: Services, task: Task, stream: BinaryIO) -> Tally:
    """Skip what is written, then write one row after the other."""
    rows = run.rows
    layout = None
    if run.options.output_format == "csv":
        layout, rows = plan_csv(run, rows, task.result_schema)
    written = Written()
    if run.on_existing == "resume":
        written = await skip_written(stream, rows, task=task.name, layout=layout)
    writer = build_writer(run, task, stream, layout)
    if stream_is_new(stream, run):
        writer.start()
    tally = Tally(rows=written.rows, failed=written.failed)
    with display(run.source.size) as shown:
        async with aclosing(answers(run, services, task, rows)) as outcomes:
            async for row, outcome in outcomes:
                writer.write(row.columns, row_json(row, outcome))
                tally.add(outcome.receipt, failed=isinstance(outcome, Failure))
                shown.show(tally, position=run.source.position())
    return tally


def stream_is_new(stream: BinaryIO, run: Run) -> bool:
    """Whether nothing stands in the output yet."""
    return run.on_existing != "resume" or stream.tell() == 0


def plan_csv(run: Run, rows: Iterator[Row], result_schema: Mapping[str, Any]) -> tuple[CsvLayout, Iterator[Row]]:
    """The columns to write, of JSON Lines by its first readable row, and the rows with that one back in its place."""
    if run.columns is not None:
        return csv_layout(run.columns, result_schema, overflow=False), rows
    seen: deque[Row] = deque()
    names: tuple[str, ...] = (run.text_column,)
    for row in rows:
        seen.append(row)
        if row.error is None or len(seen) == MAX_ID:
            names = tuple(row.columns) or names
            break

    def all_rows() -> Iterator[Row]:
        yield from seen
        yield from rows

    return csv_layout(names, result_schema, overflow=True), all_rows()


def build_writer(run: Run, task: Task, stream: BinaryIO, layout: CsvLayout | None) -> RowWriter:
    """The writer of the format that was asked for."""
    if layout is not None:
        return CsvWriter(stream, layout)
    if run.options.output_format == "jsonl":
        return JsonLinesWriter(stream)
    return TableWriter(stream, task.result_schema, text_column=run.text_column, width=terminal_width())


async def answers(
    run: Run, services: Services, task: Task, rows: Iterator[Row]
) -> AsyncGenerator[tuple[Row, Answer | Failure]]:
    """Each row with what came of it, in order. Rows that could not be read go through as well, to keep their place."""
    begun: deque[Row] = deque()
    properties = task.prompt.input_schema.get("properties", {})

    async def items() -> AsyncIterator[object]:
        if run.source.size is None:
            async for row in in_thread(rows):
                begun.append(row)
                yield row_item(row, properties, run)
            return
        for row in rows:
            begun.append(row)
            yield row_item(row, properties, run)
            await asyncio.sleep(0)

    options = CallOptions(model=run.options.model, prompt_version=run.options.prompt_version)
    stream = services.tasks.stream(task.name, items(), consumer=CONSUMER, options=options)
    async for outcome in stream:
        row = begun.popleft()
        failure = unusable(row, run)
        yield row, Failure(id=None, error=failure) if failure else outcome


def unusable(row: Row, run: Run) -> InvalidRequest | None:
    """Why a row cannot be sent, where that is so."""
    if row.error is not None:
        return row.error
    if run.options.text_column != "text" and run.text_column not in row.columns:
        return InvalidRequest(f"line {row.line}: no column {run.text_column!r}")
    return None


def row_item(row: Row, properties: Mapping[str, Any], run: Run) -> dict[str, Any] | None:
    """The item of the task call: the text and every column that the task takes; None where there is none."""
    if unusable(row, run) is not None:
        return None
    item = {
        name: cell_value(value, properties[name]) if run.input_format == "csv" else value
        for name, value in row.columns.items()
        if name in properties and value is not None and (value != "" or name == "text")
    }
    if run.text_column in row.columns:
        item["text"] = row.columns[run.text_column]
    row_id = row.columns.get("id")
    if isinstance(row_id, str | int) and not isinstance(row_id, bool) and len(str(row_id)) <= MAX_ID:
        item["id"] = row_id
    return item


def cell_value(cell: str, schema: Mapping[str, Any]) -> Any:
    """A CSV cell as the type its input wants: JSON where that is no string."""
    if schema.get("type", "string") == "string":
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def row_json(row: Row, outcome: Answer | Failure) -> dict[str, Any]:
    """What is written beside the row's columns: the answer, or the error and the line it is about."""
    if isinstance(outcome, Answer):
        return answer_json(outcome)
    return {"line": row.line, **failure_json(outcome)}
