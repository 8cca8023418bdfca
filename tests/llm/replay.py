"""Sends every recorded exchange through the real litellm code to a mocked wire and compares what comes back.

What is expected is read from the provider's own body here, by rules written for this comparison alone.
Run as a program, it prints the table by provider.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import respx
from rich.console import Console
from rich.table import Table

from feedback_gateway.errors import (
    ContentRefused,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from feedback_gateway.llm.litellm_client import LiteLLMClient, load_litellm
from feedback_gateway.llm.models import Completion, Deployment
from feedback_gateway.llm.price_table import PriceTable, deployment_rates, load_price_table
from feedback_gateway.llm.prices import cost

FOLDER = Path(__file__).parents[1] / "data" / "provider-responses"
NO_COMPLETION = {
    "count_tokens": "counts tokens, asks no model",
    "input_tokens": "counts tokens, asks no model",
    "compact": "compacts a conversation, answers nothing",
    "embed": "embeds texts",
    "batchEmbedContents": "embeds texts",
}
"""The last part of a path that no chat completion uses, and why."""
FORMS = {
    "openai": ("{}",),
    "anthropic": ("{}",),
    "bedrock": ("{}",),
    "cohere": ("{}",),
    "vertex": ("vertex_ai/{}", "{}"),
    "ollama": (),
}
"""Where the price table lists a provider's models, unless as `provider/model`; ours on Ollama have no price there."""
ERRORS: Mapping[int, type[ProviderError]] = {400: ProviderRejected, 404: ProviderRejected, 429: ProviderRateLimited}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request with its answer."""

    provider: str
    id: str
    url: str
    asked: Mapping[str, Any]
    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def excluded(self) -> str | None:
        """Why this exchange is no chat completion, None where it is one."""
        path = urlsplit(self.url).path
        return NO_COMPLETION.get(path.replace(":", "/").rpartition("/")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a body says: the answer, why it ended, and the billed tokens in disjoint parts."""

    text: str | None
    finish: str
    tokens: tuple[int, int, int, int, int] | None
    refused: bool = False


@dataclass(slots=True)
class Outcome:
    """How one replay compares with its recording; None where there is nothing to compare."""

    exchange: Exchange
    answer: bool | None = None
    tokens: bool | None = None
    cost: bool | None = None
    priced: bool = False
    notes: list[str] = field(default_factory=list)


def exchanges() -> list[Exchange]:
    """Every recording, in the order of the files."""
    return list(recorded(FOLDER))


