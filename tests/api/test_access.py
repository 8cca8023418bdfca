"""Who may come in: every route of the real application is public by name, or refuses before it does anything."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from feedback_gateway.api.tasks import TaskEndpoint
from feedback_gateway.app import create_app
from feedback_gateway.consumers.models import Limits, Scopes
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import Services
from feedback_gateway.settings import Settings
from tests.api.access import METHODS, bearer, item_of, make_key, paths_of, routes_of, task_paths, usd

pytestmark = pytest.mark.anyio

PUBLIC = {"/", "/health/live", "/health/ready", "/metrics", "/docs", "/docs/{name}", "/openapi.json"}
MOOD = {"text": "fine"}
TARGETS = (
    "/v1/mood",
    "//v1/mood",
    "/v1//mood",
    "/V1/MOOD",
    "/v1/mood/",
    "/v1/mood;/health/live",
    "/v1/mood;.css",
    "/v1/%6dood",
    "/v1%2Fmood",
    "/v1/mood%00",
    "/v1/mood%3F/health/live",
    "/v1/mood?path=/health/live",
    "/v1/mood#@/health/live",
    "/health/live/../../v1/mood",
    "/health/live%2F..%2F..%2Fv1%2Fmood",
    "/docs/..%2Fv1%2Fmood",
    "/health/live;/v1/mood",
    "/health/live/",
    "/HEALTH/LIVE",
    "/v1/admin",
    "/v1/admin/",
    "/v1/admin/nothing",
    "/v1/Admin/consumers",
    "/sentiment/",
    "/nothing",
    "/%2e%2e/v1/mood",
)
SPOOFS: tuple[dict[str, str], ...] = (
    {},
    {"host": "localhost"},
    {"host": "gateway#@/health/live"},
    {"host": "gateway/health/live?"},
    {"host": "127.0.0.1", "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1"},
    {"x-forwarded-host": "localhost", "x-forwarded-prefix": "/health/live", "x-forwarded-proto": "https"},
    {"x-original-url": "/health/live", "x-rewrite-url": "/health/live", "x-http-method-override": "GET"},
    {"x-forwarded-user": "admin", "cookie": "key=admin", "origin": "http://localhost"},
)


async def refused_everywhere(app: FastAPI, client: httpx.AsyncClient, services: Services) -> None:
    """Check that every route that is not listed as public answers 401, by any method."""
    walked = set()
    for route in routes_of(app):
        for path in paths_of(route, services):
            for method in METHODS:
                response = await client.request(method, path, json=MOOD)
                walked.add(path)
                assert (response.status_code == 401) == (route.path not in PUBLIC), (method, path)
                if response.status_code == 401:
                    assert response.headers["www-authenticate"] == "Bearer"
                    assert method == "HEAD" or response.json()["type"].endswith(":unauthorized")
    assert walked >= {"/v1/mood", "/v1/nothing", "/sentiment", "/v1/admin/ledger", "/v1/usage", "/docs"}


async def test_every_route_is_public_by_name_or_refuses_without_a_key(
    app: FastAPI, client: httpx.AsyncClient, services: Services, provider: ScriptedClient
) -> None:
    """Tasks of user files, tasks that there are not, aliases and methods that nobody has included."""
    make_key(services, "boss", admin=True)

    await refused_everywhere(app, client, services)

    assert provider.requests == []


async def test_every_route_refuses_without_a_key_where_others_can_reach_it(
    settings: Settings, services: Services, provider: ScriptedClient
) -> None:
    """On any other address than loopback, although there is no admin key."""
    app = create_app(settings, services, is_local=False)
    transport = httpx.ASGITransport(app=app)

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://g") as client:
        await refused_everywhere(app, client, services)

    assert provider.requests == []


async def test_every_public_path_is_there(app: FastAPI) -> None:
    """The list speaks of nothing else."""
    assert {route.path for route in routes_of(app)} >= PUBLIC


async def test_no_spelling_of_a_path_or_host_opens_anything(
    client: httpx.AsyncClient, services: Services, provider: ScriptedClient
) -> None:
    """Who may come in is asked of the key alone, never of the URL, the host or what a proxy says."""
    make_key(services, "boss", admin=True)

    for target in TARGETS:
        for spoof in SPOOFS:
            for method in ("GET", "POST"):
                response = await client.request(method, target, json=MOOD, headers=spoof)
                assert response.status_code == 401, (method, target, spoof)
    assert provider.requests == []


async def test_administration_takes_an_admin_key(app: FastAPI, client: httpx.AsyncClient, services: Services) -> None:
    """A plain one gets 403 on every path of it, by any method, and an admin's something else."""
    plain, admin = make_key(services, "plain"), make_key(services, "boss", admin=True)
    walked = 0

    for route in routes_of(app):
        if not route.path.startswith("/v1/admin/"):
            continue
        for path in paths_of(route, services):
            for method in METHODS:
                walked += 1
                assert (await client.request(method, path, headers=plain)).status_code == 403, (method, path)
                assert (await client.request(method, path, headers=admin)).status_code not in {401, 403}, (method, path)

    assert walked > 6 * len(METHODS)
    assert [one.name for one in services.books.consumers.list_consumers()] == ["plain", "boss"]


