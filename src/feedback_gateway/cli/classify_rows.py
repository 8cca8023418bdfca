"""The work of `classify`: rows from a file through a task to an output, in order and without holding the file."""

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from feedback_gateway.api.rendering import answer_json, failure_json
from feedback_gateway.cli.classify import ClassifyOptions
from feedback_gateway.cli.progress import Display, NoDisplay, Tally, display
from feedback_gateway.cli.redoing import Redone, replacing
from feedback_gateway.cli.resume import OnExisting, Written, open_output, reason_of, skip_written
from feedback_gateway.cli.rows_in import InputFormat, Row, Source, open_source
from feedback_gateway.cli.rows_out import (
    CsvLayout,
    CsvWriter,
    JsonLinesWriter,
    RowWriter,
    csv_layout,
    schema_paths,
)
from feedback_gateway.cli.running import in_thread, run_async
from feedback_gateway.cli.table_in import open_table
from feedback_gateway.cli.table_out import TableWriter, schema_at
from feedback_gateway.cli.terminal import complain, terminal_width
from feedback_gateway.errors import ConfigurationError, InvalidRequest
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure
from feedback_gateway.tasks.registry import Task

MAX_ID = 200
MOST_AHEAD = 200
LEAST_ID_WIDTH = 6
Outcomes = AsyncGenerator[tuple[Row, Answer | Failure, int]]


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
    table = open_table(source, options.file, input_format=options.input_format, text_column=options.text_column)
    return Run(
        options=options,
        settings=settings,
        source=source,
        rows=table.rows,
        input_format=table.input_format,
        text_column=table.text_column,
        columns=table.columns,
        on_existing=on_existing,
    )


def check_output(options: ClassifyOptions) -> OnExisting:
    """What to do with an output that exists. Raises ConfigurationError for options that contradict each other."""
    named = "--retry-failed" if options.retry_failed else "--resume"
    goes_on = options.resume or options.retry_failed
    if goes_on and options.output is None:
        raise ConfigurationError(f"{named} needs --output: it goes on with that file")
    if goes_on and options.force:
        raise ConfigurationError(f"{named} and --force contradict each other; give one of them")
    if goes_on and options.output_format == "table":
        raise ConfigurationError(f"{named} needs --format jsonl or csv; a table cannot be read back")
    written = [path for path in (options.output, options.file) if path is not None and path.exists()]
    if len(written) > 1 and written[0].samefile(written[1]):
        raise ConfigurationError(f"--output {options.output} is the input itself; name another file")
    if goes_on:
        return "resume"
    return "overwrite" if options.force else "refuse"


def classify_file(options: ClassifyOptions, settings: Settings) -> Tally:
    """Answer every row of a file that is not answered yet; what came of all of them."""
    with open_source(options.file, encoding=options.encoding) as source:
        return run_async(answer_rows(open_run(options, settings, source)))


async def answer_rows(run: Run) -> Tally:
    """Answer every row that is not answered yet; what came of all of them."""
    async with open_services(run.settings) as services:
        task = services.registry.get(run.options.task, run.options.prompt_version)
        require_alias(run, services)
        require_inputs(run, task)
        with ExitStack() as opened:
            stream = sys.stdout.buffer
            if run.options.output is not None:
                stream = opened.enter_context(open_output(run.options.output, on_existing=run.on_existing))
            return await write_answers(run, services, task, stream, opened)


def require_alias(run: Run, services: Services) -> None:
    """Raise ConfigurationError for a model that nobody serves, before anything is written."""
    aliases = dict.fromkeys(deployment.alias for deployment in services.deployments)
    if run.options.model is not None and run.options.model not in aliases:
        raise ConfigurationError(f"--model {run.options.model}: no such model; there are: {', '.join(aliases)}")


def require_inputs(run: Run, task: Task) -> None:
    """Raise ConfigurationError where no row can have all that the task needs. Rows of JSON Lines differ."""
    needed = [name for name in task.prompt.input_schema.get("required", ()) if name not in {"text", "texts"}]
    missing = [name for name in needed if run.columns and name not in run.columns]
    if missing:
        columns = " and ".join(f"`{name}`" for name in missing)
        have = ", ".join(run.columns or ())
        raise ConfigurationError(
            f"--task {task.name}: each row needs a column {columns}; {run.source.name} has: {have}"
        )


async def write_answers(run: Run, services: Services, task: Task, stream: BinaryIO, opened: ExitStack) -> Tally:
    """Skip what is written, or ask again about what failed of it, then write one row after the other.

    `opened` closes the file that takes the place of `stream`, if any.
    """
    rows = run.rows
    layout = None
    if run.options.output_format == "csv":
        layout, rows = plan_csv(run, rows, task.result_schema)
    id_width = 0
    if run.options.output_format == "table":
        id_width, rows = measure_ids(run, rows)
    written = Written()
    if run.on_existing == "resume":
        written = await skip_written(stream, rows, task=task.name, layout=layout)
    tally = Tally(rows=written.rows, kept=written.rows)
    redone: tuple[Row, ...] = ()
    if run.options.retry_failed:
        redone = tuple(one.row for one in written.lost)
        tally = Tally(rows=written.rows - len(redone), kept=written.rows - len(redone))
    else:
        for one in written.lost:
            tally.fail(one.reason)
    with progress(run) as shown:
        if redone and run.options.output is not None:
            with replacing(run.options.output) as fresh:
                writer = build_writer(run, services, task, fresh, layout=layout, id_width=0)
                place = Redone(stream, fresh, written.lost)
                await write_rows(
                    answers(run, services, task, iter(redone)), writer, tally, shown, before=place.make_room
                )
                place.copy_rest()
            stream = opened.enter_context(fresh)
        writer = build_writer(run, services, task, stream, layout=layout, id_width=id_width)
        if stream_is_new(stream, run):
            writer.start()
        await write_rows(answers(run, services, task, rows), writer, tally, shown)
    return tally


