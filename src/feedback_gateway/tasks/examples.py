"""What people corrected, as examples: the nearest ones for a language model, all of them for a model that learns.

Keeps what this process knows of them. Reads no database, and builds no prompt.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from feedback_gateway.ledger.models import CallPurpose
from feedback_gateway.memo import Memo
from feedback_gateway.tasks.packed_prompt import is_suspect
from feedback_gateway.tasks.twins import normal

MOST_BYTES = 8_000
"""Of all examples in one prompt, texts and labels."""
MOST_LEARNED = 1_000
"""Of one consumer's corrections, the newest: learning from more takes longer than anybody should wait for."""
MOST_SHARED = 32
LEARNED = ("category", "subcategory", "severity")

Embed = Callable[[Sequence[str]], Any]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A text with the labels that people gave it, by field: for each field its newest."""

    consumer: str
    text: str = field(repr=False)
    labels: Json


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """What is known at one moment, the newest first; another `version` as soon as one of them is another.

    `vectors` is a unit row for each, None where nobody looks for near ones; `suspects` are the places of those that
    speak to whoever reads them.
    """

    version: str
    rows: tuple[Corrected, ...] = field(repr=False)
    vectors: Any = field(default=None, repr=False)
    suspects: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleUse:
    """What a task does with corrections: how many a prompt shows at most, and whether those of all consumers count."""

    most: int
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One item of `consumer` that the alias `model` is to be asked about; `schema` is the answer's own."""

    task: str
    model: str
    consumer: str
    purpose: CallPurpose
    inputs: Json = field(repr=False)
    taxonomy: Json = field(repr=False)
    schema: Json = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What one question has of them: texts with their labels as JSON, the nearest first, and a taxonomy to learn from.

    `version` is that of the examples that could have been chosen, None where the task has none.
    """

    taxonomy: Json
    shown: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    version: str | None = None


class ExampleBook:
    """The examples of each consumer, for the tasks that use them.

    `readers` are the aliases of language models, `learners` those of models that learn; `embed` gives a unit row a
    text, and blocks.
    """

    def __init__(
        self,
        uses: Mapping[str, ExampleUse],
        *,
        readers: Iterable[str] = (),
        learners: Iterable[str] = (),
        embed: Embed | None = None,
    ) -> None:
        self._uses = uses
        self._readers = frozenset(readers)
        self._learners = frozenset(learners)
        self._embed = embed if self._readers else None
        self._known: Mapping[str | None, Examples] = {}
        self._taught: Memo[Json] = Memo(most=MOST_SHARED)

    @property
    def is_used(self) -> bool:
        """Whether any task uses examples."""
        return bool(self._uses)

    def replace(self, rows: Sequence[Corrected]) -> None:
        """Know these, the newest first, and no others. Blocks while texts are embedded that were not known."""
        by_consumer: dict[str | None, list[Corrected]] = {}
        for row in rows:
            by_consumer.setdefault(row.consumer, []).append(row)
        if any(use.shared for use in self._uses.values()):
            by_consumer[None] = list(rows)
        vectors = self._vectors({row.text for row in rows})
        self._known = {consumer: self._examples(consumer, held, vectors) for consumer, held in by_consumer.items()}

    def of(self, task: str, consumer: str) -> Examples | None:
        """The examples for a consumer's calls of a task, None where there are none or the task uses none."""
        use = self._uses.get(task)
        return None if use is None else self._known.get(None if use.shared else consumer)

    def version(self, task: str, consumer: str) -> str | None:
        """What changes with them."""
        examples = self.of(task, consumer)
        return None if examples is None else examples.version

    async def ask(self, question: Question) -> Lesson:
        """As `lesson`, without blocking."""
        if question.model in self._readers and self.of(question.task, question.consumer) is not None:
            return await asyncio.to_thread(self.lesson, question)
        return self.lesson(question)

    def lesson(self, question: Question) -> Lesson:
        """What a question has of examples. Blocks where a language model may be asked.

        A replay has nothing of them: it is asked what a version or a model says by itself.
        """
        taxonomy, text = question.taxonomy, question.inputs.get("text")
        examples = self.of(question.task, question.consumer)
        if examples is None or not isinstance(text, str) or question.purpose == "replay":
            return Lesson(taxonomy=taxonomy)
        shown: tuple[tuple[str, str], ...] = ()
        if question.model in self._readers and self._embed is not None:
            order = (-(examples.vectors @ self._embed([text])[0])).argsort(kind="stable")
            near = (examples.rows[place] for place in order if place not in examples.suspects)
            shown = fitting(near, question, most=self._uses[question.task].most)
        if question.model in self._learners:
            known = self._taught.find(taxonomy, examples)
            taxonomy = (
                self._taught.keep(taught(taxonomy, examples.rows), taxonomy, examples) if known is None else known
            )
        return Lesson(taxonomy=taxonomy, shown=shown, version=examples.version)

    def _examples(self, consumer: str | None, rows: Sequence[Corrected], vectors: Mapping[str, Any]) -> Examples:
        said = json.dumps([[row.text, row.labels] for row in rows], sort_keys=True)
        version = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        before = self._known.get(consumer)
        if before is not None and before.version == version:
            return before  # what was made of it is found by this very object
        suspects = frozenset(place for place, row in enumerate(rows) if is_suspect(row.text))
        table = None if self._embed is None else stacked([vectors[row.text] for row in rows])
        return Examples(version=version, rows=tuple(rows), vectors=table, suspects=suspects)

    def _vectors(self, texts: set[str]) -> dict[str, Any]:
        """The vector of each text, of which those that were known are not computed again."""
        if self._embed is None:
            return {}
        found = {
            row.text: vector
            for examples in self._known.values()
            for row, vector in zip(examples.rows, examples.vectors, strict=True)
            if row.text in texts
        }
        new = sorted(texts - found.keys())
        return found | (dict(zip(new, self._embed(new), strict=True)) if new else {})


