"""Answers and failures of tasks as the JSON that callers see, over HTTP and from the command line.

Pure: knows no web framework.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from feedback_gateway.api.problems import problem
from feedback_gateway.calls.models import Receipt
from feedback_gateway.ledger.amounts import format_usd
from feedback_gateway.tasks.models import Answer, Failure
from feedback_gateway.tasks.repeats import Hit, Page

NOTHING = Receipt(input_tokens=0, cached_input_tokens=0, output_tokens=0, cost_usd=Decimal(0))


def answer_json(answer: Answer) -> dict[str, Any]:
    """The body of a task call for one item; `latency_ms` with one decimal, `cost_usd` an exact decimal string."""
    return {
        "call_id": answer.call_id,
        "task": answer.task,
        "prompt_version": answer.prompt_version,
        "taxonomy_version": answer.taxonomy_version,
        "model": answer.model,
        "deployment": answer.deployment,
        "id": answer.id,
        "result": answer.result,
        "cached": answer.cached,
        "latency_ms": round(answer.latency_ms, 1),
        "usage": usage_json(answer.receipt),
    }


def repeat_page(answer: Answer) -> Page:
    """How `answer` reads when it is given again from the cache, but for the call's id and latency."""
    again = answer_json(replace(answer, cached=True, receipt=NOTHING))
    names = list(again)
    middle = names[names.index("call_id") + 1 : names.index("latency_ms")]
    rest = names[names.index("latency_ms") + 1 :]
    first, second = ({name: again[name] for name in part} for part in (middle, rest))
    return to_json(first)[1:-1], to_json(second)[1:-1]


def repeat_json(hit: Hit) -> bytes:
    """The body of a call that was answered once more."""
    middle, rest = hit.page
    latency = to_json(round(hit.latency_ms, 1))
    return b'{"call_id":"%b",%b,"latency_ms":%b,%b}' % (hit.call_id.encode(), middle, latency, rest)


def to_json(value: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def failure_json(failure: Failure) -> dict[str, Any]:
    """The entry of an item that has no answer: its id and the problem document."""
    return {"id": failure.id, "error": problem(failure.error, call_id=failure.call_id)}


def many_json(results: Iterable[Answer | Failure]) -> dict[str, Any]:
    """The body of a task call for many items: every entry in its order, and what all of them cost together."""
    results = list(results)
    return {
        "results": [answer_json(one) if isinstance(one, Answer) else failure_json(one) for one in results],
        "usage": usage_json(total(one.receipt for one in results)),
    }


def usage_json(receipt: Receipt) -> dict[str, Any]:
    """Tokens as integers and `cost_usd` as an exact decimal string, or None where it is unknown."""
    return {
        "input_tokens": receipt.input_tokens,
        "cached_input_tokens": receipt.cached_input_tokens,
        "output_tokens": receipt.output_tokens,
        "cost_usd": money(receipt.cost_usd),
    }


def money(value: Decimal | None) -> str | None:
    """An exact decimal string."""
    return None if value is None else format_usd(value)


def moment(value: datetime) -> str:
    """A time of day as RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def total(receipts: Iterable[Receipt | None]) -> Receipt:
    """The sum of `receipts`; an item that made no call cost nothing, one unknown cost makes the sum unknown."""
    known = [receipt or NOTHING for receipt in receipts]
    costs = [receipt.cost_usd for receipt in known]
    priced = [cost for cost in costs if cost is not None]
    return Receipt(
        input_tokens=sum(receipt.input_tokens for receipt in known),
        cached_input_tokens=sum(receipt.cached_input_tokens for receipt in known),
        output_tokens=sum(receipt.output_tokens for receipt in known),
        cost_usd=sum(priced, Decimal(0)) if len(priced) == len(costs) else None,
    )
