"""CPU time of a call, layer by layer: stages run by themselves, and layers are their differences."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.health import Rules
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.litellm_client import LiteLLMClient, load_litellm
from feedback_gateway.llm.models import Deployment, Usage
from feedback_gateway.llm.scripted import OpenPurse
from feedback_gateway.llm.stack import Stack
from feedback_gateway.ratelimits.opening import memory_limiter
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions
from tests.benchmarks import workload
from tests.benchmarks.load import Target, drive, put_load_on
from tests.benchmarks.serving import InstantClient
from tests.llm.calls import new_call

Stage = Callable[[int], Awaitable[None]]
CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a call and its CPU time, in ms."""

    name: str
    cpu_ms: float


async def measure_layers(
    settings: Settings, *, provider_url: str, servers: Mapping[str, Target], calls: int, rounds: int
) -> dict[str, float]:
    """CPU ms a call of each stage and of each of `servers`, the median of `rounds` that take turns."""
    found: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings, provider=lambda _: InstantClient()))

        async def run(stages: Mapping[str, Stage]) -> None:
            for name, stage in stages.items():
                before = time.process_time()
                await drive(stage, calls=calls, clients=CLIENTS)
                await services.books.writer.flush()
                found.setdefault(name, []).append((time.process_time() - before) * 1000 / calls)

        own = own_stages(services)
        await warm_up(own)
        for _ in range(rounds):
            await run(own)
            for name, target in servers.items():
                load = await put_load_on(target, calls=calls, clients=CLIENTS)
                found.setdefault(name, []).append(load.cpu_ms)
        # Last, so that this process holds no more than the one with the instant provider until then.
        client = LiteLLMClient(deployment(provider_url))
        stack.push_async_callback(client.aclose)
        behind = {"litellm": litellm_stage(provider_url), "adapter": adapter_stage(client)}
        await warm_up(behind)
        for _ in range(rounds):
            await run(behind)
    return {name: statistics.median(values) for name, values in found.items()}


async def warm_up(stages: Mapping[str, Stage]) -> None:
    """Run every stage a few times."""
    for stage in stages.values():
        await drive(stage, calls=CLIENTS, clients=CLIENTS)


def own_stages(services: Services) -> dict[str, Stage]:
    """What needs no litellm."""
    return {
        "wrappers": wrappers_stage(),
        "ledger": ledger_stage(services),
        "service": service_stage(services),
    }


def layers_of(stages: Mapping[str, float]) -> list[Layer]:
    """The layers, outermost first; `instant` is the whole process of the gateway with an instant provider."""
    return [
        Layer("HTTP (uvicorn, routing, strict JSON, headers)", stages["instant"] - stages["service"]),
        Layer("task (inputs, prompt, evidence, routing)", stages["service"] - stages["wrappers"] - stages["ledger"]),
        Layer("wrappers (deadline, schema, retry, fallback, metering)", stages["wrappers"]),
        Layer("ledger (recording, SQLite)", stages["ledger"]),
        Layer("litellm with our adapter", stages["adapter"]),
    ]


def deployment(provider_url: str) -> Deployment:
    """The deployment behind litellm."""
    params = {"api_base": f"{provider_url}/0/v1", "api_key": "none"}
    return Deployment(alias="default", name=workload.MODEL, model=workload.MODEL, params=params)


def litellm_stage(provider_url: str) -> Stage:
    """Only litellm."""
    litellm: Any = load_litellm()
    params = workload.chat_params() | {"model": workload.MODEL, "timeout": 60, "max_retries": 0}
    params |= deployment(provider_url).params

    async def run(_: int) -> None:
        await litellm.acompletion(**params)

    return run


def adapter_stage(client: LiteLLMClient) -> Stage:
    """Our adapter around litellm."""
    request = workload.completion_request()

    async def run(_: int) -> None:
        await client.complete(request, new_call(task=workload.TASK))

    return run


def wrappers_stage() -> Stage:
    """Every wrapper around a provider that answers at once."""
    deployments = [deployment("http://localhost")]
    wrappers = Stack(
        deployments=deployments,
        fallbacks=Fallbacks(),
        routing={},
        health=HealthWatch(deployments, rules=Rules(), clock=SystemClock()),
        backoff_s=0.5,
        max_backoff_s=8,
        purse=OpenPurse(),
        limiter=memory_limiter(SystemClock()),
        clock=SystemClock(),
        random=Random(1),
    )
    client = wrappers.tasks(lambda _: InstantClient())
    request = workload.completion_request()

    async def run(_: int) -> None:
        await client.complete(request, new_call(task=workload.TASK))

    return run


def ledger_stage(services: Services) -> Stage:
    """Opening, closing and writing a call with one attempt."""
    asked = deployment("http://localhost")

    async def run(_: int) -> None:
        async with services.books.recorder.record(LOCAL_CONSUMER, workload.TASK, 1, "default", timeout_s=None) as call:
            attempt = call.start_attempt(asked, started_at=services.clock.now(), purpose="answer")
            attempt.status, attempt.usage = "ok", Usage(uncached_input_tokens=1500, output_tokens=100)

    return run


def service_stage(services: Services) -> Stage:
    """A task from item to answer, with wrappers and ledger."""
    item = {"text": workload.text()}

    async def run(_: int) -> None:
        await services.tasks.run(workload.TASK, item, consumer=LOCAL_CONSUMER, options=CallOptions(cache="bypass"))

    return run
