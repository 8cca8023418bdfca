"""Periods in whole hours and days, and what is left of them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.calls.spans import DAY, FIRST_DAY, HOUR, LAST_DAY, Span, before, cut, span_between, start_of

DAWN = datetime(2026, 3, 1, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=3)).map(lambda offset: DAWN + offset) | st.integers(0, 72).map(
    lambda hours: DAWN + timedelta(hours=hours)
)


@given(since=moments | st.none(), until=moments | st.none(), unit=st.sampled_from([HOUR, DAY]))
def test_the_parts_of_a_span_are_all_of_it_once(
    since: datetime | None, until: datetime | None, unit: timedelta
) -> None:
    """One after the other, whole ones at whole hours or days, the others within one each."""
    span = span_between(since, until)

    whole, rest = cut(span, unit)
    parts = sorted([*whole, *rest], key=lambda one: one.since)

    assert [one.until for one in parts[:-1]] == [one.since for one in parts[1:]]
    assert (parts[0].since, parts[-1].until) == (span.since, span.until) if parts else span.is_empty
    assert all(start_of(moment, unit) == moment for one in whole for moment in (one.since, one.until))
    assert all(one.until <= start_of(one.since, unit) + unit for one in rest)


def test_all_time_is_whole_days() -> None:
    """Its ends are midnights, so that nobody has to look at single calls."""
    assert cut(span_between(None, None), DAY) == ([Span(FIRST_DAY, LAST_DAY)], [])


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_the_calendar_are_no_fault(moment: datetime) -> None:
    """Somebody may ask for them."""
    assert cut(span_between(moment, moment), HOUR) == ([], [])
    assert before(moment, timedelta.max) == FIRST_DAY


def test_an_hour_begins_where_it_does_in_utc() -> None:
    """Whatever zone the moment is written in."""
    moment = datetime(2026, 3, 1, 2, 15, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert start_of(moment, HOUR) == datetime(2026, 2, 28, 20, tzinfo=UTC)
    assert start_of(moment, DAY) == datetime(2026, 2, 28, tzinfo=UTC)
