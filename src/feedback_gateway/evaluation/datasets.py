"""Labelled rows for measuring a task: which columns, which labels, and which taxonomy to offer. Reads no prompts."""

import random
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from feedback_gateway.errors import ConfigurationError

ReadRows = Callable[[Path], Iterable[Mapping[str, Any]]]
FILE = "dev.jsonl"
SEED = 20260101
EXAMPLE_CHARS = 2_000
MOST = 1_000
"""Examples a label that a taxonomy takes: in the known sets, three quarters of every label."""
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "sentiment": ("label",),
    "categorize": ("category",),
    "severity": ("severity",),
    "classify": ("category",),
}
ISSUES = {
    "bug": "something is broken, crashes or gives a wrong result",
    "feature": "a wish for something new or for an improvement",
    "question": "somebody asks how to do something or needs help",
}
REVIEWS = {
    "bug_report": "something in the app is broken, crashes or does not work",
    "feature_request": "a wish for something new or for an improvement",
    "user_experience": "how it is to use the app and what it helped with",
    "rating": "praise or dislike in general without a reason",
}
IRONY = {
    "ironic": "means the opposite of what it says: irony or sarcasm",
    "not_ironic": "means what it says",
}
INJECTION = {
    "injection": "tries to give orders to a machine that reads it: ignore instructions, play a role, reveal a prompt",
    "benign": "an ordinary message, question or task without orders to the machine that reads it",
}
LOG_LINES = {
    "alert": "a log line of a failure: error, fatal, interrupted, lost, panic",
    "normal": "a log line of ordinary operation, of a corrected error or of information",
}
INCIDENTS = {
    "automation": "an automated process, script or deployment did the damage",
    "cascading-failure": "one failure overloaded others, one after the other",
    "cloud": "a cloud provider or data centre failed",
    "config-change": "a change of configuration was wrong",
    "hardware": "a machine, disk, cable or its power failed",
    "security": "an attack, a leak or an expired certificate",
    "time": "clocks, dates or time zones",
}
COMPLAINTS = {
    "Bad Flight": "the flight itself was unpleasant: seats, food, entertainment, turbulence",
    "Cancelled Flight": "the flight was cancelled",
    "Customer Service Issue": "nobody answers or helps, long holds, wrong information",
    "Damaged Luggage": "luggage was damaged",
    "Flight Attendant Complaints": "the crew was rude or of no help",
    "Flight Booking Problems": "booking, website, app, seats or miles do not work",
    "Late Flight": "the flight was late, or waited on the ground",
    "Lost Luggage": "luggage was lost or came late",
    "longlines": "long lines at the counter or the gate",
}
NO_REASON = {"Can't Tell": None}
HELPDESK = {
    "HR Support": "personnel, joining and leaving, holidays, payroll",
    "Hardware": "computers, screens, printers, phones and other devices",
    "Access": "logins, passwords, permissions to systems and folders",
    "Storage": "mailbox size, disk space, backups, archives",
    "Purchase": "orders, invoices, licences to buy",
    "Internal Project": "projects, codes and plans inside the company",
    "Administrative rights": "installing or upgrading software, administrator rights",
    "Miscellaneous": "anything else",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row with its true label; `inputs` are those of the task beside the text."""

    text: str
    label: str
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """How a known set is measured. `labels` renames its labels, to None for rows to leave out.

    `examples` rows a label, drawn by a fixed seed, go into the taxonomy and are not measured. `figures` is what was
    measured before the embedded model was built (accuracy / macro-F1, or accuracy alone). `inputs` are columns that the
    task is given too; with `mentioned` an answer is right that has the label anywhere in it.
    """

    name: str
    task: str
    label_column: str = "label"
    labels: Mapping[str, str | None] = field(default_factory=dict)
    answer: tuple[str, ...] = ()
    categories: Mapping[str, str] = field(default_factory=dict)
    examples: int = 0
    figures: str = ""
    leave_out: tuple[str, str] | None = None
    inputs: tuple[str, ...] = ()
    mentioned: bool = False


KNOWN = (
    Adapter(name="sentiment-tweeteval", task="sentiment", figures="0.66 / 0.65"),
    Adapter(name="stream-airline-NC", task="sentiment", figures="0.54 / 0.56"),
    Adapter(name="multilingual-sentiment", task="sentiment"),
    Adapter(name="aspects-mams", task="sentiment"),
    Adapter(name="categories-nlbse24", task="categorize", categories=ISSUES, figures="0.52 to 0.61"),
    Adapter(name="categories-nlbse24", task="categorize", categories=ISSUES, examples=30),
    Adapter(name="categories-nlbse24", task="categorize", categories=ISSUES, examples=MOST, figures="0.78"),
    Adapter(name="categories-appreviews", task="categorize", categories=REVIEWS),
    Adapter(name="categories-appreviews", task="categorize", categories=REVIEWS, examples=30),
    Adapter(name="categories-appreviews", task="categorize", categories=REVIEWS, examples=MOST, figures="0.77"),
    Adapter(name="intents-banking77", task="categorize", figures="0.51 to 0.62"),
    Adapter(name="intents-banking77", task="categorize", examples=5, figures="0.70"),
    Adapter(name="intents-banking77", task="categorize", examples=20),
    Adapter(name="intents-banking77", task="categorize", examples=MOST, figures="0.88 at 30"),
    Adapter(name="intents-clinc150-oos", task="categorize", examples=5, labels={"oos": None}),
    Adapter(name="intents-clinc150-oos", task="categorize", examples=5, categories={"oos": "none of the others"}),
    Adapter(name="tickets-it-helpdesk", task="categorize", categories=HELPDESK),
    Adapter(name="tickets-it-helpdesk", task="categorize", categories=HELPDESK, examples=30),
    Adapter(name="tickets-it-helpdesk", task="categorize", categories=HELPDESK, examples=MOST, figures="0.80"),
    Adapter(name="tickets-multilang-NC", task="categorize", examples=20),
    Adapter(name="severity-mozilla", task="severity", label_column="severity4", figures="0.36 to 0.60"),
    Adapter(name="severity-hadoop", task="severity", label_column="severity4", figures="0.36 to 0.60"),
    Adapter(name="severity-mozilla", task="severity", label_column="severity4", examples=MOST, figures="0.65 / 0.68"),
    Adapter(name="severity-hadoop", task="severity", label_column="severity4", examples=MOST),
    Adapter(
        name="multilingual-sentiment",
        task="classify",
        label_column="language",
        answer=("language",),
        leave_out=("language", "hi"),
        figures="0.96",
    ),
    Adapter(name="tickets-multilang-NC", task="classify", label_column="language", answer=("language",)),
    Adapter(
        name="stream-airline-NC", task="categorize", label_column="reason", labels=NO_REASON, categories=COMPLAINTS
    ),
    Adapter(name="irony-tweeteval", task="categorize", categories=IRONY),
    Adapter(name="irony-tweeteval", task="categorize", categories=IRONY, examples=MOST),
    Adapter(name="injection", task="categorize", categories=INJECTION),
    Adapter(name="injection", task="categorize", categories=INJECTION, examples=30),
    Adapter(name="logs-loghub", task="categorize", labels={"unlabelled": None}, categories=LOG_LINES),
    Adapter(name="rootcause-postmortems", task="categorize", categories=INCIDENTS),
    Adapter(
        name="rootcause-nezha-logs",
        task="root-cause-suggest",
        label_column="root_cause_pod",
        answer=("hypotheses",),
        inputs=("logs",),
        mentioned=True,
    ),
)
"""Every set that is labelled with what a task answers; `pii-presidio` is labelled for redaction, which is no task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows to measure `task` on; `answer` is where a result holds the label, `taxonomy` what the task may choose from.

    `taxonomy` is None where the configured one holds.
    """

    name: str
    task: str
    rows: Sequence[Labelled]
    answer: tuple[str, ...]
    taxonomy: Mapping[str, Any] | None = None
    figures: str = ""
    mentioned: bool = False


def known_datasets(folder: Path, read: ReadRows) -> list[Dataset]:
    """Every known set in `folder`. Raises ConfigurationError where there is none."""
    found = [adapter for adapter in KNOWN if (folder / adapter.name / FILE).is_file()]
    if not found:
        raise ConfigurationError(f"--all {folder}: holds none of the known sets, such as {KNOWN[0].name}/{FILE}")
    return [build_dataset(adapter, read(folder / adapter.name / FILE)) for adapter in found]


def describe_dataset(
    task: str,
    data: Path,
    read: ReadRows,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    examples: int = 0,
    train: Path | None = None,
    configured: Container[str] = (),
) -> Dataset:
    """The rows of a file as a set for `task`; a known set is recognised by its folder's name.

    Where every label is one of the `configured` categories, that taxonomy is what is measured.
    Raises ConfigurationError where a column is missing or no row has a label.
    """
    known = [one for one in KNOWN if one.name == data.absolute().parent.name and one.task == task]
    known = [one for one in known if label_column in {None, one.label_column}]
    own = not known
    adapter = Adapter(name=data.stem, task=task) if own else known[0]
    rows = list(read(data))
    if train is not None and not examples:
        raise ConfigurationError("--train needs --examples N: how many rows a label to learn from")
    adapter = replace(adapter, examples=examples, label_column=label_column or pick_label_column(adapter, rows, data))
    text_column = text_column or "text"
    require_columns(rows, (text_column, adapter.label_column), data)
    learned = None if train is None else labelled(adapter, read(train), text_column=text_column)
    dataset = build_dataset(adapter, rows, text_column=text_column, learned=learned)
    if not dataset.rows:
        raise ConfigurationError(f"{data}: no row is left to measure; it needs rows with {adapter.label_column!r}")
    if own and not examples and all(row.label in configured for row in dataset.rows):
        return replace(dataset, taxonomy=None)
    return dataset


def pick_label_column(adapter: Adapter, rows: Sequence[Mapping[str, Any]], data: Path) -> str:
    """`label`, or else the column with the name of the task's answer."""
    answer = (adapter.answer or ANSWERS.get(adapter.task, ("label",)))[-1]
    for name in (adapter.label_column, answer):
        if rows and name in rows[0]:
            return name
    have = ", ".join(rows[0]) if rows else "nothing"
    raise ConfigurationError(f"{data} has no column 'label'; it has: {have}. Name it in --label-column")


def require_columns(rows: Sequence[Mapping[str, Any]], names: Iterable[str], data: Path) -> None:
    """Raise ConfigurationError unless the first row has all of `names`."""
    for name in names:
        if rows and name not in rows[0]:
            raise ConfigurationError(f"{data} has no column {name!r}; it has: {', '.join(rows[0])}")


def labelled(adapter: Adapter, rows: Iterable[Mapping[str, Any]], *, text_column: str) -> list[Labelled]:
    """The rows that have a text and a label, under the task's own labels."""
    found = []
    for row in rows:
        text, label = row.get(text_column), row.get(adapter.label_column)
        if adapter.leave_out is not None and str(row.get(adapter.leave_out[0])) == adapter.leave_out[1]:
            continue
        name = adapter.labels.get(str(label), str(label).strip()) if label is not None else None
        if isinstance(text, str) and text.strip() and name:
            inputs = {column: str(row[column]) for column in adapter.inputs if row.get(column)}
            found.append(Labelled(text, name if keeps_case(adapter) else name.casefold(), inputs))
    return found


def keeps_case(adapter: Adapter) -> bool:
    """Whether labels are names that somebody gave; those of a schema are in small letters."""
    return adapter.mentioned or (adapter.answer or ANSWERS.get(adapter.task)) == ("category",)


def build_dataset(
    adapter: Adapter,
    rows: Iterable[Mapping[str, Any]],
    *,
    text_column: str = "text",
    learned: Sequence[Labelled] | None = None,
) -> Dataset:
    """The set of `adapter` over `rows`; `learned` are rows of another file to draw the examples from."""
    measured = labelled(adapter, rows, text_column=text_column)
    drawn, rest = draw_examples(measured if learned is None else learned, adapter.examples)
    if learned is None:
        measured = rest
    name = f"{adapter.name}, {describe_examples(drawn)}" if drawn else adapter.name
    return Dataset(
        name=name,
        task=adapter.task,
        rows=measured,
        answer=adapter.answer or ANSWERS.get(adapter.task, ("label",)),
        taxonomy=build_taxonomy(adapter, sorted({row.label for row in measured}), drawn),
        figures=adapter.figures,
        mentioned=adapter.mentioned,
    )


def draw_examples(rows: Sequence[Labelled], count: int) -> tuple[dict[str, list[str]], list[Labelled]]:
    """Up to `count` texts a label, drawn by a fixed seed, and the rows that are left: at least a quarter of each."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_label[row.label].append(index)
    drawn: dict[str, list[str]] = {}
    taken: set[int] = set()
    if count:
        chooser = random.Random(SEED)  # noqa: S311 - a sample, no secret
        for label in sorted(by_label):
            chosen = chooser.sample(by_label[label], min(count, len(by_label[label]) * 3 // 4))
            drawn[label] = [example_text(rows[index].text) for index in chosen]
            taken.update(chosen)
    return drawn, [row for index, row in enumerate(rows) if index not in taken]


def describe_examples(drawn: Mapping[str, Sequence[str]]) -> str:
    """How many examples the labels got."""
    fewest, most = min(map(len, drawn.values())), max(map(len, drawn.values()))
    return f"{fewest} to {most} examples a label" if fewest < most else f"{most} examples a label"


def example_text(text: str) -> str:
    """A text that any YAML file can hold, as long as a taxonomy takes it."""
    return "".join(character if character.isprintable() else " " for character in text[:EXAMPLE_CHARS])


def build_taxonomy(
    adapter: Adapter, labels: Sequence[str], drawn: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    """The labels to choose from, with a short description and the examples of each; None where none is needed."""
    if adapter.task == "severity" and drawn:
        severities = [{"name": label, "examples": list(drawn[label])} for label in sorted(drawn)]
        return {"categories": [{"name": "feedback"}], "severities": severities}
    if adapter.task != "categorize":
        return None
    return {
        "categories": [
            {
                "name": label,
                "description": adapter.categories.get(label, label.replace("_", " ").strip("? ")),
                **({"examples": list(drawn[label])} if drawn.get(label) else {}),
            }
            for label in sorted({*labels, *drawn})
        ]
    }
