"""The sentiment task: label, score, aspects and the words that show them."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.heads import LABELS, SentimentHead
from feedback_gateway.embedded.language import UNDETERMINED
from feedback_gateway.embedded.lexicon import Lexicon
from feedback_gateway.embedded.reading import Reading
from feedback_gateway.embedded.text import Span, clauses, quote

REVIEW_UNDER = 0.55
"""Calibrated probability under which a label wants a person."""
CLAUSE_FROM = REVIEW_UNDER
"""Probability from which a clause of its own is clearly positive or negative; one of each makes a text mixed."""
FEWEST_CLAUSE_WORDS = 3
MOST_CLAUSES = 6
WEAK_POLARITY = 0.1
MOST_ASPECTS = 5
LEXICON_LANGUAGES = frozenset({"en", UNDETERMINED})
_CONTRAST = re.compile(
    r"\b(?:but|however|although|though|yet|except|while|despite|unfortunately|sadly|only|aber|mais|pero)\b",
    re.IGNORECASE,
)
ASPECTS = (
    "app website site page update version feature features interface design layout screen menu button search login "
    "password account sign-up onboarding checkout payment payments billing invoice price prices pricing cost fee fees "
    "subscription plan refund delivery shipping order orders package return returns support service staff agent team "
    "customer-service documentation docs tutorial training help performance speed battery memory loading startup sync "
    "notification notifications email emails export import report reports dashboard integration api plugin data backup "
    "security privacy permissions ads video audio sound camera keyboard map maps quality product food menu waiter "
    "waitress service atmosphere room flight flights seat seats baggage luggage crew boarding wait-time"
)


@dataclass(frozen=True, slots=True)
class SentimentReader:
    """Applies the trained head and the lexicon."""

    head: SentimentHead
    lexicon: Lexicon
    aspect_pattern: re.Pattern[str]

    @classmethod
    def load(cls, embedder: str) -> "SentimentReader":
        """With the bundled head of this embedder."""
        names = sorted({name.replace("-", r"[\s-]") for name in ASPECTS.split()}, key=len, reverse=True)
        pattern = re.compile(rf"\b({'|'.join(names)})\b", re.IGNORECASE)
        return cls(SentimentHead.load(embedder), Lexicon.load(), pattern)

    def read(self, reading: Reading) -> tuple[dict[str, Any], bool]:
        """The task's answer, and whether it wants a person."""
        if not reading.cleaned:
            return {"label": "neutral", "score": 0.0, "aspects": [], "evidence": reading.evidence(None)}, True
        english = reading.language in LEXICON_LANGUAGES
        probabilities = self._probabilities(reading, english=english)
        label = LABELS[int(np.argmax(probabilities))]
        parts = [clause for sentence in reading.sentences[:40] for clause in clauses(sentence)]
        polarities = [self.lexicon.polarity(part.text) if english else 0.0 for part in parts]
        sides = self._sides(reading, parts, polarities)
        if sides:
            label = "mixed"
        value = {
            "label": label,
            "score": _score(probabilities),
            "aspects": self._aspects(parts, polarities),
            "evidence": sides or self._evidence(reading, label, parts, polarities),
        }
        return value, bool(probabilities.max() < REVIEW_UNDER or reading.is_foreign or reading.is_wordless)

    def score(self, reading: Reading) -> float:
        """p(positive) - p(negative); 0 for a text without words."""
        english = reading.language in LEXICON_LANGUAGES
        return _score(self._probabilities(reading, english=english)) if reading.cleaned else 0.0

    def _probabilities(self, reading: Reading, *, english: bool) -> npt.NDArray[Any]:
        return self.head.probabilities(reading.vector, self.lexicon.features(reading.cleaned) if english else None)

    def _sides(self, reading: Reading, parts: list[Span], polarities: list[float]) -> list[dict[str, str]]:
        """A clearly positive and a clearly negative clause as quotes; none unless the text turns or its words differ.

        The clauses are read by themselves, by the same head: words alone miss what is said without strong ones.
        """
        differ = max(polarities, default=0.0) > WEAK_POLARITY and min(polarities, default=0.0) < -WEAK_POLARITY
        told = [part for part in parts if len(part.words) >= FEWEST_CLAUSE_WORDS][:MOST_CLAUSES]
        if len(told) < 2 or not (differ or _CONTRAST.search(reading.cleaned)):  # noqa: PLR2004 two sides
            return []
        english = reading.language in LEXICON_LANGUAGES
        read = np.array([self._probabilities(replace(reading, text=part.text), english=english) for part in told])
        if read[:, 2].max() < CLAUSE_FROM or read[:, 0].max() < CLAUSE_FROM:
            return []
        return [{"quote": quote(told[int(read[:, side].argmax())])} for side in (2, 0)]

    def _evidence(
        self, reading: Reading, label: str, parts: list[Span], polarities: list[float]
    ) -> list[dict[str, str]]:
        """The clauses that carry the label; the first sentence where no word of the lexicon does."""
        if not parts or label == "neutral":
            return reading.evidence(None)
        lowest, highest = int(np.argmin(polarities)), int(np.argmax(polarities))
        best = highest if label == "positive" else lowest
        return reading.evidence(parts[best] if polarities[best] else None)

    def _aspects(self, parts: list[Span], polarities: list[float]) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for part, polarity in zip(parts, polarities, strict=True):
            for name in self.aspect_pattern.findall(part.text):
                label = "positive" if polarity > 0.2 else "negative" if polarity < -0.2 else "neutral"  # noqa: PLR2004
                aspect = {"aspect": name.lower(), "label": label, "evidence": [{"quote": quote(part)}]}
                if name.lower() not in found or found[name.lower()]["label"] == "neutral":
                    found[name.lower()] = aspect
        return list(found.values())[:MOST_ASPECTS]


def _score(probabilities: npt.NDArray[Any]) -> float:
    return round(float(probabilities[2] - probabilities[0]), 3)
