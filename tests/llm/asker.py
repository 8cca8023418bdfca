"""A process that asks one thing many times at once: `python -m tests.llm.asker FOLDER REDIS_URL COUNT`.

Its provider counts each request in Redis under `asked` and answers once there is a key `go` there. It prints how many
calls were hits.
"""

import asyncio
import sys
from pathlib import Path

import redis.asyncio

from feedback_gateway.calls.models import Call
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import answer
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions

OPTIONS = CallOptions()


class Gated:
    """Answers when it is told to."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Count, wait, answer."""
        await self._client.incr("asked")
        while not await self._client.exists("go"):  # noqa: ASYNC110 another process sets it
            await asyncio.sleep(0.01)
        return answer('{"mood": "good"}')


async def main(folder: Path, url: str, count: int) -> int:
    """Ask; how many calls were hits."""
    settings = Settings.model_validate(
        {
            "model_list": [{"model_name": "default", "litellm_params": {"model": "scripted/one"}}],
            "prompts": folder,
            "database_url": f"sqlite:///{folder / 'calls.db'}",
            "redis_url": url,
            "retry": {"attempts": 1, "deadline": "60s"},
        }
    )
    client = redis.asyncio.Redis.from_url(url)
    provider = Gated(client)
    async with open_services(settings, provider=lambda _: provider) as services:
        calls = [
            services.tasks.run("mood", {"text": "fine"}, consumer=LOCAL_CONSUMER, options=OPTIONS) for _ in range(count)
        ]
        await client.incr("there")
        told = await asyncio.gather(*calls)
    await client.aclose()
    return sum(one.cached for one in told)


if __name__ == "__main__":
    print(asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))  # noqa: T201
