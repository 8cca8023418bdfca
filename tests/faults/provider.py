"""The scripted provider as the one deployment of a gateway under test: one task is answered, at a known price."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal

from feedback_gateway.llm.scripted_server import Heard, Play, Script, ScriptedServer, scripted_server

RATES = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
ANSWER = {"severity": "major", "priority": "P2", "impact": "not stated", "reason": "Something is lost."}
PACKED_ITEM = re.compile(r"^ITEM (\w+)$", re.MULTILINE)


def severity(*, delay_s: float = 0.0) -> Script:
    """Every item of every chat completion has the same severity, after `delay_s` seconds."""

    def play(heard: Heard) -> Play:
        packed = [{"id": one, "answer": ANSWER} for one in packed_items(heard)]
        return Play(text=json.dumps({"answers": packed} if packed else ANSWER), delay_s=delay_s)

    return play


def packed_items(heard: Heard) -> list[str]:
    """The ids of the items that a request asks about together; none where it is about one."""
    return PACKED_ITEM.findall(heard.body["messages"][-1]["content"])


def items_asked(provider: ScriptedServer) -> int:
    """For how many items the provider was asked, over all its requests."""
    return sum(len(packed_items(heard)) or 1 for heard in list(provider.heard))


def deployment(provider: ScriptedServer, **params: Any) -> dict[str, Any]:
    """The provider in `model_list`, as the alias `default`."""
    asked = {"model": "openai/m", "api_base": provider.url, "api_key": "none", **RATES, **params}
    return {"model_name": "default", "litellm_params": asked}


@contextmanager
def provider_in_thread(*, delay_s: float = 0.0) -> Iterator[ScriptedServer]:
    """A provider that answers while the test waits for something else."""
    script = severity(delay_s=delay_s)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(scripted_server(script)) as it:
        yield it
