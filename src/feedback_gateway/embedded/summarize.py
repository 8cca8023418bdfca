"""The summarize task: verbatim sentences by maximal marginal relevance, and who says so; no prose."""
# ruff: noqa: SIM905  a list of words reads best as words

import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.embedders import Embedder
from feedback_gateway.embedded.text import Span, any_quote, clean, quote, sentences, words

Array = npt.NDArray[Any]

FEWEST_WORDS = 5
MOST_SENTENCES = 1_200
"""Sentences that are embedded; of more, each item's first ones in turn."""
KEY_POINTS = {"support": 7, "product": 7, "engineering": 7, "executive": 4}
DEFAULT_WORDS = 120
RELEVANCE = 0.7
"""Weight of relevance against novelty in maximal marginal relevance (Carbonell and Goldstein, 1998)."""
ECHO = 0.1
"""What a doubling of the sentences that say about the same adds to a sentence's relevance."""
TITLE_WIDTH = 100
TITLE_TERMS = 3
MOST_ACTIONS = 5
STOP_WORDS = frozenset(
    "about above after again against also although always another anyone anything around asked back because "
    "been before being below between both came cannot come could didn't does doesn't doing don't down during "
    "each even ever every everything first from further gave getting give goes going gone good great have "
    "haven't having here hers himself i'll i'm i've into isn't it's itself just keep know last like made make "
    "many maybe more most much must myself never need needs nothing once only other ours over please really "
    "same said seems should since some someone something still such sure take than thank thanks that that's "
    "their theirs them then there these they thing things this those though through time times tried trying "
    "under until used using very wanted want wants was wasn't way well went were weren't what when where which "
    "while will with within without won't work works would years your yours you're today tomorrow yesterday "
    "amp http https www days hours weeks month months week year will'd they're there's you've we're can't "
    "couldn't wouldn't anywhere happened happens help problem problems issue issues working wrong".split(),
)
FOCUS = {
    "support": "refund cancel reply response wait answer ticket account billing help charged".split(),
    "product": "feature wish missing option confusing prefer design want add would".split(),
    "engineering": "crash crashes error errors bug slow timeout freezes fails failed broken exception sync".split(),
    "executive": "cancel switch competitor price refund lost customers outage recommend leaving".split(),
}
_ACTION = re.compile(
    r"\b(?:please|pls|should|(?:you|they|it|this|which|that) needs? to|could you|can you|fix (?:the|this|that|it|your)|"
    r"add (?:a|an|the|support|more)|bring back|would be (?:nice|great|good|helpful))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A candidate: which item it is from, its span and its words."""

    item: str
    span: Span
    cleaned: str


@dataclass(frozen=True, slots=True)
class Summarizer:
    """Chooses sentences by their vectors."""

    embedder: Embedder

    def read(self, items: Sequence[Mapping[str, Any]], audience: str, max_words: int) -> dict[str, Any]:
        """The task's answer from items with `id` and `text`; `summary` holds at most `max_words` words."""
        candidates = _candidates(items)
        headline = _headline(items, candidates)
        if not candidates:
            points = [(str(item["id"]), any_quote(str(item["text"]))) for item in items[:1]]
            said = [{"point": point, "item_ids": [ident]} for ident, point in points if point]
            summary = " ".join(" ".join(point for _, point in points).split()[:max_words])
            return {"headline": headline, "summary": summary, "key_points": said, "action_items": []}
        vectors = self.embedder.embed([candidate.cleaned for candidate in candidates])
        focus = set(FOCUS.get(audience, ()))
        boost = np.array([0.05 * min(2, len(focus.intersection(candidate.span.words))) for candidate in candidates])
        alike = _alike(vectors, self.embedder.alike)
        chosen = _marginal(vectors, boost + ECHO * np.log2(alike.sum(axis=1)), KEY_POINTS.get(audience, 7), alike)
        return {
            "headline": headline,
            "summary": _fit_words([quote(candidates[place].span) for place in chosen], max_words),
            "key_points": [
                {"point": quote(candidates[place].span), "item_ids": _who_says_so(place, candidates, alike)}
                for place in chosen
            ],
            "action_items": _actions(candidates, alike, chosen),
        }


def _candidates(items: Sequence[Mapping[str, Any]]) -> list[Sentence]:
    """Distinct sentences of five words and more, at most `MOST_SENTENCES`, every item's first before any second."""
    by_item = []
    seen: set[str] = set()
    for item in items:
        held = []
        for span in sentences(str(item["text"])):
            cleaned = clean(span.text)
            if len(words(cleaned)) >= FEWEST_WORDS and (len(items) > 1 or cleaned.lower() not in seen):
                seen.add(cleaned.lower())
                held.append(Sentence(str(item["id"]), span, cleaned))
        by_item.append(held)
    deepest = max((len(held) for held in by_item), default=0)
    ranked = (held[turn] for turn in range(deepest) for held in by_item if turn < len(held))
    return [sentence for _, sentence in zip(range(MOST_SENTENCES), ranked, strict=False)]


def _alike(vectors: Array, cosine: float) -> Array:
    """Which sentences say about the same, shape (sentences, sentences), true on the diagonal."""
    return np.asarray((vectors @ vectors.T >= cosine) | np.eye(len(vectors), dtype=bool))


def _marginal(vectors: Array, boost: Array, count: int, alike: Array) -> list[int]:
    """Places of the chosen rows: close to the whole or said often, and far from each other."""
    center = vectors.mean(axis=0)
    relevance = vectors @ (center / max(float(np.linalg.norm(center)), 1e-9)) + boost
    closest = np.zeros(len(vectors))
    left = np.ones(len(vectors), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count and left.any():
        score = np.where(left, RELEVANCE * relevance - (1 - RELEVANCE) * closest, -np.inf)
        best = int(np.argmax(score))
        chosen.append(best)
        left &= ~alike[best]
        closest = np.maximum(closest, vectors @ vectors[best])
    return chosen


def _who_says_so(place: int, candidates: Sequence[Sentence], alike: Array) -> list[str]:
    """Ids of the items with the sentence itself or one that says the same, its own first."""
    others = [candidates[int(other)].item for other in np.flatnonzero(alike[place])]
    return list(dict.fromkeys([candidates[place].item, *others]))


def _fit_words(points: Sequence[str], max_words: int) -> str:
    """Whole points while they fit; the beginning of the first where not even that does."""
    taken: list[str] = []
    left = max_words
    for point in points:
        size = len(point.split())
        if size <= left:
            taken.append(point)
            left -= size
    return " ".join(taken) if taken else " ".join(points[0].split()[:max_words])


def _headline(items: Sequence[Mapping[str, Any]], candidates: Sequence[Sentence]) -> str:
    """The words that most items share, each with the number of items that have it; of one item its first sentence."""
    if len(items) == 1:
        said = candidates[0].cleaned if candidates else clean(str(items[0]["text"]))
        return f"1 item: {textwrap.shorten(said, TITLE_WIDTH, placeholder=' …')}"
    seen: Counter[str] = Counter()
    for item in items:
        found = {word for word in words(clean(str(item["text"]))) if len(word) > 3 and word not in STOP_WORDS}  # noqa: PLR2004
        seen.update(sorted(word for word in found if word[0].isalpha()))
    shared = [(word, count) for word, count in seen.items() if count > 1]
    ranked = sorted(shared, key=lambda entry: (-entry[1], -len(entry[0]), entry[0]))
    top = ", ".join(f"{word} ({count})" for word, count in ranked[:TITLE_TERMS])
    return f"{len(items)} items: {top}" if top else f"{len(items)} items without a common word"


def _actions(candidates: Sequence[Sentence], alike: Array, chosen: Sequence[int]) -> list[str]:
    """Sentences that ask for something, the key points' first, each said once."""
    asking = [place for place, candidate in enumerate(candidates) if _ACTION.search(candidate.span.text)]
    asking.sort(key=lambda place: (place not in chosen, place))
    kept: list[int] = []
    for place in asking:
        if not alike[place, kept].any():
            kept.append(place)
        if len(kept) == MOST_ACTIONS:
            break
    return [quote(candidates[place].span) for place in kept]
