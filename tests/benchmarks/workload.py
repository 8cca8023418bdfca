"""What every part of the benchmark sends and gets back: one classification, the bundled sample, the configuration."""

import json
from functools import cache
from importlib import resources
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from feedback_gateway.llm.models import CompletionRequest
from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.prompts.render import render
from feedback_gateway.services import prompt_folders
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.registry import Task, TaskRegistry
from feedback_gateway.tasks.taxonomy import load_taxonomy

TASK = "classify"
MODEL = "openai/gpt-4o-mini"
"""One that litellm knows: it works longer on every answer of a model it does not."""
SLOW_MS = 50


@cache
def task() -> Task:
    """The task that is measured: the one with the largest prompt and the most work after the answer."""
    return TaskRegistry(PromptLibrary.load(prompt_folders(Settings()))).get(TASK)


def text() -> str:
    """The feedback that is classified; the quotes of `answer` are in it."""
    return str((task().example_request or {})["text"])


def answer() -> str:
    """What the model says to `text`: JSON that fits the task's schema."""
    return json.dumps(task().prompt.output_schema["examples"][0])


def task_call(*, model: str = "default") -> bytes:
    """The body of a call of the gateway that no cache may answer."""
    return json.dumps({"text": text(), "options": {"model": model, "cache": "bypass"}}).encode()


def completion_request() -> CompletionRequest:
    """The same question as the task service puts it to a model."""
    inputs: dict[str, Any] = {"text": text(), "taxonomy": load_taxonomy().as_json()}
    prompt = task().prompt
    return CompletionRequest(
        model="default",
        messages=render(prompt, inputs, fence="0" * 16),
        output_schema=task().answer_schema(inputs),
        max_tokens=prompt.max_tokens,
        temperature=prompt.temperature,
        task=TASK,
        items=(inputs,),
        taxonomy=inputs["taxonomy"],
    )


def chat_params() -> dict[str, Any]:
    """The same question in OpenAI's terms."""
    request = completion_request()
    form = {"name": "answer", "schema": request.output_schema, "strict": True}
    return {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "response_format": {"type": "json_schema", "json_schema": form},
    }


def sample(count: int) -> list[dict[str, str]]:
    """`count` items of real feedback, no two with the same text."""
    lines = resources.files("feedback_gateway.cli").joinpath("sample.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [str(json.loads(line)["text"]) for line in lines]
    return [{"id": str(n), "text": f"{text} ({n})"} for n, text in enumerate(islice(cycle(texts), count))]


def write_config(folder: Path, *, provider_url: str) -> Path:
    """A configuration with a `default` and a `slow` deployment behind litellm, and prices for both."""
    prices = {"input_cost_per_token": "0.00000025", "output_cost_per_token": "0.000002"}
    models = [
        {
            "model_name": alias,
            "litellm_params": {"model": MODEL, "api_base": f"{provider_url}/{delay}/v1", "api_key": "none", **prices},
        }
        for alias, delay in (("default", 0), ("slow", SLOW_MS))
    ]
    file = folder / "gateway.yaml"
    file.write_text(json.dumps({"model_list": models}), encoding="utf-8")
    return file
