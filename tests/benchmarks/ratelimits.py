"""What one admission costs, in this process and in Redis, and what ten thousand consumers weigh: prints one table.

Run as `python -m tests.benchmarks.ratelimits`; it starts a Redis of its own.
"""

import asyncio
import gc
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

from feedback_gateway.clock import SystemClock
from feedback_gateway.ratelimits.models import Allowance, RateLimiter
from feedback_gateway.ratelimits.opening import memory_limiter
from feedback_gateway.ratelimits.redis import SharedLimiter
from feedback_gateway.redis_link.link import open_link
from tests.benchmarks.tables import console, number, table
from tests.servers import RedisServer

CONSUMERS = 10_000
REQUESTS = Allowance(requests_per_minute=10**6)
BOTH = Allowance(requests_per_minute=10**6, tokens_per_minute=10**9)


async def cost_us(limiter: RateLimiter, allowance: Allowance, *, count: int) -> tuple[float, float]:
    """Median and 99th percentile of one admission, in microseconds, over as many consumers as there are."""
    taken = []
    for turn in range(count):
        started = time.perf_counter()
        await limiter.admit("consumer", f"consumer {turn % CONSUMERS}", allowance, tokens=1_000)
        taken.append((time.perf_counter() - started) * 1e6)
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


async def memory_mb() -> float:
    """MB that ten thousand consumers take who sent ten requests each within a minute."""
    limiter = memory_limiter(SystemClock())
    gc.collect()
    tracemalloc.start()
    for turn in range(10 * CONSUMERS):
        await limiter.admit("consumer", f"consumer {turn % CONSUMERS}", BOTH, tokens=1_000)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / 1e6


async def main() -> None:
    """Measure and print."""
    rows = []
    for name, allowance in (("requests", REQUESTS), ("requests and tokens", BOTH)):
        middle, high = await cost_us(memory_limiter(SystemClock()), allowance, count=50_000)
        rows.append([f"memory, {name}", number(middle), number(high)])
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        local, clock = memory_limiter(SystemClock()), SystemClock()
        async with open_link(server.url, clock=clock) as link:
            limiter = SharedLimiter(link, local=local, clock=clock)
            for name, allowance in (("requests", REQUESTS), ("requests and tokens", BOTH)):
                middle, high = await cost_us(limiter, allowance, count=5_000)
                rows.append([f"Redis, {name}", number(middle), number(high)])
        with server.client() as client:
            used = client.info("memory")["used_memory"]
        server.kill()
    out = console()
    out.print(table("One admission", ["counted where, and what", "p50 µs", "p99 µs"], rows))
    out.print(f"10,000 consumers of ten requests in memory: {await memory_mb():.1f} MB")
    out.print(f"Redis after 10,000 admissions of 5,000 consumers: {used / 1e6:.1f} MB")


if __name__ == "__main__":
    asyncio.run(main())
