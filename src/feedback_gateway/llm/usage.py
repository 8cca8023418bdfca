"""From a provider's usage block to billed tokens in disjoint parts: one reader a convention. Knows no prices."""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from feedback_gateway.llm.models import Usage

Block = Mapping[str, Any]
CHARS_A_TOKEN = 3
MOST_TOKENS = 10**9
"""English has about 4 characters a token, most other text fewer: 3 errs towards too much."""


def usage_of(body: object) -> Usage | None:
    """What `body`, a provider's decoded answer, says was billed; None where it says nothing. Zeros are kept."""
    if not isinstance(body, Mapping):
        return None
    for place in ("usage", "usageMetadata"):
        block = body.get(place)
        if isinstance(block, Mapping):
            return usage_from(block)
    return usage_from(body) if "eval_count" in body else None


def usage_from(block: Block) -> Usage | None:
    """Read one usage block by the first convention whose field it has; None where no convention is recognised."""
    for field, reader in READERS.items():
        if block.get(field) is not None:
            return reader(block)
    return None


def estimate(*, prompt: int, answer: int) -> Usage:
    """Tokens guessed from characters, marked as guessed; at least one for whatever is not empty."""
    return Usage(
        uncached_input_tokens=-(-prompt // CHARS_A_TOKEN), output_tokens=-(-answer // CHARS_A_TOKEN), estimated=True
    )


def count(block: object, *names: str) -> int:
    """The first of `names` that holds a count, 0 where none does; what no prompt could have is no count."""
    if not isinstance(block, Mapping):
        return 0
    values = (block.get(name) for name in names)
    return next((int(value) for value in values if is_count(value)), 0)


def is_count(value: object) -> TypeGuard[int | float]:
    """Whether `value` may be a number of tokens: NaN, infinity, negative and absurd numbers may not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def inclusive(prompt: int, output: int, *, cache_read: int = 0, cache_write: int = 0, reasoning: int = 0) -> Usage:
    """Usage where cached tokens were counted within `prompt` and reasoning within `output`."""
    cache_read = min(cache_read, prompt)
    cache_write = min(cache_write, prompt - cache_read)
    return Usage(
        uncached_input_tokens=prompt - cache_read - cache_write,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
    )


def beside(uncached: int, output: int, *, cache_read: int, cache_write: int, reasoning: int = 0) -> Usage:
    """Usage where cached tokens were counted beside the others."""
    return Usage(
        uncached_input_tokens=uncached,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
    )


def openai_chat(block: Block) -> Usage:
    """OpenAI's chat completions and all who speak them: cached tokens are within the prompt.

    DeepSeek, Mistral and Together name the cached ones elsewhere; xAI counts reasoning beside the completion, which
    its total gives away.
    """
    prompt, output = count(block, "prompt_tokens"), count(block, "completion_tokens")
    details = block.get("prompt_tokens_details")
    reasoning = count(block.get("completion_tokens_details"), "reasoning_tokens") or count(block, "reasoning_tokens")
    if reasoning and count(block, "total_tokens") == prompt + output + reasoning:
        output += reasoning
    named_elsewhere = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cache_read_input_tokens")
    return inclusive(
        prompt,
        output,
        cache_read=count(details, "cached_tokens") or count(block, *named_elsewhere),
        cache_write=count(details, "cache_write_tokens") or count(block, "cache_creation_input_tokens"),
        reasoning=reasoning,
    )


def openai_responses(block: Block) -> Usage:
    """OpenAI's Responses API: cached tokens within the input."""
    details = block.get("input_tokens_details")
    return inclusive(
        count(block, "input_tokens"),
        count(block, "output_tokens"),
        cache_read=count(details, "cached_tokens"),
        cache_write=count(details, "cache_write_tokens"),
        reasoning=count(block.get("output_tokens_details"), "reasoning_tokens"),
    )


def anthropic(block: Block) -> Usage:
    """Anthropic's messages, on whichever cloud: cached tokens beside the input, thinking within the output."""
    return beside(
        count(block, "input_tokens"),
        count(block, "output_tokens"),
        cache_read=count(block, "cache_read_input_tokens"),
        cache_write=count(block, "cache_creation_input_tokens"),
        reasoning=count(block.get("output_tokens_details"), "thinking_tokens"),
    )


def gemini(block: Block) -> Usage:
    """Gemini and Vertex: cached tokens within the prompt, tool results beside it, thoughts beside the candidates."""
    prompt = count(block, "promptTokenCount") + count(block, "toolUsePromptTokenCount")
    candidates, thoughts = count(block, "candidatesTokenCount"), count(block, "thoughtsTokenCount")
    within = thoughts > 0 and count(block, "totalTokenCount") == prompt + candidates
    return inclusive(
        prompt,
        candidates if within else candidates + thoughts,
        cache_read=count(block, "cachedContentTokenCount"),
        reasoning=thoughts,
    )


def cohere(block: Block) -> Usage:
    """Cohere: `billed_units` are billed; its `tokens` and `cached_tokens` also count the provider's own preamble."""
    billed = block["billed_units"]
    return inclusive(count(billed, "input_tokens"), count(billed, "output_tokens"))


def bedrock_converse(block: Block) -> Usage:
    """Amazon Bedrock's Converse: cached tokens beside the input."""
    return beside(
        count(block, "inputTokens"),
        count(block, "outputTokens"),
        cache_read=count(block, "cacheReadInputTokens", "cacheReadInputTokenCount"),
        cache_write=count(block, "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    )


def ollama(body: Block) -> Usage:
    """Ollama's own protocol, whose counts stand beside the answer."""
    return inclusive(count(body, "prompt_eval_count"), count(body, "eval_count"))


READERS: Mapping[str, Callable[[Block], Usage]] = {
    "billed_units": cohere,
    "promptTokenCount": gemini,
    "inputTokens": bedrock_converse,
    "eval_count": ollama,
    "prompt_tokens": openai_chat,
    "total_tokens": openai_responses,
    "input_tokens": anthropic,
}
"""The field that gives a convention away, and its reader; the order decides where a block has several."""
