"""The work of `demo --gateway`: a real gateway over real HTTP, in front of two providers that are scripted on loopback.

It shows, as it happens, what the gateway does when providers fail, callers repeat themselves and money runs out.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from textwrap import wrap
from typing import Any

import httpx
import typer
import uvicorn

from feedback_gateway.app import create_app
from feedback_gateway.cli.demo_run import read_sample
from feedback_gateway.cli.server import bind, url_of, uvicorn_config
from feedback_gateway.cli.terminal import format_table, printable, terminal_width
from feedback_gateway.ledger.amounts import format_usd
from feedback_gateway.llm.scripted_server import Heard, Play, scripted_server
from feedback_gateway.observability.logs import configure_logging
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings

INPUT_PRICE, OUTPUT_PRICE = Decimal("0.000001"), Decimal("0.000004")
BUDGET = "0.003"
MOST_OUTPUT = 64
AT_ONCE = 100
LIMITS = httpx.Limits(max_connections=AT_ONCE)
MOST_CALLS = 40
STARTING_S = 30.0
QUESTION = "Answer this customer in one sentence."
REPLIES = ("Thank you, we are looking into it.", "Thanks for telling us; a colleague will write to you today.")


class Billing:
    """A provider's script: it answers, unless it `fails`, and keeps its own account of what it `billed`, in USD."""

    def __init__(self) -> None:
        self.fails = False
        self.asked = 0
        self.billed = Decimal(0)

    def __call__(self, heard: Heard) -> Play:
        """Play one answer, as long as the question asks for."""
        self.asked += 1
        if self.fails:
            return Play(status=503, body={"error": {"message": "overloaded"}})
        question = heard.body["messages"][-1]["content"]
        tokens = {"prompt_tokens": 20 + len(question) // 4, "completion_tokens": 8 + len(question) % 8}
        self.billed += tokens["prompt_tokens"] * INPUT_PRICE + tokens["completion_tokens"] * OUTPUT_PRICE
        return Play(text=REPLIES[len(question) % len(REPLIES)], usage=tokens)


@dataclass(frozen=True, slots=True)
class Tour:
    """The gateway's client, the two providers behind it, where they are, and the feedback to ask about next."""

    client: httpx.AsyncClient
    bases: Mapping[str, str]
    main: Billing
    backup: Billing
    texts: Iterator[str]

    @property
    def asked(self) -> int:
        """Requests that arrived at the providers so far."""
        return self.main.asked + self.backup.asked

    async def chat(self, text: str, *, key: str | None = None) -> httpx.Response:
        """One question, as OpenAI's clients ask it."""
        messages = [{"role": "system", "content": QUESTION}, {"role": "user", "content": text}]
        body = {"model": "default", "messages": messages, "max_tokens": MOST_OUTPUT}
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)

    async def state_of(self, deployment: str) -> Any:
        """How a deployment stands."""
        (found,) = [one for one in (await self.read("/v1/admin/deployments"))["data"] if one["name"] == deployment]
        return found

    async def read(self, path: str) -> Any:
        """What the gateway tells at `path`."""
        answer = await self.client.get(path)
        answer.raise_for_status()
        return answer.json()


async def run_gateway_demo(folder: str, *, afterwards: Callable[["Tour"], Awaitable[None]] | None = None) -> None:
    """Print the tour, then do what is to be done while it is all there. `folder` takes the database."""
    configure_logging(sys.stderr, style="text", level="error")  # what it would warn of is what is shown
    async with opened(Path(folder)) as tour:
        say(f"The gateway at {tour.client.base_url} has two scripted providers behind it:")
        say("`main` takes the calls, `backup` stands by. Prices and answers are theirs to script; the rest is real.")
        await show_failover(tour)
        await show_cache(tour)
        await show_budget(tour)
        await show_ledger(tour)
        if afterwards is not None:
            await afterwards(tour)


async def stay(tour: Tour) -> None:
    """Say what can be done with the gateway and its providers, and keep them until the command is ended."""
    heading("All of it stays until Ctrl-C")
    url = str(tour.client.base_url).rstrip("/")
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "Hello!"}]})
    typer.echo(f"curl -s {url}/v1/chat/completions -H 'content-type: application/json' \\\n  -d '{body}'")
    typer.echo(f"curl -s {url}/v1/usage    # what it has cost\n{url}/docs    # everything else, in a browser")
    say("", "For a gateway of your own, the providers speak OpenAI's protocol at:")
    for name, base in tour.bases.items():
        say(f"model: {name}, api_base: {base}, api_key: any", indent=2)
    await asyncio.Event().wait()


async def show_failover(tour: Tour) -> None:
    """A call, and the same while the provider that should take it fails."""
    heading("A call, and a failover")
    tell_answer(await tour.chat(next(tour.texts)))
    tour.main.fails = True
    failed_over = await tour.chat(next(tour.texts))
    tell_answer(failed_over)
    detail = await tour.read(f"/v1/calls/{failed_over.headers['x-call-id']}")
    for attempt in detail["attempts"]:
        outcome = f"{attempt['error']} (HTTP {attempt['http_status']})" if attempt["error"] else attempt["status"]
        say(f"attempt {attempt['number']}: {attempt['deployment']}: {outcome}", indent=4)
    while (state := await tour.state_of("openai/main"))["state"] == "healthy":
        await tour.chat(next(tour.texts))
    tour.main.fails = False
    say(f"`main` is now left alone until {state['cooling_down_until']}: {state['reason']}")