async def write_rows(
    outcomes: Outcomes, writer: RowWriter, tally: Tally, shown: Display, *, before: Callable[[], None] | None = None
) -> None:
    """Write one row after the other, and count them; `before` is done before each."""
    async with aclosing(outcomes):
        async for row, outcome, position in outcomes:
            answered = row_json(row, outcome)
            if before is not None:
                before()
            writer.write(row.columns, answered)
            tally.add(outcome.receipt)
            if isinstance(outcome, Failure):
                tally.fail(reason_of(answered["error"]))
            shown.show(tally, position=position)


def progress(run: Run) -> AbstractContextManager[Display]:
    """A progress bar, but where the rows themselves run over the terminal: they would tear it apart."""
    if run.options.output is None and sys.stdout.isatty():
        return nullcontext(NoDisplay())
    return display(run.source.size)


def stream_is_new(stream: BinaryIO, run: Run) -> bool:
    """Whether nothing stands in the output yet."""
    return run.on_existing != "resume" or stream.tell() == 0


def plan_csv(run: Run, rows: Iterator[Row], result_schema: Mapping[str, Any]) -> tuple[CsvLayout, Iterator[Row]]:
    """The columns to write, of JSON Lines by its first readable row, and the rows with that one back in its place."""
    if run.columns is not None:
        return csv_layout(run.columns, result_schema, overflow=False), rows
    first, rows = look_ahead(rows)
    names = tuple(first.columns) if first is not None else ()
    return csv_layout(names or (run.text_column,), result_schema, overflow=True), rows


def measure_ids(run: Run, rows: Iterator[Row]) -> tuple[int, Iterator[Row]]:
    """Cells for the ids by the first readable row, 0 where it has none, and all rows; a pipe is not waited for."""
    if run.source.size is None:
        return LEAST_ID_WIDTH, rows
    first, rows = look_ahead(rows)
    if first is None or first.columns.get("id") in (None, ""):
        return 0, rows
    return max(len(str(first.columns["id"])), LEAST_ID_WIDTH), rows


def look_ahead(rows: Iterator[Row]) -> tuple[Row | None, Iterator[Row]]:
    """The first readable row, None where none comes soon, and the rows with all that were read back in place."""
    seen: list[Row] = []
    first = None
    for row in rows:
        seen.append(row)
        if row.error is None:
            first = row
        if first is not None or len(seen) == MOST_AHEAD:
            break
    return first, chain(seen, rows)


def build_writer(
    run: Run, services: Services, task: Task, stream: BinaryIO, *, layout: CsvLayout | None, id_width: int
) -> RowWriter:
    """The writer of the format that was asked for."""
    if layout is not None:
        return CsvWriter(stream, layout)
    if run.options.output_format == "jsonl":
        return JsonLinesWriter(stream)
    return TableWriter(
        stream,
        task.result_schema,
        choices=label_choices(services, task),
        text_column=run.text_column,
        id_width=id_width,
        width=terminal_width(),
    )


def label_choices(services: Services, task: Task) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The values that the configured taxonomy leaves to a result."""
    schema = task.answer_schema({"taxonomy": services.taxonomy.current.as_json()})
    enumerations = {path: schema_at(schema, path).get("enum", ()) for path in schema_paths(schema) if path}
    choices = {path: tuple(value for value in values if value) for path, values in enumerations.items()}
    return {**choices, ("route", "team"): tuple(team.name for team in services.taxonomy.current.teams)}


async def answers(run: Run, services: Services, task: Task, rows: Iterator[Row]) -> Outcomes:
    """Each row with what came of it and the bytes of the input up to it, in order.

    Rows that could not be read go through as well, to keep their place.
    """
    begun: deque[tuple[Row, int]] = deque()
    properties = task.prompt.input_schema.get("properties", {})

    async def items() -> AsyncIterator[object]:
        if run.source.size is None:
            async for row in in_thread(rows):
                begun.append((row, run.source.position()))
                yield row_item(row, properties, run)
            return
        for row in rows:
            begun.append((row, run.source.position()))
            yield row_item(row, properties, run)
            await asyncio.sleep(0)

    options = CallOptions(model=run.options.model, prompt_version=run.options.prompt_version)
    stream = services.tasks.stream(
        task.name, items(), consumer=await asyncio.to_thread(services.books.consumers.local), options=options
    )
    async for outcome in stream:
        row, position = begun.popleft()
        failure = unusable(row, run)
        yield row, Failure(id=None, error=failure) if failure else outcome, position


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
    call = {} if outcome.call_id is None else {"call_id": outcome.call_id}
    return {"line": row.line, **call, **failure_json(outcome)}
