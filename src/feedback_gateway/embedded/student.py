"""The student's one door: task, item and taxonomy in, answer out; a better student replaces this file."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from feedback_gateway.embedded.categorize import Categorizer
from feedback_gateway.embedded.embedders import Embedder, default_embedder, load_embedder, return_freed_memory
from feedback_gateway.embedded.labelling import ChooserCache, Unlearned
from feedback_gateway.embedded.language import LanguageDetector
from feedback_gateway.embedded.reading import Reading
from feedback_gateway.embedded.rootcause import CauseFinder
from feedback_gateway.embedded.sentiment import SentimentReader
from feedback_gateway.embedded.severity import SeverityReader, load_rules
from feedback_gateway.embedded.summarize import DEFAULT_WORDS, FEWEST_WORDS, Summarizer
from feedback_gateway.embedded.text import any_quote, quote, words

HAPPY = 0.3
MOST_DESCRIPTIONS = 1_000
Answer = tuple[dict[str, Any], bool]
Reader = Callable[[Mapping[str, Any], Mapping[str, Any] | None], Answer]


class UnsupportedTask(Exception):
    """The student does not do this task: it would have to write prose."""


@dataclass(frozen=True, slots=True)
class StudentAnswer:
    """An answer in the task's model-side schema, and whether a person should look at it."""

    value: dict[str, Any]
    needs_review: bool


