"""A process that spends: `python -m tests.ledger.worker URL BILL CALLS [share]`.

Makes CALLS calls at once for the consumer `team`. The provider writes every request that it bills, with its cost, to
the file BILL before it answers. It bills `share` of the bound; the last line on standard output counts what came back.
"""

import asyncio
import os
import sys
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import GatewayError
from feedback_gateway.llm.models import Completion, CompletionRequest, Usage
from feedback_gateway.llm.tokens import most_input_tokens
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions
from tests.api.conftest import fill_in

RATE = Decimal("0.000001")
TASK = "severity"


class BillingProvider:
    """Bills a share of the most that a request can cost, and notes that before it answers."""

    def __init__(self, bill: Path, *, share: float) -> None:
        self._bill = os.open(bill, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._share = share

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Bill, then answer."""
        await asyncio.sleep(0)
        usage = Usage(
            uncached_input_tokens=int(most_input_tokens(request) * self._share),
            output_tokens=int(request.max_tokens * self._share),
        )
        cost = (usage.uncached_input_tokens + usage.output_tokens) * RATE
        os.write(self._bill, f"{call.call_id} {cost}\n".encode())
        return replace(fill_in(request), usage=usage)


def settings_for(url: str) -> Settings:
    """One deployment with a price, one attempt, plenty of time."""
    params = {"model": "scripted/one", "input_cost_per_token": str(RATE), "output_cost_per_token": str(RATE)}
    return Settings.model_validate(
        {
            "model_list": [{"model_name": "default", "litellm_params": params}],
            "database_url": url,
            "retry": {"attempts": 1, "deadline": "60s"},
            "limits": {"concurrency": 1000},
        }
    )


async def spend(url: str, bill: Path, *, calls: int, share: float) -> Counter[str]:
    """Make the calls; how many ended how."""
    provider = BillingProvider(bill, share=share)
    ended: Counter[str] = Counter()
    async with open_services(settings_for(url), provider=lambda _: provider) as services:
        consumer = await asyncio.to_thread(services.books.consumers.find, "team")

        async def call(number: int) -> None:
            item = {"text": f"It crashes ({number:06})."}
            try:
                await services.tasks.run(TASK, item, consumer=consumer, options=CallOptions())
            except GatewayError as error:
                ended[error.code] += 1
            else:
                ended["ok"] += 1

        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(call(number) for number in range(calls)))
    return ended


def main(url: str, bill: str, calls: str, share: str = "1") -> None:
    """Spend and say what came of it."""
    ended = asyncio.run(spend(url, Path(bill), calls=int(calls), share=float(share)))
    sys.stdout.write(" ".join(f"{code}={count}" for code, count in sorted(ended.items())) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
