"""The OpenAPI document: every task and page, examples that hold, and a server that keeps its word."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import uvicorn

from feedback_gateway.api.passthrough_schemas import PATHS
from feedback_gateway.api.routes import PAGES
from feedback_gateway.app import create_app
from feedback_gateway.cli.administration import open_administration
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.registry import RESERVED

# The key that it comes in with must outlive the run. What a cursor is, that names and ids are unique, and what lies
# in the past, is more than a schema can say. Nobody stands behind the deployment that requests would be passed on to.
CONFIG = """
[[operations]]
include-path-regex = "categorize|classify|summarize|root-cause|reply|chat|embeddings|models"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "calls$|feedback$|reviews$|corrections$|/admin/"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "chat/completions|embeddings"
checks.not_a_server_error.enabled = false

[[operations]]
include-path-regex = "/admin/(consumers|keys)/[{]"
enabled = false
"""


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


@pytest.mark.anyio
async def test_every_task_and_page_is_documented(document: dict[str, Any], services: Services) -> None:
    """Both path forms, and nothing that is not there."""
    short = {"/sentiment", "/categorize", "/summarize", "/root-cause-suggest", "/classify"}
    tasks = {f"/v1/{name}" for name in services.registry.names()}
    pages = {page.path for page in PAGES if page.shown}

    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == tasks | pages | short | set(PATHS)


@pytest.mark.anyio
async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Schemas of prompt files keep their own references under their new place."""
    for reference in set(re.findall(r"'\$ref': '([^']+)'", str(document))):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


@pytest.mark.anyio
async def test_examples_are_answered_and_fit_their_schemas(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    """What /docs shows can be sent as it is; what it shows as an answer is one, and so is the real one."""
    for path, operations in document["paths"].items():
        if "post" not in operations or path in PATHS or path in {page.path for page in PAGES}:
            continue
        response = operations["post"]["responses"]["200"]["content"]["application/json"]
        validator = validator_of(response["schema"], document)
        for example in operations["post"]["requestBody"]["content"]["application/json"]["examples"].values():
            answer = await client.post(path, json=example["value"])
            assert answer.status_code == 200, (path, answer.text)
            assert validator.is_valid(answer.json()), path
        assert validator.is_valid(response["examples"]["one"]["value"]), path


def validator_of(schema: dict[str, Any], document: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator of one schema inside the document."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


def test_no_prompt_can_take_the_place_of_a_page() -> None:
    """The names of fixed paths are reserved."""
    assert {page.path.split("/")[2] for page in PAGES if page.path.startswith("/v1/")} <= RESERVED


@pytest.fixture
def admin_key(settings: Settings) -> str:
    """A key that may do everything."""
    with open_administration(settings) as administration:
        administration.consumers.add(Consumer(name="ops"))
        return administration.consumers.create_key("ops", is_admin=True).secret


@pytest.fixture
def url(settings: Settings, provider: ScriptedClient) -> Iterator[str]:
    """A real server on a free port."""
    # Named TCP, or asyncio does not turn Nagle's algorithm off and each answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config("unused", log_level="critical"))

    async def serve() -> None:
        async with open_services(settings, provider=lambda _: provider) as services:
            server.config.app = create_app(settings, services)
            await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_server_keeps_the_word_of_its_document(url: str, admin_key: str, tmp_path: Path) -> None:
    """Schemathesis finds no fault of ours, no undocumented answer, and nothing wrong accepted or right refused."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    options = ["--seed", "1", "--max-examples", "5", "--phases", "examples,coverage,fuzzing"]
    options += ["--header", f"Authorization: Bearer {admin_key}"]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}/openapi.json"]

    run = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert run.returncode == 0, run.stdout[-9_000:] + run.stderr[-2_000:]
