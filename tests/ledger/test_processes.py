"""Budgets over processes: none is overshot, nothing fits that is refused, and a kill leaves nothing unsettled."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from feedback_gateway.calls.repository import CallFilters, CallRecord, CallRepository
from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.consumers.repository import ConsumerRepository
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.ledger.models import Budget
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.storage.engine import open_engine
from feedback_gateway.storage.liveness import open_liveness

PROCESSES = 4
Spend = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    """What the provider billed."""
    return tmp_path / "bill"


@pytest.fixture
def spend(database_url: str, bill: Path) -> Iterator[Spend]:
    """Starts a spending process, which waits for a line on its standard input."""
    started: list[subprocess.Popen[str]] = []

    def begin(*, calls: int, share: float = 1.0) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.worker", database_url, str(bill), str(calls), str(share)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The database, as another process would see it."""
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def add_team(url: str, *budgets: Budget) -> None:
    """The consumer that spends."""
    with opened(url) as engine:
        Consumers(ConsumerRepository(engine), SystemClock()).add(Consumer(name="team", budgets=budgets))


def billed(bill: Path) -> dict[str, Decimal]:
    """By call, what the provider billed; it bills no call twice."""
    lines = [line.split() for line in bill.read_text().splitlines()] if bill.exists() else []
    found = {call_id: Decimal(cost) for call_id, cost in lines}
    assert len(found) == len(lines)
    return found


def bound_of_a_call(url: str, bill: Path, spend: Spend) -> Decimal:
    """What one call of the worker's can cost at most, found by making one for a consumer without a budget."""
    add_team(url)
    process = spend(calls=1)
    process.communicate("go\n")
    (cost,) = billed(bill).values()
    bill.unlink()
    with opened(url) as engine:
        (entry,) = LedgerRepository(engine).entries()
    assert entry.amount_usd == cost
    return cost


def set_budget(url: str, limit_usd: Decimal) -> None:
    """A budget in all, beside what was spent before."""
    with opened(url) as engine:
        consumers = Consumers(ConsumerRepository(engine), SystemClock())
        consumers.change("team", {"budgets": (Budget(limit_usd=limit_usd, period="total"),)})


def test_of_many_calls_at_once_exactly_those_that_fit_reach_the_provider(
    database_url: str, bill: Path, spend: Spend
) -> None:
    """Four processes, ten times four calls, a budget for eleven: eleven, not one more and not one fewer."""
    cost = bound_of_a_call(database_url, bill, spend)
    set_budget(database_url, cost * 12)  # one is spent already
    processes = [spend(calls=10) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    outputs = [process.communicate("go\n") for process in processes]

    said = " ".join(output for output, _ in outputs)
    with opened(database_url) as engine:
        money = LedgerRepository(engine)
        spent = sum((entry.amount_usd or 0 for entry in money.entries()), Decimal(0))
        held = money.holds()
    assert len(billed(bill)) == 11, said
    assert spent == cost * 12
    assert held == []
    refused = sum(int(part.split("=")[1]) for part in said.split() if part.startswith("budget-exceeded="))
    assert refused == 29


def test_a_kill_in_the_middle_leaves_every_billed_call_in_the_ledger_once(
    database_url: str, bill: Path, spend: Spend
) -> None:
    """What was answered is charged as billed, what died at its bound; the sum stays within the budget."""
    cost = bound_of_a_call(database_url, bill, spend)
    limit = cost * 100
    set_budget(database_url, limit)
    processes = [spend(calls=60, share=0.5) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    while len(bill.read_text().splitlines() if bill.exists() else []) < 20:
        assert any(process.poll() is None for process in processes)

    processes[0].kill()
    for process in processes:
        process.communicate()

    with opened(database_url) as engine:
        liveness = open_liveness(engine)
        liveness.start()
        CallRepository(engine).settle_orphans(liveness.is_alive)
        liveness.close()
        money = LedgerRepository(engine)
        entries = {entry.call_id: entry for entry in money.entries(limit=1_000)}
        lines = money.entries(limit=1_000)
        (standing,) = money.standings("team", [Budget(limit_usd=limit, period="total")], now=SystemClock().now())
        logged = {row.call_id for row in walk(CallRepository(engine))}
        assert money.holds() == []
    assert len(entries) == len(lines)
    provider = billed(bill)
    assert set(provider) <= set(entries)
    for call_id, amount in provider.items():
        entry = entries[call_id]
        assert entry.kind in ("charge", "orphan")
        assert entry.amount_usd == amount if entry.kind == "charge" else (entry.amount_usd or 0) >= amount
    assert set(entries) <= logged
    assert standing.spent_usd == sum((entry.amount_usd or 0 for entry in lines), Decimal(0)) <= limit


def walk(calls: CallRepository) -> Iterator[CallRecord]:
    """Every call of the log."""
    cursor = None
    while True:
        page = calls.page(CallFilters(), limit=200, cursor=cursor)
        yield from page.data
        if (cursor := page.next_cursor) is None:
            return
