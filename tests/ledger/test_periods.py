"""Where the periods of budgets begin and end, in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.ledger.models import Period
from feedback_gateway.ledger.periods import EVER, PERIODS, end_of, start_of

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 `timezones` adds it
TICK = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "moment", "start", "end"),
    [
        ("day", "2026-03-04T00:00:00", "2026-03-04", "2026-03-05"),
        ("day", "2026-03-04T23:59:59.999999", "2026-03-04", "2026-03-05"),
        ("day", "2025-12-31T23:59:59", "2025-12-31", "2026-01-01"),
        ("day", "2028-02-29T12:00:00", "2028-02-29", "2028-03-01"),
        ("week", "2026-01-01T00:00:00", "2025-12-29", "2026-01-05"),
        ("week", "2026-01-04T23:59:59.999999", "2025-12-29", "2026-01-05"),
        ("week", "2026-01-05T00:00:00", "2026-01-05", "2026-01-12"),
        ("week", "2027-01-03T12:00:00", "2026-12-28", "2027-01-04"),
        ("month", "2026-02-28T23:59:59", "2026-02-01", "2026-03-01"),
        ("month", "2028-02-29T00:00:00", "2028-02-01", "2028-03-01"),
        ("month", "2026-01-31T12:00:00", "2026-01-01", "2026-02-01"),
        ("month", "2026-12-31T23:59:59.999999", "2026-12-01", "2027-01-01"),
        ("total", "2026-03-04T12:00:00", "1970-01-01", None),
    ],
)
def test_periods_begin_and_end_where_the_calendar_says(
    period: Period, moment: str, start: str, end: str | None
) -> None:
    """Weeks on Monday, also over the turn of a year; months with their own length."""
    assert start_of(period, utc(moment)) == utc(start)
    assert end_of(period, utc(moment)) == (None if end is None else utc(end))


def test_moment_of_another_time_zone_counts_in_the_day_of_utc() -> None:
    """Half past eleven in New York is tomorrow."""
    new_york = timezone(timedelta(hours=-5))

    assert start_of("day", datetime(2026, 3, 4, 23, 30, tzinfo=new_york)) == utc("2026-03-05")


@given(moment=MOMENTS, period=st.sampled_from(PERIODS))
def test_every_moment_is_in_exactly_one_period(moment: datetime, period: Period) -> None:
    """What ends one begins the next, without a gap."""
    start, end = start_of(period, moment), end_of(period, moment)

    assert start <= moment
    assert start_of(period, start) == start
    if end is None:
        assert start == EVER
        return
    assert moment < end
    assert start_of(period, end) == end
    assert start_of(period, end - TICK) == start


@given(moment=MOMENTS)
def test_weeks_are_those_of_the_iso_calendar(moment: datetime) -> None:
    """Seven days of one ISO week, from its Monday."""
    start, end = start_of("week", moment), end_of("week", moment)

    assert end is not None
    assert start.isocalendar()[:2] == moment.isocalendar()[:2]
    assert (start.isoweekday(), end - start) == (1, timedelta(days=7))
