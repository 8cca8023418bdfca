"""Choosing one of a team's labels for a text: learned from examples where there are any, else by description."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.embedders import Embedder, unit_rows
from feedback_gateway.embedded.fewshot import Example, FewShotHead
from feedback_gateway.embedded.prototypes import Prototypes
from feedback_gateway.embedded.reading import Reading
from feedback_gateway.embedded.softmax import softmax
from feedback_gateway.embedded.taxonomy import LabelSet
from feedback_gateway.embedded.text import clean

DESCRIPTION_SHARPNESS = 14.0
"""Turns cosines of sentence vectors, mostly 0 to 0.6, into shares; a ranking, not a calibrated probability."""
ENOUGH = 20
"""Examples a label from which learned weights are right more often than prototypes alone; of fewer, both count."""
TINY = 1e-12
KEPT = 32
MOST_WEIGHTS = 8_000_000
"""Learned weights that are kept in all, of 4 bytes each; the set used last is kept in any case."""
QUICK = 60
"""Labels and examples up to which a set is learned at once: a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Labels by falling probability; `learned` says whether the first one was learned from examples."""

    ranking: tuple[tuple[str, float], ...]
    learned: bool
    head: FewShotHead | None

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.ranking[0][0]

    @property
    def probability(self) -> float:
        """Its probability: calibrated when `learned`, else a share of the similarity."""
        return self.ranking[0][1]


@dataclass(frozen=True, slots=True)
class Chooser:
    """What was prepared for one label set."""

    labels: LabelSet
    vectors: npt.NDArray[Any]
    """Of name and description, in equal parts, shape (labels, dimensions)."""
    head: FewShotHead | None = None
    prototypes: Prototypes | None = None

    @classmethod
    def prepare(cls, labels: LabelSet, embedder: Embedder) -> "Chooser":
        """Learn from the examples; a label without any takes part through its description.

        Where there are few, what was learned counts the less, the fewer there are for a label.
        """
        described = [text or name for name, text in zip(labels.names, labels.descriptions, strict=True)]
        vectors = unit_rows(embedder.embed([clean(name) for name in labels.names]) + embedder.embed(described))
        if not labels.examples:
            return cls(labels, vectors)
        shown = {example.label for example in labels.examples}
        stand_ins = [
            Example(f"{name}. {text}", name)
            for name, text in zip(labels.names, labels.descriptions, strict=True)
            if name not in shown
        ]
        head = FewShotHead.learn([*labels.examples, *stand_ins], embedder)
        if len(labels.examples) >= ENOUGH * len(labels.names):
            return cls(labels, vectors, head)
        rows = embedder.embed([clean(example.text) for example in labels.examples])
        targets = [labels.names.index(example.label) for example in labels.examples]
        return cls(labels, vectors, head, Prototypes.of(vectors, rows, targets))

    def choose(self, reading: Reading) -> Choice:
        """Rank all labels for one text."""
        names = self.labels.names
        if self.head is None:
            shares = softmax(DESCRIPTION_SHARPNESS * (self.vectors @ reading.subject))
        elif self.prototypes is None:
            names, shares = self.head.labels, self.head.predict(reading.cleaned, reading.vector)
        else:
            shares = self._shares(self.head, self.prototypes, reading)
        order = np.argsort(-shares, kind="stable")
        ranking = tuple((names[place], float(shares[place])) for place in order)
        learned = self.head is not None and any(example.label == ranking[0][0] for example in self.labels.examples)
        return Choice(ranking, learned, self.head)

    def _shares(self, head: FewShotHead, prototypes: Prototypes, reading: Reading) -> npt.NDArray[Any]:
        """Both opinions as a weighted geometric mean, shape (labels,)."""
        weight = len(self.labels.examples) / (ENOUGH * len(self.labels.names))
        learned = head.predict(reading.cleaned, reading.vector)[[head.labels.index(one) for one in self.labels.names]]
        near = prototypes.predict(reading.subject)
        return softmax(weight * np.log(learned + TINY) + (1 - weight) * np.log(near + TINY))


class Unlearned(Exception):
    """Label sets that would take a while to learn, and are not learned yet."""

    def __init__(self, labels: LabelSet) -> None:
        super().__init__()
        self.labels = labels


@dataclass(frozen=True, slots=True)
class ChooserCache:
    """The choosers of the label sets used last. Nobody waits while another thread learns."""

    embedder: Embedder
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: OrderedDict[str, Chooser] = field(default_factory=OrderedDict)

    def get(self, labels: LabelSet) -> Chooser:
        """The chooser of `labels`; raises `Unlearned` where it is not kept and takes long to learn."""
        if (chooser := self._find(labels.fingerprint)) is not None:
            return chooser
        if len(labels.names) + len(labels.examples) > QUICK:
            raise Unlearned(labels)
        return self.learn(labels)

    def learn(self, labels: LabelSet) -> Chooser:
        """The chooser of `labels`, learned now if it is not kept."""
        key = labels.fingerprint
        if (chooser := self._find(key)) is not None:
            return chooser
        chooser = Chooser.prepare(labels, self.embedder)
        with self.lock:
            self.kept[key] = chooser
            while len(self.kept) > 1 and (len(self.kept) > KEPT or self._weights() > MOST_WEIGHTS):
                self.kept.popitem(last=False)
        return chooser

    def _weights(self) -> int:
        return sum(chooser.head.by_column.size for chooser in self.kept.values() if chooser.head is not None)

    def _find(self, key: str) -> Chooser | None:
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
            return self.kept.get(key)