def recorded(folder: Path) -> Iterator[Exchange]:
    """Read the recordings of a folder, one file a provider."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            request, response = row["request"], row["response"]
            yield Exchange(
                provider=file.stem,
                id=row["id"],
                url=request["url"],
                asked=request["body"],
                status=response["status"],
                headers=response["headers"],
                body=response["body"],
            )


# --- What a body says, by each provider's convention -------------------------------------------------------------


def read_chat(body: Mapping[str, Any]) -> Reading:
    """OpenAI's chat completions: `prompt_tokens` holds the cached ones, `completion_tokens` the reasoning."""
    choice = body["choices"][0]
    message, usage = choice["message"], body["usage"]
    text = message.get("content")
    if isinstance(text, list):
        text = "".join(part["text"] for part in text if part["type"] == "text")
    text = text.rpartition("</think>")[2] if text else text
    if not text and message.get("tool_calls"):
        text = message["tool_calls"][0]["function"]["arguments"]
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("num_cached_tokens") or 0
    written = details.get("cache_write_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    fresh = usage["prompt_tokens"] - cached - written
    return Reading(
        text=text,
        finish=choice["finish_reason"],
        tokens=(fresh, cached, written, usage["completion_tokens"], thought),
        refused=bool(message.get("refusal")),
    )


def read_responses(body: Mapping[str, Any]) -> Reading:
    """OpenAI's Responses API: like chat, under other names; nothing is billed while it is only queued."""
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    text = "".join(part["text"] for part in parts if part["type"] == "output_text") or None
    calls = [item["arguments"] for item in body["output"] if item["type"] == "function_call"]
    usage = body.get("usage")
    tokens = None
    if usage is not None:
        details = usage["input_tokens_details"]
        cached, written = details["cached_tokens"], details.get("cache_write_tokens", 0)
        thought = usage["output_tokens_details"]["reasoning_tokens"]
        tokens = (usage["input_tokens"] - cached - written, cached, written, usage["output_tokens"], thought)
    return Reading(text=text or next(iter(calls), None), finish="tool_calls" if calls else "stop", tokens=tokens)


def read_anthropic(body: Mapping[str, Any]) -> Reading:
    """Anthropic: cached tokens stand beside `input_tokens`; `output_tokens` holds the thinking."""
    text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
    calls = [json.dumps(block["input"]) for block in body["content"] if block["type"] == "tool_use"]
    usage = body["usage"]
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    finish = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
    return Reading(
        text=text or next(iter(calls), None),
        finish=finish[body["stop_reason"]],
        tokens=(usage["input_tokens"], read, written, usage["output_tokens"], thought),
    )


def read_gemini(body: Mapping[str, Any]) -> Reading:
    """Gemini: cached tokens are within the prompt, tool results beside it, thoughts beside the candidates."""
    usage = body["usageMetadata"]
    candidate = (body.get("candidates") or [{}])[0]
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    calls = [json.dumps(part["functionCall"]["args"]) for part in parts if "functionCall" in part]
    finish = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length"}.get(candidate.get("finishReason", ""))
    tokens = None
    if "promptTokenCount" in usage:
        cached, thought = usage.get("cachedContentTokenCount", 0), usage.get("thoughtsTokenCount", 0)
        prompt = usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
        tokens = (prompt - cached, cached, 0, usage.get("candidatesTokenCount", 0) + thought, thought)
    return Reading(
        text=text or next(iter(calls), None), finish=finish or "content_filter", tokens=tokens, refused=finish is None
    )


def read_cohere(body: Mapping[str, Any]) -> Reading:
    """Cohere: `billed_units` is what is billed, whatever `tokens` counts."""
    message, units = body["message"], body["usage"]["billed_units"]
    text = "".join(part["text"] for part in message.get("content") or [] if part["type"] == "text")
    calls = [call["function"]["arguments"] for call in message.get("tool_calls") or []]
    finish = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
    return Reading(
        text=text or next(iter(calls), None),
        finish=finish[body["finish_reason"]],
        tokens=(units["input_tokens"], 0, 0, units["output_tokens"], 0),
    )


def reader(exchange: Exchange) -> Callable[[Mapping[str, Any]], Reading]:
    """The convention that an exchange follows, told by its endpoint."""
    path = urlsplit(exchange.url).path
    if path.endswith("/responses"):
        return read_responses
    if path.endswith(("/messages", "/invoke")):
        return read_anthropic
    if path.endswith(":generateContent"):
        return read_gemini
    return read_cohere if path.endswith("/v2/chat") else read_chat


# --- The same question, asked through the gateway -----------------------------------------------------------------


def deployment(exchange: Exchange) -> Deployment:
    """The deployment that reaches the recorded endpoint, with keys that open nothing."""
    url = urlsplit(exchange.url)
    origin, model = f"{url.scheme}://{url.netloc}", str(exchange.asked.get("model") or "")
    params: dict[str, Any] = {"api_key": "not-a-key"}
    responses = "responses/" if url.path.endswith("/responses") else ""
    name = f"{exchange.provider}/{responses}{model}"
    match exchange.provider:
        case "azure":
            params |= {"api_base": origin, "api_version": "v1"}
        case "bedrock":
            name = f"bedrock/invoke/{url.path.split('/')[2]}"
            params = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "aws_region_name": "us-east-1"}
        case "deepseek":
            params |= {"api_base": origin}
        case "cohere":
            name = f"cohere_chat/{model}"
        case "gemini":
            name = f"gemini/{model_in(url.path)}"
        case "huggingface":
            name = f"huggingface/{model}"
            params |= {"api_base": f"{origin}{url.path}"}
        case "ollama":
            name = f"openai/{model}"
            params |= {"api_base": f"{origin}/v1"}
        case "vertex":
            parts = url.path.split("/")
            name = f"vertex_ai/{model_in(url.path)}"
            params = {"vertex_project": parts[3], "vertex_location": parts[5]}
    return Deployment(alias="default", name=name, model=name, params=params, timeout_s=5)