@dataclass(frozen=True, slots=True)
class Student:
    """Small local models behind one method; loaded once, used from any number of threads."""

    embedder: Embedder
    detector: LanguageDetector
    sentiment: SentimentReader
    categorizer: Categorizer
    severity: SeverityReader
    summarizer: Summarizer
    causes: CauseFinder
    choosers: ChooserCache
    happy: dict[str, bool] = field(default_factory=dict)
    """Descriptions of categories that were read already, and whether each is a happy one."""

    @classmethod
    def load(cls, embedder: str | None = None) -> "Student":
        """Read the heads and the embedder called `embedder`: `use`, `wordllama`, by default the best one there is.

        Raises `FileNotFoundError` where the named embedder is not installed.
        """
        loaded, detector = _load_models(embedder or default_embedder())
        return_freed_memory()
        choosers = ChooserCache(loaded)
        sentiment = SentimentReader.load(loaded.name)
        return_freed_memory()
        return cls(
            embedder=loaded,
            detector=detector,
            sentiment=sentiment,
            categorizer=Categorizer(choosers),
            severity=SeverityReader(choosers, load_rules()),
            summarizer=Summarizer(loaded),
            causes=CauseFinder(loaded),
            choosers=choosers,
        )

    def answer(self, task: str, item: Mapping[str, Any], taxonomy: Mapping[str, Any] | None) -> StudentAnswer:
        """Answer one item, however long the taxonomy takes to learn; else as `answer_soon`."""
        while True:
            try:
                return self.answer_soon(task, item, taxonomy)
            except Unlearned as needed:
                self.choosers.learn(needed.labels)

    def answer_soon(self, task: str, item: Mapping[str, Any], taxonomy: Mapping[str, Any] | None) -> StudentAnswer:
        """Answer one item; raises `Unlearned` where labels of the taxonomy are to be learned first.

        Raises `UnsupportedTask`, or `ValueError` for an item or taxonomy with nothing to read.
        """
        readers: dict[str, Reader] = {
            "sentiment": self._sentiment,
            "categorize": self._categorize,
            "severity": self._severity,
            "classify": self._classify,
            "summarize": self._summarize,
            "root-cause-suggest": self._root_cause,
        }
        if task not in readers:
            raise UnsupportedTask(task)
        value, needs_review = readers[task](item, taxonomy)
        return StudentAnswer(value, needs_review)

    def _reading(self, item: Mapping[str, Any]) -> Reading:
        text = str(item.get("text") or "")
        if not any_quote(text):
            raise ValueError("the text holds nothing that can be read")
        return Reading(text, self.embedder, self.detector)

    def _sentiment(self, item: Mapping[str, Any], _taxonomy: Mapping[str, Any] | None) -> Answer:
        return self.sentiment.read(self._reading(item))

    def _categorize(self, item: Mapping[str, Any], taxonomy: Mapping[str, Any] | None) -> Answer:
        return self.categorizer.read(self._reading(item), taxonomy or {})

    def _severity(self, item: Mapping[str, Any], taxonomy: Mapping[str, Any] | None) -> Answer:
        reading = self._reading(item)
        return self.severity.read(reading, taxonomy, self.sentiment.score(reading))

    def _classify(self, item: Mapping[str, Any], taxonomy: Mapping[str, Any] | None) -> Answer:
        """All labels at once; `confidence` is the category's."""
        reading = self._reading(item)
        sentiment, unsure_sentiment = self.sentiment.read(reading)
        category, unsure_category = self.categorizer.read(reading, taxonomy or {})
        if (
            sentiment["label"] == "negative"
            and category["alternatives"]
            and self._speaks_well(category, taxonomy or {})
        ):
            second = category["alternatives"][0]  # a complaint is nobody's praise
            category = {**category, **second, "subcategory": None}
            unsure_category = True
        severity, _ = self.severity.read(reading, taxonomy, sentiment["score"])
        quotes = [entry["quote"] for entry in (*sentiment["evidence"], *category["evidence"])]
        value = {
            "sentiment": sentiment["label"],
            "category": category["category"],
            "subcategory": category["subcategory"],
            "severity": severity["severity"],
            "language": reading.language,
            "summary": _shortest_summary(reading),
            "confidence": category["confidence"],
            "suggested_category": category["suggested_category"],
            "evidence": [{"quote": text} for text in dict.fromkeys(quotes)],
        }
        return value, unsure_sentiment or unsure_category

    def _speaks_well(self, category: Mapping[str, Any], taxonomy: Mapping[str, Any]) -> bool:
        """Whether the description of the category itself is a happy one, as that of praise is."""
        for entry in taxonomy.get("categories") or ():
            if str(entry.get("name") or "").strip() == category["category"]:
                return self._is_happy(f"{entry['name']}: {entry.get('description') or ''}")
        return False

    def _is_happy(self, description: str) -> bool:
        if description not in self.happy:
            if len(self.happy) >= MOST_DESCRIPTIONS:
                self.happy.clear()
            self.happy[description] = self.sentiment.score(Reading(description, self.embedder, self.detector)) > HAPPY
        return self.happy[description]

    def _summarize(self, item: Mapping[str, Any], _taxonomy: Mapping[str, Any] | None) -> Answer:
        texts = item.get("texts") or [{"id": item.get("id") or "1", "text": item.get("text") or ""}]
        readable = [entry for entry in texts if any_quote(str(entry["text"]))]
        if not readable:
            raise ValueError("none of the texts holds anything that can be read")
        max_words = max(1, int(item.get("max_words") or DEFAULT_WORDS))
        return self.summarizer.read(readable, str(item.get("audience") or "product"), max_words), False

    def _root_cause(self, item: Mapping[str, Any], _taxonomy: Mapping[str, Any] | None) -> Answer:
        reading = self._reading(item)
        return self.causes.read(reading.text, str(item.get("logs") or ""), item.get("knowledge") or ()), True


def _load_models(embedder: str) -> tuple[Embedder, LanguageDetector]:
    """Side by side, as a large embedder takes its time; one after the other takes 20 MiB less."""
    if embedder == "wordllama":
        detector = LanguageDetector.load()
        return_freed_memory()
        return load_embedder(embedder), detector
    with ThreadPoolExecutor(1, thread_name_prefix="student-load") as beside:
        loading = beside.submit(LanguageDetector.load)
        loaded = load_embedder(embedder)
        return_freed_memory()
        return loaded, loading.result()


def _shortest_summary(reading: Reading) -> str:
    """The first sentence that says something, verbatim; else whatever there is."""
    telling = next((span for span in reading.sentences if len(words(span.text)) >= FEWEST_WORDS), None)
    return quote(telling) if telling else any_quote(reading.text)
