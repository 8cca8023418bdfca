"""A process that is killed while it records leaves a sound log."""

import signal
import subprocess
import sys

import pytest
from sqlalchemy import func, select, text

from feedback_gateway.calls.tables import attempts, calls
from feedback_gateway.storage.engine import open_engine

PROGRAM = """
import asyncio, sys
from decimal import Decimal
from feedback_gateway.calls.recorder import Recorder
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.calls.writer import BatchWriter
from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.models import Deployment, Usage
from feedback_gateway.storage.engine import open_engine, upgrade

async def main():
    engine = open_engine(sys.argv[1])
    upgrade(engine)
    clock = SystemClock()
    writer = BatchWriter(CallRepository(engine).add, clock, batch_rows=7, max_delay_s=0.001)
    writer.start()
    recorder = Recorder(clock, writer, attempts=3, deadline_s=30)
    deployment = Deployment(alias="default", name="openai/small", model="openai/small")
    while True:
        acknowledged = []
        for number in range(20):
            async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
                for _ in range(2):
                    attempt = call.start_attempt(deployment, started_at=clock.now(), purpose="answer")
                    attempt.status, attempt.usage, attempt.cost_usd = "ok", Usage(output_tokens=1), Decimal("0.1")
            acknowledged.append(call.call_id)
            await asyncio.sleep(0)
        await writer.flush()
        print(*acknowledged, sep="\\n", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 50, 333])
def test_a_killed_process_leaves_whole_calls_and_everything_it_flushed(database_url: str, lines: int) -> None:
    """SIGKILL in the middle of recording: no half call, and nothing acknowledged is missing."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, database_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(lines)]

    process.kill()
    acknowledged += [line for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]

    engine = open_engine(database_url)
    with engine.connect() as connection:
        sound = "ok" if engine.name == "postgresql" else connection.scalar(text("PRAGMA integrity_check"))
        stored = set(connection.scalars(select(calls.c.call_id)))
        counted = connection.execute(
            select(calls.c.attempt_count, func.count(attempts.c.number))
            .join_from(calls, attempts, isouter=True)
            .group_by(calls.c.call_id)
        ).all()
    engine.dispose()
    assert process.returncode == -signal.SIGKILL
    assert sound == "ok"
    assert {line.strip() for line in acknowledged} <= stored
    assert {tuple(row) for row in counted} == {(2, 2)}
