"""Figures of a classification from its true and predicted labels. Pure; knows no task and no file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """Precision, recall and F1 of one label, each 0 where it has no denominator; `support` counts its true rows."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How predictions agree with the truth. A prediction of None (no answer) is wrong and no label's prediction."""

    rows: int
    accuracy: float
    macro_f1: float
    labels: Mapping[str, LabelScore]
    confusion: Mapping[tuple[str, str | None], int]


def score(truths: Sequence[str], predictions: Sequence[str | None]) -> Scores:
    """Accuracy, per-label scores and their plain mean over the labels that occur in the truth.

    Macro-F1 averages over true labels only: a label that was predicted but never true lowers the precision of
    none of them, and counts through the recall that it cost. Raises ValueError for sequences that do not match.
    """
    if len(truths) != len(predictions):
        raise ValueError("as many predictions as truths are needed")
    confusion = Counter(zip(truths, predictions, strict=True))
    true_counts, predicted = Counter(truths), Counter(predictions)
    labels = {
        label: label_score(confusion[label, label], predicted=predicted[label], support=true_counts[label])
        for label in sorted(true_counts)
    }
    right = sum(confusion[label, label] for label in labels)
    return Scores(
        rows=len(truths),
        accuracy=ratio(right, len(truths)),
        macro_f1=ratio(sum(one.f1 for one in labels.values()), len(labels)),
        labels=labels,
        confusion=confusion,
    )


def label_score(right: int, *, predicted: int, support: int) -> LabelScore:
    """Scores from counts; F1 = 2·right / (predicted + support)."""
    return LabelScore(
        precision=ratio(right, predicted),
        recall=ratio(right, support),
        f1=ratio(2 * right, predicted + support),
        support=support,
    )


def most_confused(scores: Scores, most: int) -> list[tuple[str, str | None, int]]:
    """The pairs of true and other answered label with the most rows."""
    wrong = [(truth, said, count) for (truth, said), count in scores.confusion.items() if truth != said]
    return sorted(wrong, key=lambda one: (-one[2], one[0], one[1] or ""))[:most]


def majority_baseline(truths: Sequence[str]) -> Scores:
    """The scores of always answering the most frequent label (the first in order where several are)."""
    if not truths:
        return score([], [])
    counts = Counter(truths)
    most = min(counts, key=lambda label: (-counts[label], label))
    return score(truths, [most] * len(truths))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The answers whose confidence lies in one interval: how many, their mean confidence and their share right."""

    rows: int
    confidence: float
    accuracy: float


def reliability(confidences: Sequence[float], right: Sequence[bool], *, bins: int = BINS) -> list[Bin]:
    """The intervals that hold any answer, of `bins` equal ones; each includes its upper end, the first 0 as well."""
    grouped: dict[int, list[tuple[float, bool]]] = {}
    for confidence, hit in zip(confidences, right, strict=True):
        index = min(bins - 1, max(0, -int(-confidence * bins // 1) - 1))
        grouped.setdefault(index, []).append((confidence, hit))
    return [
        Bin(
            rows=len(rows),
            confidence=sum(confidence for confidence, _ in rows) / len(rows),
            accuracy=sum(hit for _, hit in rows) / len(rows),
        )
        for _, rows in sorted(grouped.items())
    ]


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], *, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over `bins` equal intervals, weighted by rows (Naeini et al. 2015).

    0 for no rows.
    """
    found = reliability(confidences, right, bins=bins)
    return ratio(sum(one.rows * abs(one.confidence - one.accuracy) for one in found), len(confidences))


def quantile(values: Sequence[float], share: float) -> float:
    """The value under which `share` of the sorted values lie, between two of them by straight line; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def ratio(part: float, whole: float) -> float:
    """`part / whole`, 0 where there is no whole."""
    return part / whole if whole else 0.0
