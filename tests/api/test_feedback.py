"""Stored feedback over HTTP: taken, listed, shown, followed."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from feedback_gateway.services import Services
from tests.api.access import make_key
from tests.jobs.waiting import job_when, working

pytestmark = pytest.mark.anyio

ITEM = {"text": "The export crashes.", "source": "shop"}


async def post(client: httpx.AsyncClient, document: object, **headers: str) -> dict[str, Any]:
    """What is answered to a submission that is taken."""
    response = await client.post("/v1/feedback", json=document, headers=headers)
    assert response.status_code == 202, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_one_item_is_stored_as_it_was_sent(client: httpx.AsyncClient) -> None:
    """Its id comes back, and the address of its job."""
    sent = {
        **ITEM,
        "external_id": 17,
        "author_id": "ann",
        "created_at": "2026-03-01T12:00:00+02:00",
        "rating": 4,
        "metadata": {"plan": {"name": "pro"}},
    }
    response = await client.post("/v1/feedback", json=sent)
    body = response.json()

    stored = (await client.get(f"/v1/feedback/{body['id']}")).json()
    job = (await client.get(response.headers["location"])).json()

    assert response.status_code == 202
    assert (body["ids"], body["duplicate"]) == ([body["id"]], False)
    assert stored.items() >= {**ITEM, "external_id": "17", "author_id": "ann", "rating": 4.0}.items()
    assert (stored["created_at"], stored["metadata"]) == ("2026-03-01T10:00:00.000000Z", sent["metadata"])
    assert (stored["status"], stored["consumer"], stored["problem"]) == ("stored", "local", None)
    assert (stored["analyses"], stored["corrections"]) == ([], [])
    assert job.items() >= {"id": body["job_id"], "status": "running", "total": 1, "kind": "analyse"}.items()
    assert job["counts"] == {"stored": 1, "queued": 0, "waiting": 0, "analysed": 0, "failed": 0}


async def test_of_many_the_good_are_stored_and_the_bad_are_told_in_their_place(client: httpx.AsyncClient) -> None:
    """As a list."""
    items = [{**ITEM, "external_id": "1"}, {**ITEM, "colour": "red"}, "none", {**ITEM, "external_id": "1"}]

    body = await post(client, {"items": items})

    first, unknown, odd, again = body["results"]
    assert body["ids"] == [first["id"], None, None, first["id"]]
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert unknown["error"]["errors"] == [{"loc": ["colour"], "msg": "unknown field"}]
    assert odd["error"]["status"] == 422
    assert len((await client.get("/v1/feedback")).json()["data"]) == 1


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
async def test_json_lines_are_taken(client: httpx.AsyncClient, kind: str) -> None:
    """Blank lines are none, and a broken line has its error in its place."""
    lines = [json.dumps(ITEM), "", "{", json.dumps({**ITEM, "text": " "}), json.dumps(ITEM)]

    response = await client.post("/v1/feedback", content="\r\n".join(lines), headers={"content-type": kind})

    results = response.json()["results"]
    assert response.status_code == 202
    assert ["id" in one for one in results] == [True, False, False, True]
    assert [one["error"]["status"] for one in results[1:3]] == [400, 422]


@pytest.mark.parametrize(
    ("document", "loc"),
    [
        ([], []),
        ({"source": "shop"}, ["text"]),
        ({"text": "a"}, ["source"]),
        ({**ITEM, "text": "\n"}, ["text"]),
        ({**ITEM, "text": "a\0"}, ["text"]),
        ({**ITEM, "text": "x" * 1_001}, ["text"]),
        ({**ITEM, "source": ""}, ["source"]),
        ({**ITEM, "external_id": True}, ["external_id"]),
        ({**ITEM, "external_id": "x" * 201}, ["external_id"]),
        ({**ITEM, "created_at": "2026-03-01T12:00:00"}, ["created_at"]),
        ({**ITEM, "created_at": 5}, ["created_at"]),
        ({**ITEM, "rating": "5"}, ["rating"]),
        ({**ITEM, "metadata": []}, ["metadata"]),
        ({**ITEM, "colour": "red"}, ["colour"]),
        ({"items": []}, ["items"]),
        ({"items": {}}, ["items"]),
        ({"items": [ITEM], "source": "shop"}, ["source"]),
        ({"items": [{"source": "shop"}, {"text": "a"}]}, ["items", 0, "text"]),
    ],
)
async def test_what_cannot_be_stored_is_a_422_that_names_the_place(
    client: httpx.AsyncClient, document: Any, loc: list[str]
) -> None:
    """Where nothing is left to be stored; nothing is."""
    response = await client.post("/v1/feedback", json=document)

    assert response.status_code == 422
    assert loc in [error["loc"] for error in response.json()["errors"]]
    assert (await client.get("/v1/feedback")).json()["data"] == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\n \n", "application/x-ndjson", 400),
        (b"text=a", "application/x-www-form-urlencoded", 415),
        (json.dumps({"items": [ITEM] * 21}).encode(), "application/json", 413),
        (b"{}\n" * 21, "application/x-ndjson", 413),
        (b"x" * 100_001, "application/x-ndjson", 413),
    ],
)
async def test_limits_are_those_of_the_rest(client: httpx.AsyncClient, content: bytes, kind: str, status: int) -> None:
    """On size, number and kind."""
    response = await client.post("/v1/feedback", content=content, headers={"content-type": kind})

    assert response.status_code == status


async def test_duplicates_that_come_at_once_are_one_item(client: httpx.AsyncClient) -> None:
    """Everybody is told the same id, and one of them that it is new."""
    sent = {**ITEM, "external_id": "1"}

    bodies = await asyncio.gather(*(post(client, sent) for _ in range(20)))

    assert len({body["id"] for body in bodies}) == 1
    assert sorted(body["duplicate"] for body in bodies) == [False] + [True] * 19
    assert len((await client.get("/v1/feedback")).json()["data"]) == 1


async def test_pages_give_every_item_once_newest_first(client: httpx.AsyncClient) -> None:
    """Walking the cursors ends with a null one."""
    days = [f"2026-03-{day:02}T12:00:00Z" for day in (3, 7, 1, 5, 2, 6, 4)]
    await post(client, {"items": [{**ITEM, "created_at": day} for day in days]})

    seen, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/v1/feedback?limit=3{cursor and '&cursor=' + cursor}")).json()
        seen += [row["created_at"][:10] for row in page["data"]]
        cursor = page["next_cursor"]

    assert seen == sorted((day[:10] for day in days), reverse=True)


async def test_filters_must_all_hold(client: httpx.AsyncClient) -> None:
    """By field name; one that is unknown or wrong is a 422."""
    await post(client, {"items": [{**ITEM, "rating": 1, "author_id": "ann"}, {**ITEM, "source": "mail", "rating": 1}]})

    async def found(query: str) -> int:
        response = await client.get(f"/v1/feedback?{query}")
        return len(response.json()["data"]) if response.status_code == 200 else response.status_code

    assert await found("source=shop&rating=1&author_id=ann&status=stored&consumer=local&since=1h") == 1
    assert await found("rating=1.0") == 2
    assert await found("source=shop&status=failed") == 0
    assert await found("until=2020-01-01") == 0
    assert [await found(query) for query in ("colour=red", "status=odd", "since=soon", "limit=0")] == [422] * 4


async def test_consumers_see_their_own_and_admins_all(client: httpx.AsyncClient, services: Services) -> None:
    """Items and jobs alike; the same external id of two consumers is two items."""
    team, rival = make_key(services, "team"), make_key(services, "rival")
    admin = make_key(services, "ops", admin=True)
    sent = {**ITEM, "external_id": "1"}
    ours, theirs = await post(client, sent, **team), await post(client, sent, **rival)

    async def status(path: str, key: dict[str, str]) -> int:
        return (await client.get(path, headers=key)).status_code

    async def listed(key: dict[str, str], query: str = "") -> list[str]:
        answer = (await client.get(f"/v1/feedback{query}", headers=key)).json()
        return [row["id"] for row in answer["data"]]

    assert ours["id"] != theirs["id"]
    assert await listed(team) == [ours["id"]]
    assert sorted(await listed(admin)) == sorted([ours["id"], theirs["id"]])
    assert await listed(admin, "?consumer=rival") == [theirs["id"]]
    for path in (f"/v1/feedback/{ours['id']}", f"/v1/jobs/{ours['job_id']}", f"/v1/jobs/{ours['job_id']}/events"):
        assert await status(path, rival) == 404
    assert await status(f"/v1/feedback/{ours['id']}", admin) == 200
    assert await status("/v1/feedback?consumer=rival", team) == 403
    assert (await client.post("/v1/feedback", json=ITEM)).status_code == 401


async def test_a_job_is_followed_to_its_end(client: httpx.AsyncClient, services: Services) -> None:
    """Events `progress` with the job as it is, then `done`, and an item that shows its analysis."""
    body = await post(client, {"items": [ITEM, {**ITEM, "text": "Another one."}]})

    async with working(services):
        response = await client.get(f"/v1/jobs/{body['job_id']}/events")

    events = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.split("\n\n") if block
    ]
    jobs = [json.loads(one["data"]) for one in events]
    job = (await client.get(f"/v1/jobs/{body['job_id']}")).json()
    stored = (await client.get(f"/v1/feedback/{body['ids'][0]}")).json()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert [one["event"] for one in events] == ["progress"] * (len(events) - 1) + ["done"]
    assert jobs[0]["status"] == "running"
    assert jobs[-1] == job
    assert (job["status"], job["counts"]["analysed"], job["problems"]) == ("done", 2, [])
    [analysis] = stored["analyses"]
    assert (stored["status"], analysis["task"], analysis["by"]) == ("analysed", "classify", "scripted/one")
    assert analysis["result"]["category"]
    assert (await client.get(f"/v1/calls/{analysis['call_id']}")).json()["task"] == "classify"


async def test_followers_are_let_go_when_the_gateway_ends(client: httpx.AsyncClient, app: Any) -> None:
    """Nobody waits for work that nobody does."""
    body = await post(client, ITEM)
    following = asyncio.create_task(client.get(f"/v1/jobs/{body['job_id']}/events"))
    while not app.state.drain.in_flight:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)

    app.state.drain.close()
    response = await following

    assert response.text.startswith("event: progress\n")
    assert "event: done" not in response.text


@pytest.mark.parametrize("path", ["/v1/feedback/none", "/v1/jobs/none", "/v1/jobs/none/events"])
async def test_what_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    """Items and jobs."""
    assert (await client.get(path)).status_code == 404


async def test_a_submission_of_what_is_analysed_is_done_at_once(client: httpx.AsyncClient, services: Services) -> None:
    """A job is done as soon as its items are, whoever sent them first."""
    sent = {**ITEM, "external_id": "1"}
    first = await post(client, sent)
    async with working(services):
        await job_when(services, first["job_id"], lambda job: job.is_done)

    second = await post(client, sent)
    job = (await client.get(f"/v1/jobs/{second['job_id']}")).json()

    assert (job["status"], job["total"]) == ("done", 1)