async def test_only_task_routes_reach_a_provider(
    app: FastAPI, client: httpx.AsyncClient, services: Services, provider: ScriptedClient
) -> None:
    """Whatever else an admin asks, nothing is spent."""
    admin = make_key(services, "boss", admin=True)

    for route in routes_of(app):
        if not isinstance(route.endpoint, TaskEndpoint):
            for path in paths_of(route, services):
                for method in METHODS:
                    await client.request(method, path, json=MOOD, headers=admin)

    assert provider.requests == []


SPENT: dict[str, Any] = {"budgets": (usd("0.0000001"),)}
OTHER_TASK: dict[str, Any] = {"scopes": Scopes(tasks=frozenset({"another"}))}
OTHER_MODEL: dict[str, Any] = {"scopes": Scopes(models=frozenset({"another"}))}


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [(SPENT, 402, "budget-exceeded"), (OTHER_TASK, 403, "forbidden"), (OTHER_MODEL, 403, "forbidden")],
    ids=["budget", "task", "model"],
)
async def test_every_task_route_passes_the_same_admission(  # noqa: PLR0917 fixtures
    app: FastAPI,
    client: httpx.AsyncClient,
    services: Services,
    provider: ScriptedClient,
    fields: dict[str, Any],
    status: int,
    code: str,
) -> None:
    """One item or many, with or without /v1: refused before the provider is asked, where another key is answered."""
    refused, answered = make_key(services, "refused", **fields), make_key(services, "answered")
    walked = 0

    for path, task in task_paths(app, services):
        item = item_of(services, task)
        response = await client.post(path, json=item, headers=refused)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:feedback-gateway:problem:{code}"), path
        many = (await client.post(path, json={"items": [item, item]}, headers=refused)).json()
        problems = [one["error"] for one in many["results"]] if "results" in many else [many]
        assert {problem["status"] for problem in problems} == {status}, path
        assert provider.requests == []
        assert (await client.post(path, json=item, headers=answered)).status_code == 200, path
        provider.requests.clear()
        walked += 1

    assert walked == len(services.registry.names()) + 5


async def test_every_task_route_is_counted_against_the_consumers_limit(
    app: FastAPI, client: httpx.AsyncClient, services: Services, provider: ScriptedClient
) -> None:
    """Once it is used up by one of them, none is answered, and the refusal says whose limit it was."""
    key = make_key(services, "acme", limits=Limits(requests_per_minute=1))
    first = await client.post("/v1/mood", json=MOOD, headers=key)

    for path, task in task_paths(app, services):
        response = await client.post(path, json=item_of(services, task), headers=key)
        limit = response.json()["rate_limit"]
        assert response.status_code == 429, path
        assert (limit["source"], limit["scope"], limit["name"], limit["limit"], limit["unit"]) == (
            "gateway",
            "consumer",
            "acme",
            1,
            "requests",
        )
        assert response.headers["retry-after"] == str(limit["retry_after_s"])
        assert response.headers["ratelimit-reset"] == response.headers["retry-after"]
        assert (response.headers["ratelimit-limit"], response.headers["ratelimit-remaining"]) == ("1", "0")

    assert (first.status_code, first.headers["ratelimit-remaining"]) == (200, "0")
    assert len(provider.requests) == 1


async def test_keys_are_told_apart_by_what_they_may(client: httpx.AsyncClient, services: Services) -> None:
    """Unknown, revoked, expired and disabled ones get 401; one in force is answered, in either header."""
    consumers = services.books.consumers
    good = make_key(services, "acme")["authorization"].removeprefix("Bearer ")
    revoked = consumers.create_key("acme")
    consumers.revoke_key(revoked.key.id)
    expired = consumers.create_key("acme", expires_at=datetime.now(UTC) - timedelta(seconds=1))

    async def status(headers: dict[str, str] | list[tuple[str, str]]) -> int:
        return (await client.get("/v1/calls", headers=headers)).status_code

    assert await status(bearer(good)) == 200
    assert await status({"authorization": f"bEaReR {good}"}) == 200
    assert await status({"x-api-key": good}) == 200
    assert await status([*bearer(good).items(), ("x-api-key", good)]) == 200
    for wrong in (revoked.secret, expired.secret, f"fg_{'A' * 43}", good[:-1], f"{good}x", good.upper(), ""):
        assert await status(bearer(wrong)) == 401
        assert await status({"x-api-key": wrong}) == 401
    for scheme in ("Basic", "Digest", "Token", "Negotiate", good):
        assert await status({"authorization": f"{scheme} {good}"}) == 401
    other = make_key(services, "other")
    assert await status([*other.items(), ("x-api-key", good)]) == 401
    assert await status([*other.items(), *bearer(good).items()]) == 401
    assert await status([("x-api-key", good), ("x-api-key", revoked.secret)]) == 401
    consumers.disable("acme")
    assert await status(bearer(good)) == 401
    consumers.change("acme", {"disabled_at": None})
    assert await status(bearer(good)) == 200


