"""Reads a chat completion in OpenAI's form as the answer to a task. Sends nothing, and knows no schema."""

import re
from collections.abc import Mapping
from typing import Any

from feedback_gateway.errors import ContentRefused, ProviderUnavailable
from feedback_gateway.llm.models import Completion, Usage
from feedback_gateway.llm.openai_answers import FINISH
from feedback_gateway.llm.structured import TOOL

THOUGHTS = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)


def read_chat(answer: Mapping[str, Any], *, usage: Usage) -> Completion:
    """The first choice as our completion. Raises ContentRefused or ProviderUnavailable where there is none."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise ProviderUnavailable("the provider answered without any choice", status=200, usage=usage)
    choice = choices[0]
    said = choice.get("message")
    message: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    finish = FINISH.get(choice.get("finish_reason") or "", "other")
    arguments = tool_arguments(message)
    content = text_of(message) if arguments is None else arguments
    if arguments is not None and finish == "stop":
        finish = "tool_calls"
    fields = message.get("provider_specific_fields") or {}
    if finish == "content_filter":
        raise ContentRefused("the provider's filter stopped the answer", status=200, usage=usage)
    if fields.get("refusal") or message.get("refusal"):
        raise ContentRefused("the model refused to answer", status=200, usage=usage)
    if not content and finish != "length":
        raise ProviderUnavailable("the provider answered with nothing in it", status=200, usage=usage)
    return Completion(content=content, finish_reason=finish, model=answer.get("model") or "", usage=usage)


def tool_arguments(message: Mapping[str, Any]) -> str | None:
    """What our tool, or where there is no text any tool, was called with; None where none was."""
    for tool_call in message.get("tool_calls") or ():
        function = tool_call.get("function") or {}
        if function.get("name") == TOOL or not message.get("content"):
            return str(function.get("arguments"))
    return None


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message without the thoughts that some open models write before it."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return THOUGHTS.sub("", content).strip()
