"""The scripted provider as the one deployment of a gateway under test: one task is answered, at a known price."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal

from feedback_gateway.llm.scripted_server import Heard, Play, Script, ScriptedServer, scripted_server

RATES = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
ANSWER = {"severity": "major", "priority": "P2", "impact": "not stated", "reason": "Something is lost."}


def severity(*, delay_s: float = 0.0) -> Script:
    """Every chat completion is the same severity, after `delay_s` seconds."""

    def play(_: Heard) -> Play:
        return Play(text=json.dumps(ANSWER), delay_s=delay_s)

    return play


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
