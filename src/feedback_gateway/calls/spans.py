"""Periods cut into whole hours and days of UTC. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_DAY = datetime.min.replace(tzinfo=UTC)
LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)
"""Nothing happens on it: its end could not be written."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on and before `until`."""

    since: datetime
    until: datetime

    @property
    def is_empty(self) -> bool:
        """Whether no moment is in it."""
        return self.since >= self.until


def span_between(since: datetime | None, until: datetime | None) -> Span:
    """The span whose ends are given, or are those of all time."""
    return Span(min(since or FIRST_DAY, LAST_DAY), min(until or LAST_DAY, LAST_DAY))


def before(moment: datetime, age: timedelta) -> datetime:
    """`age` before `moment`, but not before all time."""
    return moment - min(age, moment - FIRST_DAY)


def start_of(moment: datetime, unit: timedelta) -> datetime:
    """The first moment of the hour or day of UTC that `moment` is in."""
    moment = moment.astimezone(UTC)
    return moment - (moment - EPOCH) % unit


def cut(span: Span, unit: timedelta) -> tuple[list[Span], list[Span]]:
    """The whole hours or days in `span`, as one span or none, and what is left of it, as two at most."""
    first = start_of(span.since + unit - timedelta.resolution, unit)
    last = start_of(span.until, unit)
    inner, edges = [Span(first, last)], [Span(span.since, first), Span(last, span.until)]
    if first > last:
        inner, edges = [], [span]
    return [one for one in inner if not one.is_empty], [one for one in edges if not one.is_empty]
