"""The real application on a file of its own, with one more prompt file and a provider that fills in any schema."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from feedback_gateway.app import create_app
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import LimitSettings, Settings

MOOD = """---
description: Tells the mood of a text.
input:
  schema:
    type: object
    properties:
      text: {type: string, minLength: 1}
    required: [text]
    additionalProperties: false
    examples:
      - {text: "I love the new search."}
output:
  schema:
    type: object
    properties:
      mood: {type: string, enum: [good, bad]}
    required: [mood]
    additionalProperties: false
    examples:
      - {mood: good}
---
System: Tell the mood.
User: {{ text }}
"""


def fill(schema: Any) -> Any:
    """A small value that fits `schema`; the only patterns there are, are of language codes."""
    if "enum" in schema or "anyOf" in schema:
        return schema["enum"][0] if "enum" in schema else fill(schema["anyOf"][0])
    kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    if kind == "object":
        return {name: fill(schema["properties"][name]) for name in schema.get("required", ())}
    if kind == "array":
        return [fill(schema["items"]) for _ in range(schema.get("minItems", 0))]
    number = schema.get("minimum", 0)
    text = "en" if "pattern" in schema else "x" * max(1, schema.get("minLength", 1))
    return {"string": text, "number": number, "integer": number, "boolean": False, "null": None}[kind]


def fill_in(request: CompletionRequest) -> Completion:
    """Answer any request with a value of its schema."""
    return answer(json.dumps(fill(request.output_schema)))


@asynccontextmanager
async def caller_of(settings: Settings, provider: ScriptedClient) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of an application with settings of its own."""
    async with open_services(settings, provider=lambda _: provider) as services:
        app = create_app(settings, services)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
        ):
            yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The operator's own prompts: one."""
    folder = tmp_path / "own-prompts"
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(MOOD)
    return folder


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Settings:
    """Small limits, a database file of its own, a priced provider that fails at once."""
    entry = {
        "model_name": "default",
        "litellm_params": {
            "model": "scripted/one",
            "input_cost_per_token": "0.0000003",
            "output_cost_per_token": "0.0000012",
        },
    }
    return Settings.model_validate(
        {
            "model_list": [entry],
            "prompts": folder,
            "database_url": f"sqlite:///{tmp_path / 'calls.db'}",
            "limits": LimitSettings(text_chars=1_000, body_bytes=100_000, items=20),
            "retry": {"attempts": 1},
        }
    )


@pytest.fixture
def provider() -> ScriptedClient:
    """What answers: anything, unless the test plays another script."""
    return ScriptedClient([fill_in])


@pytest.fixture
async def services(settings: Settings, provider: ScriptedClient) -> AsyncIterator[Services]:
    """Everything but HTTP."""
    async with open_services(settings, provider=lambda _: provider) as services:
        yield services


@pytest.fixture
async def app(settings: Settings, services: Services) -> AsyncIterator[FastAPI]:
    """The application, started."""
    app = create_app(settings, services)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A caller."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client
