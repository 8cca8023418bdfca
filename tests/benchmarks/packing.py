"""What packing saves and costs, with a scripted model on loopback: `python -m tests.benchmarks.packing [ITEMS]`.

How often that model forgets an item, names one twice, stops short or minds an item's place is invented, and printed.
"""

import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from rich.table import Table

from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.scripted_server import Heard, Play, ScriptedServer, scripted_server
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions
from tests.benchmarks import workload
from tests.benchmarks.tables import console, number, table

SIZES = (1, 5, 10, 20)
FORGETS, DOUBLES, STOPS_SHORT, SWAYED = 0.01, 0.005, 0.02, 0.02
FIRM_PLACES = 10
BYTES_A_TOKEN = 4
DELAY_S, DELAY_A_TOKEN_S = 0.1, 0.0005
CONCURRENCY = 8
ITEM = re.compile(r"^ITEM (\w+)$\n<<<DATA (\w+)\n(.*?)\nDATA \2>>>", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"<<<DATA (\w+)\n(.*?)\nDATA \1>>>", re.DOTALL)
PROMPT = Path(__file__).parents[2] / "prompts" / f"{workload.TASK}.v1.prompt"
FEELINGS = ("positive", "neutral", "negative", "mixed")
OPTIONS = CallOptions(cache="bypass")


class Model:
    """Judges each text by its own words, and now and then makes the mistakes that models make with lists."""

    def __init__(self) -> None:
        self.random = Random(7)
        self.tokens = 0

    def play(self, heard: Heard) -> Play:
        """The answer to one request, with what it used and the time that it took."""
        asked = "\n".join(message["content"] for message in heard.body["messages"])
        items = [(found[1], found[3]) for found in ITEM.finditer(heard.body["messages"][-1]["content"])]
        said = self.pack(items) if items else alone(FENCED.findall(asked)[-1][1])
        written = len(asked) + len(json.dumps(heard.body.get("response_format") or heard.body.get("tools") or ""))
        usage = {"prompt_tokens": written // BYTES_A_TOKEN, "completion_tokens": len(said) // BYTES_A_TOKEN}
        self.tokens += sum(usage.values())
        delay_s = DELAY_S + usage["completion_tokens"] * DELAY_A_TOKEN_S
        return Play(text=said, usage=usage | {"total_tokens": sum(usage.values())}, delay_s=delay_s)

    def pack(self, items: Sequence[tuple[str, str]]) -> str:
        """The answers to a pack."""
        entries = []
        for place, (one, text) in enumerate(items):
            feeling = feeling_of(text)
            if place >= FIRM_PLACES and self.random.random() < SWAYED:
                feeling = FEELINGS[(FEELINGS.index(feeling) + 1) % len(FEELINGS)]
            entry = {"id": one, "answer": judged(text, feeling)}
            chance = self.random.random()
            entries += [] if chance < FORGETS else [entry] * (1 + (chance > 1 - DOUBLES))
        whole = json.dumps({"answers": entries})
        return whole[: len(whole) // 2] if self.random.random() < STOPS_SHORT else whole


def alone(text: str) -> str:
    """The answer to one text."""
    return json.dumps(judged(text, feeling_of(text)))


def feeling_of(text: str) -> str:
    """One of four, by the words alone."""
    words = " ".join(re.findall(r"[a-z']+", text.lower()))
    return FEELINGS[sha256(words.encode()).digest()[0] % len(FEELINGS)]


def judged(text: str, feeling: str) -> dict[str, Any]:
    """A plausible answer of the task."""
    return {
        "sentiment": feeling,
        "category": "bug",
        "subcategory": None,
        "severity": "minor",
        "language": "en",
        "summary": " ".join(text.split()[:12]),
        "confidence": 0.9,
        "evidence": [],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pass over all items."""

    labels: Sequence[str | None]
    seconds: float
    requests: int
    tokens: int
    reasked: int
    failures: int


def settings_for(folder: Path, server: ScriptedServer, *, batch: int) -> Settings:
    """The gateway in front of the scripted model, with the shipped prompt in packs of `batch`."""
    prompts = folder / "prompts"
    prompts.mkdir()
    text = re.sub(r"^batch: \d+$", f"batch: {batch}", PROMPT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (prompts / f"{workload.TASK}.v9.prompt").write_text(text, encoding="utf-8")
    params = {"model": "openai/scripted", "api_base": server.url, "api_key": "none"}
    prices = {"input_cost_per_token": 0.0000005, "output_cost_per_token": 0.0000015}
    return Settings.model_validate(
        {
            "model_list": [{"model_name": "default", "litellm_params": params | prices}],
            "prompts": prompts,
            "database_url": f"sqlite:///{folder / 'calls.db'}",
            "cache": {"max_entries": 0},
            "limits": {"concurrency": CONCURRENCY},
        }
    )


async def measure(items: Sequence[Mapping[str, Any]], *, batch: int) -> list[Run]:
    """Two passes, in two orders of each pack."""
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            scripted_server(model.play) as server,
            open_services(settings_for(Path(folder), server, batch=batch)) as services,
        ):
            return [await passed(items, services, server, model) for _ in range(2)]


async def passed(items: Sequence[Mapping[str, Any]], services: Services, server: ScriptedServer, model: Model) -> Run:
    """One pass."""
    tally, started = services.tasks.packing.tally, time.perf_counter()
    heard, tokens, reasked = len(server.heard), model.tokens, tally.reasked
    outcomes = await services.tasks.run_many(workload.TASK, items, consumer=LOCAL_CONSUMER, options=OPTIONS)
    labels = [one.result["sentiment"] if isinstance(one, Answer) else None for one in outcomes]
    return Run(
        labels=labels,
        seconds=time.perf_counter() - started,
        requests=len(server.heard) - heard,
        tokens=model.tokens - tokens,
        reasked=tally.reasked - reasked,
        failures=labels.count(None),
    )


def row_of(batch: int, runs: Sequence[Run], count: int) -> tuple[str, ...]:
    """One size in the table; counts and seconds are of both passes."""
    seconds, asked = sum(run.seconds for run in runs), count * len(runs)
    same = sum(one == other for one, other in zip(runs[0].labels, runs[1].labels, strict=True))
    return (
        str(batch),
        number(sum(run.tokens for run in runs) / asked),
        str(sum(run.requests for run in runs)),
        str(sum(run.reasked for run in runs)),
        str(sum(run.failures for run in runs)),
        f"{same / count:.2%}",
        number(sum(run.requests for run in runs) / seconds),
        number(asked / seconds),
    )


async def main(count: int) -> Table:
    """All sizes."""
    items = [
        {"text": f"{item['text']} {number}"} for number, item in enumerate(workload.sample(count))
    ]  # no text twice, or it would be asked once
    head = ("items a call", "tokens/item", "calls", "asked again", "failures", "unchanged", "calls/s", "items/s")
    return table(
        f"{count} items twice, {CONCURRENCY} model calls at the same time, "
        f"{DELAY_S:g} s a call and {DELAY_A_TOKEN_S * 1000:g} ms a token of the answer",
        head,
        [row_of(batch, await measure(items, batch=batch), count) for batch in SIZES],
    )


if __name__ == "__main__":
    console().print(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)))
    console().print(
        f"The scripted model forgets {FORGETS:.1%} of a pack's items, names {DOUBLES:.1%} twice, stops short in "
        f"{STOPS_SHORT:.0%} of packs, and answers {SWAYED:.0%} of the items after the tenth place otherwise."
    )
