"""The prompts over HTTP."""

from pathlib import Path

import httpx
import pytest

from feedback_gateway.services import Services

pytestmark = pytest.mark.anyio

CONTRACT = {
    "sentiment",
    "categorize",
    "severity",
    "summarize",
    "root-cause-suggest",
    "classify",
    "translate",
    "reply-draft",
}


async def test_all_prompts_are_listed_with_their_schemas(client: httpx.AsyncClient) -> None:
    """The built-in ones and the operator's own."""
    listed = (await client.get("/v1/prompts")).json()

    assert {prompt["name"] for prompt in listed["data"]} == CONTRACT | {"mood"}
    assert (listed["next_cursor"], listed["broken"]) == (None, [])


async def test_one_prompt_shows_its_versions(client: httpx.AsyncClient, services: Services, folder: Path) -> None:
    """The highest one serves."""
    text = (folder / "mood.v1.prompt").read_text()
    (folder / "mood.v2.prompt").write_text(text.replace("mood of a text", "mood, better"))
    services.library.refresh()

    prompt = (await client.get("/v1/prompts/mood")).json()

    assert (prompt["version"], prompt["description"]) == (2, "Tells the mood, better.")
    assert [version["version"] for version in prompt["versions"]] == [1, 2]
    assert prompt["versions"][0]["input_schema"]["required"] == ["text"]


async def test_broken_file_is_shown_while_the_last_good_version_serves(
    client: httpx.AsyncClient, services: Services, folder: Path
) -> None:
    """In the list and as a warning of readiness; nothing stops."""
    (folder / "mood.v1.prompt").write_text("no front matter")
    services.library.refresh()

    listed = (await client.get("/v1/prompts")).json()
    ready = await client.get("/health/ready")
    answer = await client.post("/v1/mood", json={"text": "fine"})

    assert "mood.v1.prompt:1:" in listed["broken"][0]
    assert (ready.status_code, "mood.v1.prompt:1:" in ready.json()["warnings"][0]) == (200, True)
    assert answer.status_code == 200