async def show_cache(tour: Tour) -> None:
    """A question that was asked before, and one that many ask at the same time."""
    heading("A cache hit, and a hundred identical calls at once")
    text = next(tour.texts)
    for _ in range(2):
        tell_answer(await tour.chat(text))
    text, before = next(tour.texts), tour.asked
    answers = await asyncio.gather(*(tour.chat(text) for _ in range(AT_ONCE)))
    good = sum(answer.status_code == httpx.codes.OK for answer in answers)
    cost = sum((Decimal(answer.headers["x-cost-usd"]) for answer in answers), Decimal(0))
    say(f"{good} answers, {tour.asked - before} request to a provider, {format_usd(cost)} USD in all")


async def show_budget(tour: Tour) -> None:
    """A consumer who asks until the money is gone."""
    heading(f"A consumer with a budget of {BUDGET} USD a day")
    budget = {"limit_usd": BUDGET, "period": "day"}
    made = await tour.client.post("/v1/admin/consumers", json={"name": "demo", "budget": budget})
    made.raise_for_status()
    key = (await tour.client.post("/v1/admin/keys", json={"consumer": "demo"})).json()["key"]
    spent, number, warned, before = Decimal(0), 0, "", tour.asked
    answer = await tour.chat(next(tour.texts), key=key)
    while answer.status_code == httpx.codes.OK and number < MOST_CALLS:
        spent, number = spent + Decimal(answer.headers["x-cost-usd"]), number + 1
        before, warned = tour.asked, answer.headers.get("x-budget-warning", "")
        answer = await tour.chat(f"{next(tour.texts)} ({number})", key=key)
    say(f"{number} calls were answered, for {format_usd(spent)} USD; the last one with a warning:")
    say(warned, indent=4)
    say(f"{answer.status_code} {answer.json()['title']}, {tour.asked - before} requests to a provider:")
    say(answer.json()["detail"], indent=4)


async def show_ledger(tour: Tour) -> None:
    """Who spent what, held against what the providers have billed."""
    heading("The ledger")
    names = ("consumer", "calls", "cached_calls", "failed_calls", "cost_usd", "saved_usd")
    rows = (await tour.read("/v1/usage?group_by=consumer"))["data"]
    table = format_table(names, [[str(row[name]) for name in names] for row in rows], right=names[1:])
    say(*table.splitlines())
    billed = tour.main.billed + tour.backup.billed
    booked = sum((Decimal(row["cost_usd"]) for row in rows), Decimal(0))
    say("", f"The providers billed {format_usd(billed)} USD; the ledger has {format_usd(booked)} USD.")


def tell_answer(answer: httpx.Response) -> None:
    """One answer: who gave it, whether it was stored, how long it took and what it cost."""
    answer.raise_for_status()
    said = answer.json()["choices"][0]["message"]["content"]
    took = f"{answer.elapsed.total_seconds() * 1000:.1f} ms"
    cost = f"{format_usd(Decimal(answer.headers['x-cost-usd']))} USD"
    say(f"{answer.status_code}, cache {answer.headers['x-cache']}, {took}, {cost}: {said}")


def heading(text: str) -> None:
    """The title of a step."""
    typer.echo(f"\n{text}\n{'─' * len(text)}")


def say(*lines: str, indent: int = 0) -> None:
    """Lines as they are, cut into those that fit."""
    for line in lines:
        fitted = [line] if "  " in line or not line else wrap(printable(line), terminal_width() - indent)
        for part in fitted:
            typer.echo(" " * indent + part)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Tour]:
    """Two providers, the gateway in front of them, and a client of it."""
    main, backup = Billing(), Billing()
    async with AsyncExitStack() as stack:
        bases = {
            "openai/main": (await stack.enter_async_context(scripted_server(main))).url,
            "openai/backup": (await stack.enter_async_context(scripted_server(backup))).url,
        }
        url = await stack.enter_async_context(serving(settings_for(folder, bases)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=STARTING_S, limits=LIMITS))
        rows = [row["text"] for row in read_sample()]
        yield Tour(client, bases, main, backup, iter(rows[place % len(rows)] for place in count()))


def settings_for(folder: Path, bases: Mapping[str, str]) -> Settings:
    """One alias with a deployment that takes the calls and one, of weight 0, that stands by."""
    models = [
        {
            "model_name": "default",
            "litellm_params": {
                "model": model,
                "api_base": base,
                "api_key": "scripted",
                "weight": int(model == "openai/main"),
                "input_cost_per_token": str(INPUT_PRICE),
                "output_cost_per_token": str(OUTPUT_PRICE),
            },
        }
        for model, base in bases.items()
    ]
    return Settings.model_validate(
        {"model_list": models, "database_url": f"sqlite:///{folder / 'demo.db'}", "prompts": folder}
    )


class TourServer(uvicorn.Server):
    """Leaves signals to the command that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The gateway on a free port of loopback; its URL."""
    listener = bind("127.0.0.1", 0)
    async with open_services(settings) as services:
        server = TourServer(uvicorn_config(create_app(settings, services)))
        listener.listen()
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            await task
