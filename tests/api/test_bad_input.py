"""What bad input gets over HTTP: a clear problem that names the place, or a result; never a 500."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from feedback_gateway.app import create_app
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


async def refusal(
    client: httpx.AsyncClient, body: bytes | str, *, path: str = "/v1/mood"
) -> tuple[int, dict[str, Any]]:
    """The status and problem that `body` gets."""
    response = await client.post(path, content=body, headers=JSON)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-call-id"] == response.json()["call_id"]
    assert response.json()["status"] == response.status_code
    return response.status_code, response.json()


@pytest.mark.parametrize(
    "text",
    [
        "\x00 in the middle \x00",
        "\u202eright to left\u202c",
        "\U0001f600\U0001f44d\U0001f3fd\u200d",
        "<script>alert(1)</script>",
        "{{ 7 * 7 }} {% raw %}",
        "x" * 1_000,
        "\ufeff",
        "".join(map(chr, range(1, 256))),
    ],
)
async def test_odd_text_is_text(client: httpx.AsyncClient, text: str) -> None:
    """What people write is data, whatever it looks like."""
    response = await client.post("/v1/mood", json={"text": text})

    assert response.status_code == 200


@pytest.mark.parametrize("text", ["", " \t\n", "x" * 1_001, None, 7, ["a"], {"a": "b"}, True])
async def test_unusable_text_is_named(client: httpx.AsyncClient, text: Any) -> None:
    """Empty, blank, over the limit or no text at all."""
    status, problem = await refusal(client, json.dumps({"text": text}))

    assert status == 422
    assert problem["errors"][0]["loc"] == ["text"]


@pytest.mark.parametrize(
    ("size", "status", "said"),
    [(1 << 20, 422, "limits.text_chars"), (10 << 20, 413, "limit of 10,000,000")],
    ids=["1 MiB", "10 MiB"],
)
async def test_text_that_is_too_large_names_the_limit(tmp_path: Path, size: int, status: int, said: str) -> None:
    """As the limits are unless they are set."""
    settings = Settings(database_url=f"sqlite:///{tmp_path}/calls.db")

    async with open_services(settings) as services:
        transport = httpx.ASGITransport(app=create_app(settings, services))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            refused, problem = await refusal(client, json.dumps({"text": "x" * size}), path="/v1/sentiment")

    assert refused == status
    assert said in json.dumps(problem)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00", "not UTF-8"),
        (b'{"text": "\xff\xfe"}', "not UTF-8"),
        (b'{"text": "half a', "not JSON"),
        (b'{"text": "a"}{"text": "b"}', "not JSON"),
        (b"{'text': 'a'}", "not JSON"),
        (b'{"text": "a", "metadata": {"n": NaN}}', "NaN"),
        (b'{"text": "a", "metadata": ' + b"[" * 50_000, "nested"),
        (rb'{"text": "\ud800"}', "lone surrogate"),
        (b'{"text": "a", "text": "b"}', "given twice"),
        (b"<html></html>", "not JSON"),
        (b"text=a", "not JSON"),
    ],
)
async def test_what_is_no_json_is_a_400(client: httpx.AsyncClient, body: bytes, words: str) -> None:
    """The detail says what is wrong and where."""
    status, problem = await refusal(client, body)

    assert status == 400
    assert problem["type"].endswith("invalid-request")
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("document", "loc"),
    [
        ([], []),
        ("text", []),
        ({}, ["text"]),
        ({"text": "a", "colour": "red"}, ["colour"]),
        ({"text": "a", "id": {"no": 1}}, ["id"]),
        ({"text": "a", "id": "x" * 201}, ["id"]),
        ({"text": "a", "metadata": "none"}, ["metadata"]),
        ({"items": []}, ["items"]),
        ({"items": [{"text": "a"}], "text": "b"}, ["text"]),
        ({"text": "a", "options": {"cashe": "use"}}, ["options", "cashe"]),
        ({"text": "a", "options": {"model": "gpt-99"}}, ["options", "model"]),
        ({"text": "a", "options": {"prompt_version": 99}}, ["options", "prompt_version"]),
        ({"text": "a", "options": {"timeout_s": -1}}, ["options", "timeout_s"]),
    ],
)
async def test_wrong_content_is_a_422_that_names_the_place(
    client: httpx.AsyncClient, document: Any, loc: list[str]
) -> None:
    """`errors` leads with the place."""
    status, problem = await refusal(client, json.dumps(document))

    assert status == 422
    assert loc in [error["loc"] for error in problem["errors"]]


@pytest.mark.parametrize(
    "taxonomy",
    [
        {},
        {"categories": []},
        {"categories": ["bug", "bug"]},
        {"categories": ["bug", " BUG "]},
        {"categories": [""]},
        {"categories": "bug"},
        {"categories": [{"description": "no name"}]},
        [],
        "bug",
    ],
)
async def test_odd_taxonomy_is_a_422(client: httpx.AsyncClient, taxonomy: Any) -> None:
    """A taxonomy with no categories or the same one twice cannot be chosen from."""
    status, problem = await refusal(client, json.dumps({"text": "a", "taxonomy": taxonomy}), path="/v1/categorize")

    assert status == 422
    assert problem["errors"][0]["loc"][0] == "taxonomy"


@pytest.mark.parametrize("announced", [True, False])
async def test_body_over_the_limit_is_too_large(client: httpx.AsyncClient, announced: bool) -> None:  # noqa: FBT001
    """Whether its length is announced or it comes in pieces."""
    body = json.dumps({"text": "x" * 200_000}).encode()

    async def pieces() -> Any:
        yield body[:50_000]
        yield body[50_000:]

    response = await client.post("/v1/mood", content=body if announced else pieces(), headers=JSON)

    assert response.status_code == 413
    assert response.json()["type"].endswith("too-large")


async def test_batch_over_the_limit_is_too_large(client: httpx.AsyncClient) -> None:
    """The number that is allowed is named."""
    status, problem = await refusal(client, json.dumps({"items": [{"text": "a"}] * 21}))

    assert status == 413
    assert "20" in problem["detail"]


async def test_other_content_types_are_refused(client: httpx.AsyncClient) -> None:
    """A form on a web page must not spend money here."""
    response = await client.post("/v1/mood", data={"text": "a"})

    assert response.status_code == 415
    assert response.json()["type"].endswith("unsupported-media-type")


async def test_numbers_of_any_size_are_carried(client: httpx.AsyncClient) -> None:
    """Metadata is the caller's own."""
    response = await client.post("/v1/mood", content=b'{"text": "a", "id": 9' + b"0" * 60 + b"}", headers=JSON)

    assert response.status_code == 200
    assert response.json()["id"] == 9 * 10**60


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
        ("HEAD", "/nowhere", 404),
        ("POST", "/v1/feelings", 404),
        ("GET", "/v1/feelings", 404),
        ("POST", "/v1/mood/", 404),
        ("GET", "/v1/calls/01ARZ3NDEKTSV4RRFFQ69G5FAV", 404),
        ("GET", "/v1/calls/%00", 404),
        ("GET", "/v1/prompts/feelings", 404),
        ("GET", "/v1/%ff%fe", 404),
        ("GET", "/docs/..%2fapp.py", 404),
        ("GET", "/v1/mood", 405),
        ("DELETE", "/v1/mood", 405),
        ("OPTIONS", "/classify", 405),
        ("POST", "/v1/calls", 405),
        ("PUT", "/v1/usage", 405),
        ("PATCH", "/health/live", 405),
        ("ODD", "/v1/prompts", 405),
        ("POST", "/openapi.json", 405),
        ("POST", "/v1/mood?dry_run=1", 422),
        ("GET", "/v1/calls?colour=red", 422),
        ("GET", "/v1/calls?limit=0", 422),
        ("GET", "/v1/calls?limit=201", 422),
        ("GET", "/v1/calls?limit=ten", 422),
        ("GET", "/v1/calls?limit=5&limit=6", 422),
        ("GET", "/v1/calls?cursor=odd", 422),
        ("GET", "/v1/calls?status=odd", 422),
        ("GET", "/v1/calls?since=yesterday", 422),
        ("GET", "/v1/calls?task=%00", 422),
        ("GET", "/v1/usage?group_by=colour", 422),
        ("GET", "/v1/usage?format=xml", 422),
        ("GET", "/v1/usage?until=99999999w", 422),
        ("GET", "/v1/prompts?limit=5", 422),
        ("GET", "/v1/prompts?%ff=%fe", 422),
    ],
)
async def test_every_refusal_is_a_problem(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """Unknown paths, wrong methods and odd parameters too; 405 says what is allowed."""
    response = await client.request(method, path)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert ("allow" in response.headers) is (status == 405)
    if method != "HEAD":
        assert response.json()["call_id"] == response.headers["x-call-id"]
    if status == 422:
        assert response.json()["errors"][0]["loc"][0] == "query"