def unversioned(path: str) -> str:
    """Google's path without its version: litellm asks newer models of a newer one than the recording did."""
    return re.sub(r"^/v1(?:alpha|beta1?)?/(?=models/|projects/)", "/", path)


def model_in(path: str) -> str:
    """`gemini-2.5-flash` of `…/models/gemini-2.5-flash:generateContent`."""
    return path.rpartition("/")[2].partition(":")[0]


def question(exchange: Exchange) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The recorded conversation as text turns, and the offered functions, in OpenAI's terms."""
    asked = exchange.asked
    turns = asked.get("messages") or asked.get("contents") or asked.get("input") or []
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    system = asked.get("system") or asked.get("systemInstruction") or asked.get("instructions")
    if system:
        turns = [{"role": "system", "content": system}, *turns]
    messages = [{"role": role(turn), "content": text_in(turn)} for turn in turns]
    tools = list(functions(asked.get("tools") or ()))
    params: dict[str, Any] = {"tools": tools} if tools else {}
    if "max_tokens" in asked and exchange.provider in ("anthropic", "bedrock"):
        params["max_tokens"] = asked["max_tokens"]
    return messages, params


def role(turn: Mapping[str, Any]) -> str:
    """OpenAI's name of who speaks; results of tools are retold by the user."""
    named = str(turn.get("role") or "user")
    return {"model": "assistant", "tool": "user", "developer": "system"}.get(named, named)


def text_in(turn: object) -> str:
    """All that is text in a turn; what is none is told by a word, for the gateway sends text alone."""
    if isinstance(turn, str):
        return turn
    if isinstance(turn, Mapping):
        content = turn.get("content", turn.get("parts", turn.get("text")))
        return "(no text)" if content is None or content == "" else text_in(content)
    if isinstance(turn, list):
        return "\n".join(text_in(part) for part in turn) or "(no text)"
    return str(turn)


def functions(tools: Any) -> Iterator[dict[str, Any]]:
    """The functions that were offered; a provider's own tools are not the gateway's."""
    for tool in tools:
        declared = tool.get("functionDeclarations") or [tool.get("function") or tool]
        for function in declared:
            schema = function.get("input_schema") or function.get("parameters") or function.get("parametersJsonSchema")
            schema = schema or function.get("parameters_json_schema")
            if "name" in function and isinstance(schema, Mapping):
                yield {
                    "type": "function",
                    "function": {
                        "name": function["name"],
                        "description": function.get("description") or "",
                        "parameters": dict(schema),
                    },
                }


# --- The comparison ------------------------------------------------------------------------------------------------


async def replay(exchange: Exchange, table: PriceTable, *, answered: Mapping[str, Any] | None = None) -> Outcome:
    """Ask the recorded question, answer as recorded (or with `answered`), and compare."""
    outcome = Outcome(exchange)
    client = LiteLLMClient(deployment(exchange))
    messages, params = question(exchange)
    with respx.mock(assert_all_called=False) as wire:
        wire.route().mock(
            return_value=httpx.Response(
                exchange.status, json=answered or exchange.body, headers={"content-type": "application/json"}
            )
        )
        try:
            result: Completion | ProviderError = await client.send(messages, params)
        except ProviderError as error:
            result = error
        requests = [call.request for call in wire.calls]
    sent = [(request.url.host, request.url.path) for request in requests]
    url = urlsplit(exchange.url)
    if [(host, unversioned(path)) for host, path in sent] != [(url.hostname, unversioned(url.path))]:
        outcome.notes.append(f"sent {sent} {result!r}")
        outcome.answer = False
        return outcome
    compare(exchange, result, outcome=outcome, table=table)
    return outcome


