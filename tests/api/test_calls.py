"""The call log over HTTP."""

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_a_call_is_in_the_log_at_once(client: httpx.AsyncClient) -> None:
    """Whoever asks after the answer sees the call, although rows are written in batches."""
    answer = (await client.post("/v1/mood", json={"text": "fine"})).json()

    row = (await client.get("/v1/calls")).json()["data"][0]

    assert row["call_id"] == answer["call_id"]
    assert row["usage"].items() >= answer["usage"].items()
    assert row.keys() >= {
        "call_id",
        "created_at",
        "consumer",
        "task",
        "prompt_version",
        "model",
        "deployment",
        "status",
        "cached",
        "latency_ms",
    }
    assert (row["consumer"], row["task"], row["status"], row["cached"]) == ("local", "mood", "ok", False)


async def test_one_call_shows_its_attempts(client: httpx.AsyncClient) -> None:
    """With the disjoint parts of their tokens and the exact cost."""
    answer = (await client.post("/v1/mood", json={"text": "fine"})).json()

    call = (await client.get(f"/v1/calls/{answer['call_id']}")).json()

    assert [(one["number"], one["status"], one["usage"]["cost_usd"]) for one in call["attempts"]] == [
        (1, "ok", "0.000054")
    ]


async def test_pages_give_every_call_once_newest_first(client: httpx.AsyncClient) -> None:
    """Walking the cursors ends with a null one."""
    await client.post("/v1/mood", json={"items": [{"text": str(number)} for number in range(7)]})

    seen, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/v1/calls?limit=3{cursor and '&cursor=' + cursor}")).json()
        seen += [(row["created_at"], row["call_id"]) for row in page["data"]]
        cursor = page["next_cursor"]

    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


async def test_filters_must_all_hold(client: httpx.AsyncClient) -> None:
    """By field name."""
    await client.post("/v1/mood", json={"text": "fine"})
    await client.post("/v1/sentiment", json={"text": "fine"})

    matching = await client.get("/v1/calls?task=mood&status=ok&cached=false&consumer=local&prompt_version=1&since=1h")
    other = await client.get("/v1/calls?task=mood&status=failed")
    future = await client.get("/v1/calls?since=2999-01-01T00:00:00Z")

    assert [row["task"] for row in matching.json()["data"]] == ["mood"]
    assert (other.json()["data"], future.json()["data"]) == ([], [])
