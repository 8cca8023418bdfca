"""From which confidence on answers may go without a person: a threshold that is proven, or what it would take."""

from collections.abc import Sequence
from dataclasses import dataclass

from feedback_gateway.evaluation.intervals import LEVEL, least_review_share, lower_bound, rows_needed, rows_needed_at

LEAST_ACCEPTED = 20
Believed = tuple[float, bool]
"""A confidence, and whether the answer was right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answers of at least `threshold`: how many, how many of them right, and the bound of that share."""

    threshold: float
    rows: int
    right: int
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What the tested half proves. `certified` is the loosest threshold that holds, None where none does.

    `nearest` is the threshold that was tested first. `labels_needed` counts all further labelled rows, both halves,
    that would let one hold if they came out like these; None where no number would. `review_share` is the least part of
    answers that must go to a person at the target, however well the confidence told right from wrong.
    """

    target: float
    rows: int
    certified: Accepted | None
    nearest: Accepted | None
    labels_needed: int | None
    review_share: float


def accept(rows: Sequence[Believed], threshold: float, *, level: float = LEVEL) -> Accepted:
    """What becomes of `rows` with this threshold."""
    taken = [right for confidence, right in rows if confidence >= threshold]
    bound = lower_bound(sum(taken), len(taken), level=level) if taken else 0.0
    return Accepted(threshold=threshold, rows=len(taken), right=sum(taken), bound=bound)


def certify(
    choosing: Sequence[Believed], testing: Sequence[Believed], *, target: float, level: float = LEVEL
) -> Certificate:
    """The loosest threshold of which `testing` proves at `level` that at least `target` of what it accepts is right.

    Many thresholds are tried, and still the whole errs at most once in 1 / (1 - level): `choosing`, which are other
    rows, fix where to begin (the threshold with the best bound among them) and the order (from there ever looser);
    each is tested on `testing` at the full level, and the first that fails ends it. For a false one to be named, the
    first false one of a fixed sequence must pass, which has probability 1 - level at most (fixed-sequence testing, as
    in Learn then Test, Angelopoulos et al. 2021).
    """
    order = sequence(choosing, level=level)
    tested = None
    certified = None
    for threshold in order:
        found = accept(testing, threshold, level=level)
        tested = tested or found
        if found.bound < target:
            break
        certified = found
    accuracy = sum(right for _, right in testing) / len(testing) if testing else 0.0
    return Certificate(
        target=target,
        rows=len(testing),
        certified=certified,
        nearest=tested,
        labels_needed=0 if certified else labels_needed(testing, order, target=target, level=level),
        review_share=least_review_share(accuracy, target),
    )


def sequence(rows: Sequence[Believed], *, level: float = LEVEL) -> list[float]:
    """The thresholds to test, in their order: from the one with the best lower bound down to the lowest confidence."""
    ordered = sorted(rows, key=lambda row: -row[0])
    best, best_bound = 0, -1.0
    thresholds: list[float] = []
    right = 0
    for index, (confidence, hit) in enumerate(ordered):
        right += hit
        if index + 1 < len(ordered) and ordered[index + 1][0] == confidence:
            continue
        thresholds.append(confidence)
        bound = lower_bound(right, index + 1, level=level)
        if bound >= best_bound:
            best, best_bound = len(thresholds) - 1, bound
    return thresholds[best:]


def labels_needed(
    testing: Sequence[Believed], thresholds: Sequence[float], *, target: float, level: float = LEVEL
) -> int | None:
    """Further labelled rows until one of `thresholds` holds, if they come out like those tested; half are tested.

    Thresholds that let too few answers through to say how they come out do not count, unless there are no others.
    """
    if not thresholds:
        return 2 * rows_needed(target, level=level)
    found = []
    for accepted in (accept(testing, threshold, level=level) for threshold in thresholds):
        if accepted.rows >= LEAST_ACCEPTED:
            needed = rows_needed_at(target, accepted.right / accepted.rows, level=level)
            found.append(None if needed is None else (needed / accepted.rows - 1) * len(testing))
    enough = [rows for rows in found if rows is not None]
    if enough:
        return max(2, 2 * round(min(enough)))
    return None if found else max(2, 2 * (rows_needed(target, level=level) - len(testing)))
