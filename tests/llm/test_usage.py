"""Each provider counts tokens in its own way; here every way becomes the same disjoint parts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.llm.models import Usage
from feedback_gateway.llm.usage import estimate, usage_of

CHAT = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
FROM_CACHE = Usage(uncached_input_tokens=30, cache_read_tokens=70, output_tokens=40)
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "num_cached_tokens", "input_tokens", "output_tokens")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(CHAT, Usage(uncached_input_tokens=100, output_tokens=40), id="OpenAI"),
        pytest.param({**CHAT, "prompt_tokens_details": {"cached_tokens": 70}}, FROM_CACHE, id="OpenAI cached"),
        pytest.param(
            {**CHAT, "prompt_cache_hit_tokens": 70, "prompt_cache_miss_tokens": 30}, FROM_CACHE, id="DeepSeek"
        ),
        pytest.param({**CHAT, "num_cached_tokens": 70}, FROM_CACHE, id="Mistral"),
        pytest.param({**CHAT, "cached_tokens": 70}, FROM_CACHE, id="Together"),
        pytest.param(
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 30}},
            Usage(uncached_input_tokens=50, cache_read_tokens=20, cache_write_tokens=30, output_tokens=40),
            id="OpenRouter",
        ),
        pytest.param(
            {**CHAT, "completion_tokens_details": {"reasoning_tokens": 25}},
            Usage(uncached_input_tokens=100, output_tokens=40, reasoning_tokens=25),
            id="OpenAI reasoning",
        ),
        pytest.param(
            {**CHAT, "total_tokens": 165, "completion_tokens_details": {"reasoning_tokens": 25}},
            Usage(uncached_input_tokens=100, output_tokens=65, reasoning_tokens=25),
            id="xAI reasoning beside",
        ),
        pytest.param(
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 70},
                "output_tokens": 40,
                "output_tokens_details": {"reasoning_tokens": 9},
                "total_tokens": 140,
            },
            Usage(uncached_input_tokens=30, cache_read_tokens=70, output_tokens=40, reasoning_tokens=9),
            id="OpenAI Responses",
        ),
        pytest.param(
            {
                "input_tokens": 30,
                "cache_read_input_tokens": 70,
                "cache_creation_input_tokens": 5,
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 9},
            },
            Usage(
                uncached_input_tokens=30,
                cache_read_tokens=70,
                cache_write_tokens=5,
                output_tokens=40,
                reasoning_tokens=9,
            ),
            id="Anthropic",
        ),
        pytest.param(
            {
                "inputTokens": 30,
                "outputTokens": 40,
                "totalTokens": 145,
                "cacheReadInputTokens": 70,
                "cacheWriteInputTokens": 5,
            },
            Usage(uncached_input_tokens=30, cache_read_tokens=70, cache_write_tokens=5, output_tokens=40),
            id="Bedrock Converse",
        ),
        pytest.param(
            {
                "billed_units": {"input_tokens": 30, "output_tokens": 40},
                "tokens": {"input_tokens": 500},
                "cached_tokens": 9,
            },
            Usage(uncached_input_tokens=30, output_tokens=40),
            id="Cohere",
        ),
    ],
)
def test_usage_block_is_read_by_its_convention(block: dict[str, Any], expected: Usage) -> None:
    """Cached within the prompt or beside it, reasoning within the output or beside it."""
    assert usage_of({"usage": block}) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 70,
                "candidatesTokenCount": 15,
                "thoughtsTokenCount": 25,
            },
            Usage(uncached_input_tokens=30, cache_read_tokens=70, output_tokens=40, reasoning_tokens=25),
        ),
        (
            {"promptTokenCount": 90, "toolUsePromptTokenCount": 10, "candidatesTokenCount": 40, "totalTokenCount": 140},
            Usage(uncached_input_tokens=100, output_tokens=40),
        ),
        (
            {"promptTokenCount": 100, "candidatesTokenCount": 40, "thoughtsTokenCount": 25, "totalTokenCount": 140},
            Usage(uncached_input_tokens=100, output_tokens=40, reasoning_tokens=25),
        ),
    ],
)
def test_gemini_counts_thoughts_beside_the_candidates_unless_the_total_says_otherwise(
    block: dict[str, int], expected: Usage
) -> None:
    """Tool results are input as well."""
    assert usage_of({"usageMetadata": block}) == expected


def test_ollama_counts_beside_the_answer() -> None:
    """Its own protocol has no usage block."""
    assert usage_of({"prompt_eval_count": 7, "eval_count": 3}) == Usage(uncached_input_tokens=7, output_tokens=3)


@pytest.mark.parametrize(
    "body", [None, [], "text", {}, {"usage": None}, {"usage": {}}, {"usage": {"trafficType": "x"}}]
)
def test_no_count_is_unknown_and_not_zero(body: object) -> None:
    """The client then estimates, and says so."""
    assert usage_of(body) is None


def test_counted_zeros_stay_zeros() -> None:
    """A count of nothing is a count."""
    assert usage_of({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}) == Usage()


@given(st.dictionaries(st.sampled_from(COUNTS), st.none() | st.integers(-5, 10**6) | st.text(max_size=3)))
def test_no_part_is_ever_negative_or_larger_than_its_whole(block: dict[str, Any]) -> None:
    """Whatever a provider sends."""
    usage = usage_of({"usage": block}) or Usage()

    parts = (usage.uncached_input_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
    assert min(*parts, usage.output_tokens) >= 0
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens


def test_estimate_rounds_up_and_is_marked() -> None:
    """Three characters a token."""
    assert estimate(prompt=10, answer=1) == Usage(uncached_input_tokens=4, output_tokens=1, estimated=True)
