"""A shadow that is under way when its gateway ends is booked apart, whichever way that ends."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from feedback_gateway.llm.scripted_server import Heard, Play, ScriptedServer
from tests.api.conftest import MOOD
from tests.faults.gateways import gateway_process

DEADLINE_S = 60.0
SHADOW_S = 1.0


def play(heard: Heard) -> Play:
    """The second version takes its time."""
    is_second = "second way" in heard.body["messages"][0]["content"]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"mood": "good"}'}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Play(body=body, delay_s=SHADOW_S if is_second else 0.0)


@pytest.fixture
def provider() -> Iterator[ScriptedServer]:
    """A provider on loopback."""
    server = ScriptedServer(play)
    with start_blocking_portal("asyncio") as portal:
        portal.call(server.start)
        yield server
        portal.call(server.stop)


@pytest.fixture
def settings(tmp_path: Path, provider: ScriptedServer) -> dict[str, Any]:
    """Two versions of a prompt: the first serves and is deprecated, the second is its shadow."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(MOOD)
    (folder / "mood.v2.prompt").write_text(MOOD.replace("Tell the mood.", "Tell the mood a second way."))
    prices = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
    params = {"model": "openai/m", "api_base": provider.url, "api_key": "none", **prices}
    deprecations = {"1": {"since": "2026-03-01", "sunset": "2999-06-01"}}
    return {
        "model_list": [{"model_name": "default", "litellm_params": params}],
        "prompts": str(folder),
        "tasks": {"mood": {"version": 1, "shadow": 2, "deprecations": deprecations}},
    }


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_shadow_under_way_is_booked_as_one(
    tmp_path: Path, settings: dict[str, Any], provider: ScriptedServer, how: signal.Signals
) -> None:
    """Asked to end, the gateway hears it out; killed, what it may have cost is charged by the next one."""
    with gateway_process(tmp_path / "gateway", settings) as gateway:
        asked = time.monotonic()
        answer = httpx.post(f"{gateway.url}/v1/mood", json={"text": "fine"}, timeout=DEADLINE_S)
        while len(provider.heard) < 2:
            assert time.monotonic() < asked + DEADLINE_S
            time.sleep(0.01)
        gateway.signal(how)
        gateway.wait()
        gateway.start()
        rows = usage(gateway.url, until=asked + DEADLINE_S)

    assert answer.json()["prompt_version"] == 1
    assert answer.headers["deprecation"] == "@1772323200"
    assert answer.headers["sunset"] == "Sat, 01 Jun 2999 00:00:00 GMT"
    assert rows["shadow"]["calls"] == 1
    if how == signal.SIGTERM:
        assert (rows["shadow"]["cost_usd"], rows["answer"]["cost_usd"]) == ("0.00014", "0.00014")
    else:
        assert (rows["shadow"]["failed_calls"], rows["shadow"]["unknown_cost_calls"]) == (1, 1)


def usage(url: str, *, until: float) -> dict[str, dict[str, Any]]:
    """The report by purpose, once a shadow is in it."""
    while True:
        response = httpx.get(f"{url}/v1/usage?group_by=purpose", timeout=DEADLINE_S)
        rows = {row["purpose"]: row for row in json.loads(response.text)["data"]}
        if "shadow" in rows:
            return rows
        assert time.monotonic() < until
        time.sleep(0.05)
