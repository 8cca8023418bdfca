"""The cost report over HTTP."""

import csv
import io

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_usage_adds_up_to_the_last_digit(client: httpx.AsyncClient) -> None:
    """Grouped as asked, tokens as integers, money as exact decimal strings."""
    await client.post("/v1/mood", json={"items": [{"text": str(number)} for number in range(3)]})
    await client.post("/v1/sentiment", json={"text": "fine"})

    rows = (await client.get("/v1/usage?group_by=task,model")).json()["data"]
    total = (await client.get("/v1/usage")).json()

    assert [(row["task"], row["model"], row["calls"], row["cost_usd"]) for row in rows] == [
        ("mood", "default", 3, "0.000162"),
        ("sentiment", "default", 1, "0.000054"),
    ]
    assert total["next_cursor"] is None
    assert total["data"][0] == {
        "calls": 4,
        "cached_calls": 0,
        "failed_calls": 0,
        "input_tokens": 400,
        "cached_input_tokens": 0,
        "output_tokens": 80,
        "cost_usd": "0.000216",
        "saved_usd": "0",
        "unknown_cost_calls": 0,
    }


async def test_usage_as_csv_has_the_same_rows(client: httpx.AsyncClient) -> None:
    """With a header line, for a spreadsheet."""
    await client.post("/v1/mood", json={"text": "fine"})

    response = await client.get("/v1/usage?group_by=task,day&format=csv")

    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert [(row["task"], row["calls"], row["cost_usd"]) for row in rows] == [("mood", "1", "0.000054")]


async def test_period_and_consumer_narrow_the_report(client: httpx.AsyncClient) -> None:
    """Calls outside are not counted."""
    await client.post("/v1/mood", json={"text": "fine"})

    recent = await client.get("/v1/usage?since=1h&consumer=local")
    earlier = await client.get("/v1/usage?until=1h")
    others = await client.get("/v1/usage?consumer=somebody")

    assert [len(response.json()["data"]) for response in (recent, earlier, others)] == [1, 0, 0]
