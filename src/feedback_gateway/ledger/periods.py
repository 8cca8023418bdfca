"""The periods of budgets: calendar days, ISO weeks and months in UTC, and all time."""

from datetime import UTC, datetime, timedelta

from feedback_gateway.ledger.models import Period

PERIODS: tuple[Period, ...] = ("day", "week", "month", "total")
EVER = datetime(1970, 1, 1, tzinfo=UTC)


def start_of(period: Period, moment: datetime) -> datetime:
    """The first moment of the period that `moment` is in; weeks begin on Monday."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "total":
            return EVER


def end_of(period: Period, moment: datetime) -> datetime | None:
    """The first moment of the next period, None for one that does not end."""
    start = start_of(period, moment)
    match period:
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case "month":
            return (start + timedelta(days=32)).replace(day=1)
        case "total":
            return None