async def test_key_is_not_taken_from_the_query(client: httpx.AsyncClient, services: Services) -> None:
    """Where it would stand in every log on the way."""
    key = make_key(services, "boss", admin=True)["authorization"].removeprefix("Bearer ")

    for name in ("key", "api_key", "access_token", "x-api-key"):
        assert (await client.get("/v1/calls", params={name: key})).status_code == 401


ODD = st.one_of(
    st.text(),
    st.text().map(lambda text: f"Bearer {text}"),
    st.text("ABC-_09", min_size=43, max_size=43).map(lambda text: f"Bearer fg_{text}"),
    st.sampled_from(["' OR 1=1 --", "'; DROP TABLE keys; --", '" OR ""="', "%' UNION SELECT digest FROM keys --"]).map(
        lambda text: f"Bearer fg_{text}"
    ),
)


@given(credentials=ODD)
@example(credentials="Bearer fg_' OR '1'='1")
@example(credentials="Bearer \x00")
@examples(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_credentials_that_were_made_up_let_anybody_in(client: httpx.AsyncClient, credentials: str) -> None:
    """Any text, SQL included, is refused and never a fault of ours; on loopback too, where none at all would do."""
    for name in ("authorization", "x-api-key"):
        response = await client.get("/v1/calls", headers=[(name.encode(), credentials.encode())])

        assert response.status_code == 401
        assert response.json()["type"] == "urn:feedback-gateway:problem:unauthorized"


@pytest.mark.parametrize("end", ["revoked", "expired", "disabled"])
async def test_loopback_is_open_until_there_was_an_admin_key(
    client: httpx.AsyncClient, services: Services, end: str
) -> None:
    """And never again, whatever becomes of that key, also for a process that starts after it."""
    make_key(services, "plain")
    assert (await client.get("/v1/admin/consumers")).status_code == 200

    consumers = services.books.consumers
    made = (await client.post("/v1/admin/keys", json={"consumer": "plain", "admin": True})).json()
    assert (await client.get("/v1/calls")).status_code == 401
    assert (await client.get("/v1/calls", headers=bearer(made["key"]))).status_code == 200

    match end:
        case "revoked":
            consumers.revoke_key(made["id"])
        case "expired":
            consumers.change_key(made["id"], expires_at=datetime.now(UTC) - timedelta(days=1))
        case _:
            consumers.disable("plain")
    consumers._is_closed = False
    assert (await client.get("/v1/calls")).status_code == 401
    assert (await client.get("/v1/calls", headers=bearer(made["key"]))).status_code == 401


async def test_consumer_sees_its_own_rows_only(client: httpx.AsyncClient, services: Services) -> None:
    """Calls, a call by id, and usage; who asks for another's is told no, and an admin sees all."""
    acme, other = make_key(services, "acme"), make_key(services, "other")
    admin = make_key(services, "boss", admin=True)
    mine = (await client.post("/v1/mood", json=MOOD, headers=acme)).json()["call_id"]
    theirs = (await client.post("/v1/mood", json=MOOD, headers=other)).json()["call_id"]

    async def get(path: str, key: dict[str, str]) -> httpx.Response:
        return await client.get(path, headers=key)

    assert [row["call_id"] for row in (await get("/v1/calls", acme)).json()["data"]] == [mine]
    assert [row["call_id"] for row in (await get("/v1/calls?consumer=acme", acme)).json()["data"]] == [mine]
    assert {row["call_id"] for row in (await get("/v1/calls", admin)).json()["data"]} == {mine, theirs}
    assert [row["call_id"] for row in (await get("/v1/calls?consumer=other", admin)).json()["data"]] == [theirs]
    assert (await get(f"/v1/calls/{mine}", acme)).status_code == 200
    assert (await get(f"/v1/calls/{theirs}", acme)).status_code == 404
    assert (await get(f"/v1/calls/{theirs}", admin)).status_code == 200
    rows = (await get("/v1/usage?group_by=consumer", acme)).json()["data"]
    assert [(row["consumer"], row["calls"]) for row in rows] == [("acme", 1)]
    assert "other" not in (await get("/v1/usage?group_by=consumer&format=csv", acme)).text
    for path in ("/v1/calls", "/v1/usage"):
        for asked in ("other", "nobody", "boss", "ACME", ""):
            assert (await get(f"{path}?consumer={asked}", acme)).status_code == 403, (path, asked)
