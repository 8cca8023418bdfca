"""The taxonomy over HTTP: what serves, what models miss, and what an admin makes of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.taxonomy import load_taxonomy
from feedback_gateway.taxonomies.clustering import form_of
from feedback_gateway.taxonomies.service import id_of
from tests.api.conftest import caller_of

pytestmark = pytest.mark.anyio

PROPOSALS = "/v1/admin/taxonomy/proposals"
DARK = f"{PROPOSALS}/{id_of(form_of('dark mode'))}"


def suggest(request: CompletionRequest) -> Completion:
    """A model that misses a category for the dark."""
    value = {
        "category": request.output_schema["properties"]["category"]["enum"][0],
        "subcategory": None,
        "confidence": 0.2,
        "alternatives": [],
        "suggested_category": "dark mode",
        "evidence": [],
    }
    return answer(json.dumps(value))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A taxonomy file."""
    path = tmp_path / "taxonomy.yaml"
    path.write_text("categories: [other]\n")
    return path


@pytest.fixture
async def caller(settings: Settings, path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who asked for the dark twice."""
    own = settings.model_copy(update={"taxonomy": path})
    async with caller_of(own, ScriptedClient([suggest])) as client:
        for text in ("Night theme please.", "Less light."):
            await client.post("/v1/categorize", json={"text": text})
        yield client


async def test_proposals_are_listed_with_what_speaks_for_them(caller: httpx.AsyncClient) -> None:
    """Right after the calls that they come from."""
    listed = (await caller.get(PROPOSALS)).json()

    [one] = listed["data"]
    assert (one["name"], one["items"], one["people"], one["rejected_at"]) == ("dark mode", 2, 0, None)
    assert set(one["examples"]) == {"Night theme please.", "Less light."}


async def test_accepting_changes_what_serves_at_once(caller: httpx.AsyncClient, path: Path) -> None:
    """The process that wrote the file works with it; doing it again changes nothing."""
    before = (await caller.get("/v1/admin/taxonomy")).json()
    body = {"description": "Less light.", "taxonomy_version": before["version"]}

    accepted = (await caller.post(f"{DARK}/accept", json=body)).json()

    now = (await caller.get("/v1/admin/taxonomy")).json()
    again = (await caller.post(f"{DARK}/accept")).json()
    assert accepted["previous_version"] == before["version"]
    assert accepted["taxonomy_version"] == now["version"] == again["taxonomy_version"]
    assert (accepted["was_there"], again["was_there"]) == (False, True)
    assert [one["name"] for one in now["content"]["categories"]] == ["other", "dark mode"]
    assert load_taxonomy(path).version == now["version"]
    assert (await caller.get(PROPOSALS)).json()["data"] == []
    versions = (await caller.get("/v1/admin/taxonomy/versions")).json()["data"]
    assert {one["version"] for one in versions} >= {now["version"]}


async def test_rejecting_hides_a_proposal(caller: httpx.AsyncClient) -> None:
    """Unless it is asked for."""
    rejected = await caller.post(f"{DARK}/reject")

    assert (rejected.status_code, rejected.json()["items"]) == (200, 2)
    assert (await caller.get(PROPOSALS)).json()["data"] == []
    assert len((await caller.get(f"{PROPOSALS}?rejected=true")).json()["data"]) == 1


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        (f"{DARK}/accept", {"taxonomy_version": "000000000000"}, 409),
        (f"{DARK}/accept", {"parent": "nowhere"}, 422),
        (f"{DARK}/accept", {"name": "a\nb"}, 422),
        (f"{DARK}/accept", {"color": "red"}, 422),
        (f"{PROPOSALS}/0000000000/accept", {}, 404),
        (f"{PROPOSALS}/0000000000/reject", None, 404),
    ],
)
async def test_what_cannot_be_is_refused(
    caller: httpx.AsyncClient, path: Path, target: str, body: object, status: int
) -> None:
    """And the file stays as it was."""
    response = await caller.post(target, json=body)

    assert response.status_code == status
    assert [one.name for one in load_taxonomy(path).categories] == ["other"]


async def test_the_built_in_taxonomy_is_a_conflict(settings: Settings) -> None:
    """Not an outage: waiting does not help."""
    async with caller_of(settings, ScriptedClient([suggest])) as client:
        await client.post("/v1/categorize", json={"text": "Night theme please."})
        await client.get(PROPOSALS)

        response = await client.post(f"{DARK}/accept")

    assert response.status_code == 409
    assert "taxonomy show --built-in" in response.json()["detail"]


async def test_only_admins_come_in(caller: httpx.AsyncClient) -> None:
    """Examples are texts of every consumer."""
    await caller.post("/v1/admin/consumers", json={"name": "team"})
    admin = (await caller.post("/v1/admin/keys", json={"consumer": "team", "admin": True})).json()["key"]
    headers = {"authorization": f"Bearer {admin}"}
    plain = (await caller.post("/v1/admin/keys", json={"consumer": "team"}, headers=headers)).json()["key"]

    for method, target in (("GET", PROPOSALS), ("POST", f"{DARK}/accept"), ("POST", f"{DARK}/reject")):
        assert (await caller.request(method, target)).status_code == 401
        response = await caller.request(method, target, headers={"authorization": f"Bearer {plain}"})
        assert response.status_code == 403
    assert (await caller.get(PROPOSALS, headers=headers)).status_code == 200