def compare(exchange: Exchange, result: Completion | ProviderError, *, outcome: Outcome, table: PriceTable) -> None:
    """Fill `outcome` with what agrees."""
    if exchange.status >= 400:
        expected = ERRORS[exchange.status]
        outcome.answer = type(result) is expected and result.status == exchange.status
        outcome.tokens = isinstance(result, ProviderError) and result.usage is None
        outcome.notes.append(repr(result))
        return
    said = reader(exchange)(exchange.body)
    if said.refused or said.text is None:
        error = ContentRefused if said.refused else ProviderUnavailable
        outcome.answer = type(result) is error
    else:
        outcome.answer = isinstance(result, Completion) and same_text(result.content, said.text)
        outcome.answer = outcome.answer and getattr(result, "finish_reason", None) == said.finish
    usage = result.usage
    parts = None
    if usage is not None and not usage.estimated:
        inputs = (usage.uncached_input_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
        parts = (*inputs, usage.output_tokens, usage.reasoning_tokens)
    outcome.tokens = parts == said.tokens
    outcome.notes.append(f"{result!r}"[:300] if not (outcome.answer and outcome.tokens) else "")
    if said.tokens is not None and usage is not None:
        model = deployment(exchange).model
        rates = deployment_rates(model, table, params={}, info={})
        wanted = expected_cost(exchange, said.tokens, table)
        outcome.priced = wanted is not None
        outcome.cost = (None if rates is None else Fraction(cost(usage, rates))) == wanted


def same_text(left: str, right: str) -> bool:
    """Equal as text, or, for the arguments of a tool, as JSON."""
    if left.strip() == right.strip():
        return True
    try:
        return bool(json.loads(left) == json.loads(right))
    except ValueError:
        return False


def expected_cost(exchange: Exchange, tokens: tuple[int, int, int, int, int], table: PriceTable) -> Fraction | None:
    """Tokens times prices in fractions, from the row that carries this provider's name for the model."""
    path = urlsplit(exchange.url).path
    model = str(
        exchange.asked.get("model") or (path.split("/")[2] if exchange.provider == "bedrock" else model_in(path))
    )
    forms = FORMS.get(exchange.provider, (exchange.provider + "/{}",))
    row = next((table[form.format(model)] for form in forms if form.format(model) in table), None)
    if row is None:
        return None

    def rate(name: str, otherwise: str) -> Fraction:
        return Fraction(str(row.get(name, row[otherwise])))

    fresh, read, written, output, thought = tokens
    return (
        fresh * rate("input_cost_per_token", "input_cost_per_token")
        + read * rate("cache_read_input_token_cost", "input_cost_per_token")
        + written * rate("cache_creation_input_token_cost", "input_cost_per_token")
        + (output - thought) * rate("output_cost_per_token", "output_cost_per_token")
        + thought * rate("output_cost_per_reasoning_token", "output_cost_per_token")
    )


async def no_token(_: object, credentials: object, project_id: str | None) -> tuple[str, str | None]:
    """Stands for Google's token service."""
    return "not-a-token", project_id


def prepare() -> None:
    """Let litellm send through httpx, where respx listens, and without a token of Google's."""
    litellm: Any = load_litellm()
    litellm.disable_aiohttp_transport = True
    from litellm.llms.vertex_ai.vertex_llm_base import VertexBase  # noqa: PLC0415

    VertexBase.get_access_token_async = no_token  # type: ignore[method-assign,assignment]


async def replay_all() -> list[Outcome]:
    """Replay every exchange that is a chat completion; the others come back uncompared."""
    prepare()
    table = load_price_table()
    return [Outcome(each) if each.excluded else await replay(each, table) for each in exchanges()]


def main() -> int:
    """Print the table by provider and what disagrees; 1 where anything does."""
    outcomes = asyncio.run(replay_all())
    console = Console()
    table = Table("provider", "exchanges", "replayed", "answers agree", "tokens agree", "priced", "cost agrees")
    for provider in (*sorted({each.exchange.provider for each in outcomes}), "all"):
        rows = [each for each in outcomes if provider in (each.exchange.provider, "all")]
        done = [each for each in rows if not each.exchange.excluded]
        counts = (
            len(rows),
            len(done),
            sum(each.answer is True for each in done),
            sum(each.tokens is True for each in done),
        )
        priced = [each for each in done if each.priced]
        table.add_row(provider, *map(str, counts), str(len(priced)), str(sum(each.cost is True for each in priced)))
    console.print(table)
    for each in outcomes:
        if each.exchange.excluded:
            console.print(f"not replayed: {each.exchange.provider} {each.exchange.id}: {each.exchange.excluded}")
    wrong = [each for each in outcomes if False in (each.answer, each.tokens, each.cost)]
    for each in wrong:
        console.print(f"differs: {each.exchange.provider} {each.exchange.id} {each.notes}", markup=False)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
