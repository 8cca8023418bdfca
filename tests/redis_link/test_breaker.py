"""When a part that does not answer is asked again."""

from feedback_gateway.clock import ManualClock
from feedback_gateway.redis_link.breaker import Breaker


def opened() -> tuple[Breaker, ManualClock]:
    """A breaker that has just opened, and rests for three seconds."""
    clock = ManualClock()
    breaker = Breaker(clock.monotonic, rest_s=3)
    ticket = breaker.ask()
    assert ticket is not None
    assert breaker.fail(ticket)
    return breaker, clock


def test_part_that_answers_is_always_asked() -> None:
    """Closed is the beginning."""
    breaker = Breaker(ManualClock().monotonic, rest_s=3)

    tickets = [breaker.ask() for _ in range(10)]

    assert None not in tickets
    assert not breaker.is_open


def test_one_failure_opens_it() -> None:
    """Nobody else has to wait to find out."""
    breaker, clock = opened()
    clock.advance(2.9)

    assert breaker.is_open
    assert breaker.ask() is None


def test_after_the_rest_exactly_one_is_a_probe() -> None:
    """The others are turned away until it has come back, or another rest has passed."""
    breaker, clock = opened()
    clock.advance(3)

    first = [breaker.ask() is not None for _ in range(100)]
    clock.advance(3)
    second = [breaker.ask() is not None for _ in range(100)]

    assert (first.count(True), second.count(True)) == (1, 1)


def test_answered_probe_closes_it() -> None:
    """Once: whoever logs it logs it once."""
    breaker, clock = opened()
    clock.advance(3)
    probe = breaker.ask()
    assert probe is not None

    assert [breaker.answer(probe), breaker.answer(probe)] == [True, False]
    assert None not in [breaker.ask() for _ in range(10)]


def test_failed_probe_begins_another_rest() -> None:
    """It was open, so nothing changed."""
    breaker, clock = opened()
    clock.advance(3)
    probe = breaker.ask()
    assert probe is not None

    changed = breaker.fail(probe)
    clock.advance(2.9)

    assert not changed
    assert breaker.ask() is None


def test_questions_that_were_under_way_change_nothing() -> None:
    """Neither a late failure nor a late answer of before it opened counts."""
    clock = ManualClock()
    breaker = Breaker(clock.monotonic, rest_s=3)
    tickets = [ticket for ticket in (breaker.ask() for _ in range(3)) if ticket is not None]

    changes = [breaker.fail(tickets[0]), breaker.fail(tickets[1]), breaker.answer(tickets[2])]

    clock.advance(3)
    probe = breaker.ask()
    assert probe is not None
    assert changes == [True, False, False]
    assert not breaker.fail(tickets[2])
    assert breaker.answer(probe)
