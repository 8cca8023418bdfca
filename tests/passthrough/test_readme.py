"""The README's example with OpenAI's client does what it says."""

import asyncio
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from feedback_gateway.llm.scripted_server import TEXT, Play
from tests.passthrough.conftest import MARKS, Gateway
from tests.readme import README

pytestmark = MARKS


@pytest.fixture
def road() -> str:
    """The example is about the caller's end."""
    return "straight"


async def test_the_example_runs_and_a_stream_costs_what_a_whole_answer_does(gateway: Gateway, tmp_path: Path) -> None:
    """Plain, streamed, with tools and a schema, embeddings; the stream that was left is charged, as an estimate."""
    gateway.provider.script = lambda heard: Play(pause_s=0.05 if heard.body.get("seed") else 0.0)
    (shown,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    script = shown.replace("http://127.0.0.1:8000", gateway.url).replace("=KEY", f"={gateway.client.api_key!r}")
    file = tmp_path / "example.py"
    file.write_text(script, encoding="utf-8")

    process = await asyncio.create_subprocess_exec(sys.executable, str(file), stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()

    left, embedded, *_, streamed, whole = await gateway.calls()
    assert process.returncode == 0
    assert said.decode().splitlines() == [TEXT, TEXT, "look_up", TEXT, "2", "['default']"]
    assert streamed.cost_usd == whole.cost_usd == Decimal("0.00014")
    assert (embedded.task, left.status, left.usage_estimated) == ("embeddings", "cancelled", True)
    assert Decimal(0) < left.cost_usd < whole.cost_usd
    assert gateway.provider.left == 1