def stacked(rows: Sequence[Any]) -> Any:
    """Vectors as a table."""
    import numpy as np  # noqa: PLC0415 a process that shows no examples stays small

    return np.vstack(rows)


def fitting(near: Iterable[Corrected], question: Question, *, most: int) -> tuple[tuple[str, str], ...]:
    """The first `most` that say something of this answer and fit the bytes, in their order."""
    found: list[tuple[str, str]] = []
    room = MOST_BYTES
    for row in near:
        if len(found) == most:
            break
        labels = labels_for(question, row.labels)
        said = json.dumps(labels, ensure_ascii=False)
        size = len((row.text + said).encode("utf-8", "surrogatepass"))
        if labels and size <= room:
            room -= size
            found.append((row.text, said))
    return tuple(found)


def labels_for(question: Question, labels: Json) -> dict[str, Any]:
    """Those that the answer may have: fields of a fixed set of values, each with one of these.

    Where the taxonomy has lost a label meanwhile, nobody's word brings it back.
    """
    found: dict[str, Any] = {}
    for name, own in question.schema.get("properties", {}).items():
        given = question.task if name == "label" else name  # a task of one label calls it that
        if isinstance(own, Mapping) and given in labels and labels[given] in own.get("enum", ()):
            found[name] = labels[given]
    sub = found.get("subcategory")
    if sub is not None and "category" in found and sub not in subcategories_of(question.taxonomy, found["category"]):
        del found["subcategory"]
    return found


def subcategories_of(taxonomy: Json, category: str) -> list[str]:
    """The names under a category."""
    return [
        sub["name"]
        for entry in taxonomy.get("categories", ())
        if entry["name"] == category
        for sub in entry.get("subcategories", ())
    ]


def taught(taxonomy: Json, rows: Sequence[Corrected]) -> Json:
    """The taxonomy with the texts of `rows`, the newest first, as examples of the labels that people gave them.

    A person's word stands over the taxonomy's own example of the same text. No label is added that it does not have.
    """
    rows = rows[:MOST_LEARNED]
    said = {name: {normal(row.text) for row in rows if name in row.labels} for name in LEARNED}

    def with_theirs(entry: Json, name: str, held: Sequence[Corrected]) -> dict[str, Any]:
        own = [text for text in entry.get("examples") or () if normal(text) not in said[name]]
        theirs = [row.text for row in held if row.labels.get(name) == entry["name"]]
        kept = {key: value for key, value in entry.items() if key != "examples"}
        return kept | ({"examples": [*own, *theirs]} if own or theirs else {})

    def with_all(entry: Json) -> dict[str, Any]:
        made = with_theirs(entry, "category", rows)
        if subs := entry.get("subcategories"):
            held = [row for row in rows if row.labels.get("category", entry["name"]) == entry["name"]]
            made["subcategories"] = [with_theirs(sub, "subcategory", held) for sub in subs]
        return made

    return {
        **taxonomy,
        "categories": [with_all(entry) for entry in taxonomy["categories"]],
        "severities": [with_theirs(entry, "severity", rows) for entry in taxonomy.get("severities", ())],
    }
