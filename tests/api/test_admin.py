"""The administration over HTTP: what is given is stored, echoed and held to; what is not understood is refused."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from feedback_gateway.app import create_app
from feedback_gateway.consumers.tables import keys
from feedback_gateway.ledger.models import Hold
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import Services
from feedback_gateway.settings import CacheSettings, Settings
from feedback_gateway.storage.engine import open_engine
from tests.api.access import bearer, make_key

pytestmark = pytest.mark.anyio

CONSUMERS, KEYS, LEDGER = "/v1/admin/consumers", "/v1/admin/keys", "/v1/admin/ledger"
MOOD = {"text": "fine"}
COST = "0.000054"
JSON = {"content-type": "application/json"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing is kept: the same question is asked, and paid for, each time."""
    return settings.model_copy(update={"cache": CacheSettings(max_entries=0)})


@pytest.fixture
async def admin(settings: Settings, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with an admin key."""
    app = create_app(settings, services)
    key = make_key(services, "boss", admin=True)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway", headers=key) as client,
    ):
        yield client


async def add(admin: httpx.AsyncClient, name: str, **fields: Any) -> dict[str, str]:
    """Add a consumer; the header of a key of its own."""
    made = await admin.post(CONSUMERS, json={"name": name, **fields})
    assert made.status_code == 201, made.text
    return bearer((await admin.post(KEYS, json={"consumer": name})).json()["key"])


def read_all(folder: Path) -> bytes:
    """What the database has written, its log included."""
    return b"".join(file.read_bytes() for file in folder.glob("calls.db*"))


async def walk(admin: httpx.AsyncClient, path: str, *, limit: int) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await admin.get(path, params={"limit": limit} | ({"cursor": cursor} if cursor else {}))
        assert len(page.json()["data"]) <= limit
        rows += page.json()["data"]
        if (cursor := page.json()["next_cursor"]) is None:
            return rows


async def test_consumer_is_echoed_as_it_is_stored(admin: httpx.AsyncClient) -> None:
    """Made, read by id and by name, listed, changed in part, and disabled."""
    budget = {"limit_usd": "25.5", "period": "month", "warn_at": 0.5}
    given = {
        "name": "acme",
        "budget": budget,
        "task_budgets": {"mood": {"limit_usd": "1", "period": "day", "warn_at": 0.8}},
        "limits": {"requests_per_minute": 5, "tokens_per_minute": None},
        "scopes": {"tasks": ["classify", "mood"], "models": []},
    }

    made = await admin.post(CONSUMERS, json=given)
    stored = made.json()
    by_id = (await admin.get(f"{CONSUMERS}/{stored['id']}")).json()
    by_name = (await admin.get(f"{CONSUMERS}/acme")).json()
    changed = (await admin.patch(f"{CONSUMERS}/acme", json={"limits": {"tokens_per_minute": 7}})).json()

    assert made.status_code == 201
    assert stored.items() >= given.items()
    assert by_id == by_name == stored | {"standings": by_id["standings"]}
    assert changed == stored | {"limits": {"requests_per_minute": None, "tokens_per_minute": 7}}
    assert (await walk(admin, CONSUMERS, limit=50))[-1] == changed
    assert (await admin.patch(f"{CONSUMERS}/acme", json={"budget": None})).json() == changed | {"budget": None}
    assert (await admin.patch(f"{CONSUMERS}/acme", json={"task_budgets": {}, "scopes": None})).json() == changed | {
        "budget": None,
        "task_budgets": {},
        "scopes": {"tasks": None, "models": None},
    }
    assert (await admin.patch(f"{CONSUMERS}/acme", json={})).json()["limits"]["tokens_per_minute"] == 7
    assert (await admin.delete(f"{CONSUMERS}/acme")).status_code == 204
    assert (await admin.get(f"{CONSUMERS}/acme")).json()["disabled_at"] is not None
    assert (await admin.patch(f"{CONSUMERS}/acme", json={"disabled": False})).json()["disabled_at"] is None


async def test_disabled_consumer_is_refused_and_comes_back(admin: httpx.AsyncClient) -> None:
    """At the next request."""
    key = await add(admin, "acme")
    statuses = []

    for disabled in (False, True, False):
        await admin.patch(f"{CONSUMERS}/acme", json={"disabled": disabled})
        statuses.append((await admin.post("/v1/mood", json=MOOD, headers=key)).status_code)

    assert statuses == [200, 401, 200]


BUDGET = {"limit_usd": "1", "period": "day"}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"name": "a", "budgets": BUDGET}, ["budgets"]),
        ({"name": "a", "max_budget": 5}, ["max_budget"]),
        ({"name": "a", "budget": BUDGET | {"soft": 1}}, ["budget", "soft"]),
        ({"name": "a", "budget": {"period": "day"}}, ["budget", "limit_usd"]),
        ({"name": "a", "budget": {"limit_usd": "1"}}, ["budget", "period"]),
        ({"name": "a", "budget": "25"}, ["budget"]),
        ({"name": "a", "budget": BUDGET | {"warn_at": 0}}, ["budget", "warn_at"]),
        ({"name": "a", "budget": BUDGET | {"warn_at": 1.01}}, ["budget", "warn_at"]),
        ({"name": "a", "budget": BUDGET | {"warn_at": "sNaN"}}, ["budget", "warn_at"]),
        ({"name": "a", "limits": {"rpm": 5}}, ["limits", "rpm"]),
        ({"name": "a", "limits": {"requests_per_minute": -1}}, ["limits", "requests_per_minute"]),
        ({"name": "a", "limits": {"requests_per_minute": "5"}}, ["limits", "requests_per_minute"]),
        ({"name": "a", "limits": {"requests_per_minute": 5.0}}, ["limits", "requests_per_minute"]),
        ({"name": "a", "limits": {"requests_per_minute": True}}, ["limits", "requests_per_minute"]),
        ({"name": "a", "limits": {"tokens_per_minute": 2**31}}, ["limits", "tokens_per_minute"]),
        ({"name": "a", "scopes": {"task": []}}, ["scopes", "task"]),
        ({"name": "a", "scopes": {"tasks": "mood"}}, ["scopes", "tasks"]),
        ({"name": "a", "scopes": {"tasks": ["a\x00b"]}}, ["scopes", "tasks", 0]),
        ({"name": "a", "disabled": True}, ["disabled"]),
        ({}, ["name"]),
        ({"name": None}, ["name"]),
        ({"name": 7}, ["name"]),
        ([], []),
        *(
            ({"name": name}, ["name"])
            for name in ("", "x" * 101, "a\x00", "a\nb", "\x7f", "a\x85", "a\u2028b", "\u202eemca", "a\x1b[2J", "a\n")
        ),
        *(
            ({"name": "a", "budget": {"limit_usd": "1", "period": period}}, ["budget", "period"])
            for period in ("year", "DAY", "", None, 30, "day ")
        ),
    ],
)
async def test_what_is_not_understood_is_refused_with_its_place(
    admin: httpx.AsyncClient, body: Any, place: list[str | int]
) -> None:
    """And nothing is stored of it."""
    response = await admin.post(CONSUMERS, json=body)

    assert response.status_code == 422
    assert place in [one["loc"] for one in response.json()["errors"]]
    assert [one["name"] for one in await walk(admin, CONSUMERS, limit=50)] == ["boss"]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ('"25.00"', "25"),
        ("25", "25"),
        ("0.1", "0.1"),
        ('"0.000000000000000001"', "0.000000000000000001"),
        ("1e-18", "0.000000000000000001"),
        ("0.100000000000000005", "0.100000000000000005"),
        ("123456789012.123456789012345678", "123456789012.123456789012345678"),
        ("1000000000000", "1000000000000"),
        ('"1E+3"', "1000"),
        ("0", "0"),
        ("-0.0", "0"),
        ('"0e999"', "0"),
    ],
)
async def test_amounts_are_exact(admin: httpx.AsyncClient, written: str, stored: str) -> None:
    """To the last digit, as text and as a JSON number."""
    body = f'{{"name": "acme", "budget": {{"limit_usd": {written}, "period": "total"}}}}'
    made = await admin.post(CONSUMERS, content=body, headers=JSON)

    assert made.json()["budget"]["limit_usd"] == stored
    assert (await admin.get(f"{CONSUMERS}/acme")).json()["standings"][0]["limit_usd"] == stored


@pytest.mark.parametrize(
    "written",
    [
        *("-0.01", '"-1"', "1e13", "1000000000000.01", '"NaN"', '"sNaN"', '"-sNaN123"', '"Infinity"', '"1e999999999"'),
        *('""', '" 5"', '"1_000"', '"１２"', '"0x10"', '"1,5"', '"$5"', "true", "null", "[1]", "1e-19", '"0e-5000"'),
    ],
)
async def test_amounts_that_are_none_are_refused(admin: httpx.AsyncClient, written: str) -> None:
    """Each with the place."""
    body = f'{{"name": "acme", "budget": {{"limit_usd": {written}, "period": "total"}}}}'
    response = await admin.post(CONSUMERS, content=body, headers=JSON)

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["budget", "limit_usd"]


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "01", "1.", ".5"])
async def test_numbers_that_json_has_not_are_refused(admin: httpx.AsyncClient, written: str) -> None:
    """Before anybody looks at them."""
    body = f'{{"name": "acme", "budget": {{"limit_usd": {written}, "period": "total"}}}}'

    assert (await admin.post(CONSUMERS, content=body, headers=JSON)).status_code == 400


async def test_name_can_be_taken_once(admin: httpx.AsyncClient) -> None:
    """Also by one that is disabled, whose rows are in the log."""
    await add(admin, "acme")
    await admin.delete(f"{CONSUMERS}/acme")

    response = await admin.post(CONSUMERS, json={"name": "acme"})

    assert (response.status_code, response.json()["type"]) == (409, "urn:feedback-gateway:problem:conflict")
    assert "'acme'" in response.json()["detail"]


async def test_consumer_named_like_anothers_id_is_not_taken_for_it(admin: httpx.AsyncClient) -> None:
    """An id means the one that has it."""
    first = (await admin.post(CONSUMERS, json={"name": "first"})).json()
    await admin.post(CONSUMERS, json={"name": first["id"]})

    assert (await admin.get(f"{CONSUMERS}/{first['id']}")).json()["name"] == "first"


@pytest.mark.parametrize("path", [f"{CONSUMERS}/nobody", f"{CONSUMERS}/%00", f"{KEYS}/nothing", f"{KEYS}/%00"])
async def test_what_there_is_not_is_not_found(admin: httpx.AsyncClient, path: str) -> None:
    """By any method that a path has."""
    body = {"expires_at": None} if path.startswith(KEYS) else {}

    assert (await admin.get(path)).status_code == 404
    assert (await admin.patch(path, json=body)).status_code == 404
    assert (await admin.delete(path)).status_code == 404
    if path.startswith(KEYS):
        assert (await admin.post(f"{path}/rotate")).status_code == 404
    assert (await admin.post(KEYS, json={"consumer": "nobody"})).status_code == 404


async def test_key_is_shown_once_and_never_again(
    admin: httpx.AsyncClient, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither it nor its hash is in any later answer, nor it in the database or the log lines."""
    await add(admin, "acme")
    made = await admin.post(KEYS, json={"consumer": "acme"})
    first = made.json()
    rotated = (await admin.post(f"{KEYS}/{first['id']}/rotate", json={"grace": "1h"})).json()
    key = bearer(rotated["key"])
    call = (await admin.post("/v1/mood", json=MOOD, headers=key)).json()["call_id"]

    later = [
        await admin.get(KEYS),
        await admin.get(KEYS, params={"consumer": "acme"}),
        await admin.get(f"{KEYS}/{first['id']}"),
        await admin.patch(f"{KEYS}/{first['id']}", json={"expires_at": None}),
        await admin.get(f"{KEYS}/{rotated['id']}"),
        await admin.get(CONSUMERS),
        await admin.get(f"{CONSUMERS}/acme"),
        await admin.get(LEDGER),
        await admin.get("/v1/calls", headers=key),
        await admin.get(f"/v1/calls/{call}"),
        await admin.get("/v1/usage?group_by=consumer"),
        await admin.get("/health/ready"),
        await admin.get("/openapi.json"),
        await admin.get(f"/v1/{rotated['key']}"),
    ]

    assert (made.status_code, made.json().keys() >= {"id", "key", "prefix"}) == (201, True)
    engine = open_engine(settings.database_url)
    with engine.connect() as connection:
        digests = connection.scalars(select(keys.c.digest)).all()
    engine.dispose()
    secrets = [first["key"], rotated["key"]]
    shown = "".join(response.text for response in later[:-1])
    assert len(digests) == 4
    assert not [secret for secret in (*secrets, *digests) if secret in shown]
    stored = read_all(tmp_path)
    assert digests[0].encode() in stored
    assert not [secret for secret in secrets if secret.encode() in stored or secret in caplog.text]
    assert first["prefix"] == first["key"][:9]
    assert "key" not in (await admin.get(f"{KEYS}/{rotated['id']}")).json()


async def test_hash_of_a_key_is_no_key(admin: httpx.AsyncClient, settings: Settings) -> None:
    """Whoever read the database cannot come in with what stands there."""
    engine = open_engine(settings.database_url)
    with engine.connect() as connection:
        digest = connection.scalar(select(keys.c.digest))
    engine.dispose()

    for given in (digest, f"fg_{digest}", f"fg_{str(digest)[:43]}"):
        assert (await admin.get("/v1/calls", headers=bearer(str(given)))).status_code == 401


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"consumer": "boss", "scopes": {}}, ["scopes"]),
        ({"consumer": "boss", "admin": "yes"}, ["admin"]),
        ({"consumer": "boss", "admin": 1}, ["admin"]),
        ({}, ["consumer"]),
        ({"consumer": "boss", "expires_at": "2020-01-01T00:00:00Z"}, ["expires_at"]),
        ({"consumer": "boss", "expires_at": "2099-01-01T00:00:00"}, ["expires_at"]),
        ({"consumer": "boss", "expires_at": "tomorrow"}, ["expires_at"]),
        ({"consumer": "boss", "expires_at": "0001-01-01T00:00:00+14:00"}, ["expires_at"]),
        ({"consumer": "boss", "expires_at": "9999-12-31T23:59:59-14:00"}, ["expires_at"]),
    ],
)
async def test_keys_that_make_no_sense_are_refused(
    admin: httpx.AsyncClient, body: dict[str, Any], place: list[str]
) -> None:
    """With the place, and none is made."""
    response = await admin.post(KEYS, json=body)

    assert response.status_code == 422
    assert [one["loc"] for one in response.json()["errors"]] == [place]
    assert len(await walk(admin, KEYS, limit=50)) == 1


async def test_end_of_a_key_can_be_moved(admin: httpx.AsyncClient) -> None:
    """Into the past, which ends it, into the future and away; not once it is revoked."""
    await add(admin, "acme")
    made = (await admin.post(KEYS, json={"consumer": "acme", "expires_at": "2099-01-01T01:00:00+01:00"})).json()
    path, key = f"{KEYS}/{made['id']}", bearer(made["key"])

    async def move(expires_at: str | None) -> tuple[int, int]:
        changed = await admin.patch(path, json={"expires_at": expires_at})
        return changed.status_code, (await admin.get("/v1/calls", headers=key)).status_code

    assert made["expires_at"] == "2099-01-01T00:00:00.000000Z"
    assert await move("2020-01-01T00:00:00Z") == (200, 401)
    assert await move("2098-01-01T00:00:00Z") == (200, 200)
    assert await move(None) == (200, 200)
    for wrong in ("2098-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "soon"):
        assert await move(wrong) == (422, 200)
    assert (await admin.patch(path, json={})).status_code == 422
    assert (await admin.patch(path, json={"expires_at": None, "admin": True})).status_code == 422
    assert [(await admin.delete(path)).status_code for _ in range(2)] == [204, 204]
    assert await move(None) == (409, 401)
    assert (await admin.post(f"{path}/rotate")).status_code == 409


async def test_rotation_keeps_the_rights_and_ends_the_old_key(admin: httpx.AsyncClient) -> None:
    """At once, or after the grace time."""
    await add(admin, "acme")
    at_once = (await admin.post(KEYS, json={"consumer": "acme", "admin": True})).json()
    later = (await admin.post(KEYS, json={"consumer": "acme"})).json()

    first = await admin.post(f"{KEYS}/{at_once['id']}/rotate")
    second = await admin.post(f"{KEYS}/{later['id']}/rotate", json={"grace": "24h"})

    async def status(key: str) -> int:
        return (await admin.get(KEYS, headers=bearer(key))).status_code

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json().items() >= {"consumer": "acme", "admin": True, "expires_at": None}.items()
    assert second.json().items() >= {"consumer": "acme", "admin": False}.items()
    assert [await status(at_once["key"]), await status(first.json()["key"])] == [401, 200]
    assert [await status(later["key"]), await status(second.json()["key"])] == [403, 403]
    ends = datetime.fromisoformat((await admin.get(f"{KEYS}/{later['id']}")).json()["expires_at"])
    assert timedelta(hours=23) < ends - datetime.now(UTC) <= timedelta(hours=24)


@pytest.mark.parametrize("grace", ["-1s", -1, "91d", f"{'9' * 400}d", f"{'9' * 18}d", "soon", None, 1e300, []])
async def test_grace_that_is_no_time_is_refused(admin: httpx.AsyncClient, grace: Any) -> None:
    """And the old key goes on."""
    [key] = await walk(admin, KEYS, limit=5)

    response = await admin.post(f"{KEYS}/{key['id']}/rotate", content=json.dumps({"grace": grace}), headers=JSON)

    assert (response.status_code, response.json()["errors"][0]["loc"]) == (422, ["grace"])
    assert await walk(admin, KEYS, limit=5) == [key]


async def test_pages_give_every_row_once(admin: httpx.AsyncClient) -> None:
    """Of consumers, keys and ledger, whatever their size, also while rows arrive."""
    for number in range(5):
        key = await add(admin, f"c{number}")
        await admin.post("/v1/mood", json=MOOD, headers=key)
    await admin.get("/v1/calls")  # waits until they are booked

    for path in (CONSUMERS, KEYS, LEDGER):
        everything = (await admin.get(path)).json()["data"]
        ids = [row["id"] for row in everything]
        assert len(ids) == len(set(ids)) == (5 if path == LEDGER else 6)
        for limit in (1, 2, 5, 6, 200):
            assert await walk(admin, path, limit=limit) == everything
    page = (await admin.get(CONSUMERS, params={"limit": 3})).json()
    await add(admin, "late")
    rest = (await admin.get(CONSUMERS, params={"cursor": page["next_cursor"]})).json()
    assert [row["name"] for row in (*page["data"], *rest["data"])] == ["boss", *(f"c{n}" for n in range(5)), "late"]
    assert [row["consumer"] for row in (await admin.get(KEYS, params={"consumer": "c1"})).json()["data"]] == ["c1"]
    assert [row["consumer"] for row in (await admin.get(LEDGER, params={"consumer": "c1"})).json()["data"]] == ["c1"]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "page=2", "cursor=%00"])
async def test_list_parameters_are_strict(admin: httpx.AsyncClient, query: str) -> None:
    """Each list's."""
    for path in (CONSUMERS, KEYS, LEDGER):
        assert (await admin.get(f"{path}?{query}")).status_code == 422, path
    assert (await admin.get(f"{LEDGER}?call_id=%00")).status_code == 422
    assert (await admin.get(f"{LEDGER}?cursor=nothing")).status_code == 404


async def test_consumer_without_a_budget_is_never_refused(
    admin: httpx.AsyncClient, provider: ScriptedClient, services: Services
) -> None:
    """Null is no budget, not one of nothing; also where it replaces one that was spent."""
    never = await add(admin, "never", budget=None)
    freed = await add(admin, "freed", budget={"limit_usd": "0", "period": "total"})
    assert (await admin.post("/v1/mood", json=MOOD, headers=freed)).status_code == 402
    await admin.patch(f"{CONSUMERS}/freed", json={"budget": None})

    for key in (never, freed):
        answer = await admin.post("/v1/mood", json={"items": [MOOD] * 20}, headers=key)
        assert not [one for one in answer.json()["results"] if "error" in one]
    assert len(provider.requests) == 40
    assert (await admin.get(f"{CONSUMERS}/never")).json()["standings"] == []


async def test_budget_is_stored_and_held_to(admin: httpx.AsyncClient, provider: ScriptedClient) -> None:
    """What it leaves room for is answered, call by call, and then refused until it is raised."""
    key = await add(admin, "acme", budget={"limit_usd": "0.002", "period": "total"})
    statuses = []
    while (response := await admin.post("/v1/mood", json=MOOD, headers=key)).status_code == 200:
        statuses.append(response.headers["x-cost-usd"])

    [standing] = (await admin.get(f"{CONSUMERS}/acme")).json()["standings"]
    entries = (await admin.get(LEDGER, params={"consumer": "acme", "limit": 200})).json()["data"]
    await admin.patch(f"{CONSUMERS}/acme", json={"budget": {"limit_usd": "1", "period": "total"}})

    assert statuses
    assert set(statuses) == {COST}
    assert (response.status_code, response.json()["type"]) == (402, "urn:feedback-gateway:problem:budget-exceeded")
    assert "0.002 USD in all" in response.json()["detail"]
    assert len(provider.requests) == len(entries) == len(statuses)
    assert Decimal(standing["spent_usd"]) == sum(Decimal(entry["amount_usd"]) for entry in entries)
    assert (standing["reserved_usd"], standing["resets_at"]) == ("0", None)
    assert (await admin.post("/v1/mood", json=MOOD, headers=key)).status_code == 200


async def test_budget_of_a_task_is_of_that_task(admin: httpx.AsyncClient) -> None:
    """Others go on."""
    key = await add(admin, "acme", task_budgets={"mood": {"limit_usd": 0, "period": "day"}})

    refused = await admin.post("/v1/mood", json=MOOD, headers=key)
    answered = await admin.post("/v1/sentiment", json=MOOD, headers=key)

    assert (refused.status_code, answered.status_code) == (402, 200)
    assert "for the task mood" in refused.json()["detail"]
    assert "it resets at" in refused.json()["detail"]


async def test_used_share_is_what_is_spent_and_reserved_over_the_limit(
    admin: httpx.AsyncClient, services: Services
) -> None:
    """For every period; with the warning where it has reached the soft limit."""
    shape = {"warn_at": 0.5}
    budgets = {
        "mood": shape | {"limit_usd": "0.0003", "period": "day"},
        "sentiment": shape | {"limit_usd": "15", "period": "week"},
        "classify": shape | {"limit_usd": "0", "period": "total"},
    }
    key = await add(admin, "acme", budget=shape | {"limit_usd": "1", "period": "month"})
    await admin.post("/v1/mood", json=MOOD, headers=key)
    await admin.get("/v1/calls")
    await admin.patch(f"{CONSUMERS}/acme", json={"task_budgets": budgets})
    hold = Hold(
        call_id=services.clock.new_id(),
        consumer="acme",
        task="mood",
        prompt_version=1,
        model="default",
        created_at=services.clock.now(),
        owner=services.books.purse.owner,
        amount_usd=Decimal("0.0002"),
    )
    services.books.ledger.hold([hold])

    standings = (await admin.get(f"{CONSUMERS}/acme")).json()["standings"]

    found = {one["task"]: one for one in standings}
    for task, spent, reserved in (
        (None, COST, "0.0002"),
        ("mood", COST, "0.0002"),
        ("sentiment", "0", "0"),
        ("classify", "0", "0"),
    ):
        one = found[task]
        limit = Decimal(one["limit_usd"])
        assert (one["spent_usd"], one["reserved_usd"]) == (spent, reserved)
        used = (Decimal(spent) + Decimal(reserved)) / limit if limit else Decimal(1)
        assert one["used"] == pytest.approx(float(used), rel=1e-12)
        assert one["warning"] == (used >= Decimal("0.5"))


async def test_soft_limit_warns_in_a_header(admin: httpx.AsyncClient) -> None:
    """From the share on that the budget names, and not before."""
    close = await add(admin, "close", budget={"limit_usd": "0.01", "period": "day", "warn_at": 0.000001})
    far = await add(admin, "far", budget={"limit_usd": "1000", "period": "day", "warn_at": 1})

    warned = await admin.post("/v1/mood", json=MOOD, headers=close)
    quiet = await admin.post("/v1/mood", json=MOOD, headers=far)

    assert (warned.status_code, quiet.status_code) == (200, 200)
    assert "of the budget of 0.01 USD a day" in warned.headers["x-budget-warning"]
    assert "x-budget-warning" not in quiet.headers


async def test_correction_is_added_and_history_stays(admin: httpx.AsyncClient) -> None:
    """Down and up again: the lines that there are stay, their sum is what the call cost, and the budget knows."""
    key = await add(admin, "acme", budget={"limit_usd": "1", "period": "month"})
    call = (await admin.post("/v1/mood", json=MOOD, headers=key)).json()["call_id"]
    await admin.get("/v1/calls")
    [charge] = (await admin.get(LEDGER, params={"call_id": call})).json()["data"]

    down = await admin.post(LEDGER, json={"call_id": call, "cost_usd": "0", "reason": "wrong price"})
    up = await admin.post(LEDGER, json={"call_id": call, "cost_usd": 0.1, "reason": "the bill came"})

    lines = (await admin.get(LEDGER, params={"call_id": call})).json()["data"]
    [standing] = (await admin.get(f"{CONSUMERS}/acme")).json()["standings"]
    assert (down.status_code, up.status_code) == (201, 201)
    assert lines == [up.json(), down.json(), charge]
    assert [line["amount_usd"] for line in lines] == ["0.1", f"-{COST}", COST]
    assert [(line["kind"], line["by"]) for line in lines[:2]] == [("correction", "boss")] * 2
    assert down.json().items() >= {"call_id": call, "consumer": "acme", "task": "mood", "reason": "wrong price"}.items()
    assert (standing["spent_usd"], standing["used"]) == ("0.1", 0.1)
    charges = (await admin.get(f"/v1/calls/{call}", headers=key)).json()["charges"]
    assert [one["amount_usd"] for one in charges] == [COST, f"-{COST}", "0.1"]


async def test_correction_lets_a_consumer_in_again(admin: httpx.AsyncClient) -> None:
    """One wrong price blocks nobody for ever, and nobody has to delete rows."""
    key = await add(admin, "acme")
    call = (await admin.post("/v1/mood", json=MOOD, headers=key)).json()["call_id"]
    await admin.get("/v1/calls")
    await admin.post(LEDGER, json={"call_id": call, "cost_usd": "99", "reason": "a slip"})
    await admin.patch(f"{CONSUMERS}/acme", json={"budget": {"limit_usd": "5", "period": "total"}})
    assert (await admin.post("/v1/mood", json=MOOD, headers=key)).status_code == 402

    await admin.post(LEDGER, json={"call_id": call, "cost_usd": COST, "reason": "the slip taken back"})

    assert (await admin.post("/v1/mood", json=MOOD, headers=key)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"call_id": "01AAAAAAAAAAAAAAAAAAAAAAAA"}, 404),
        ({"call_id": "a\x00"}, 422),
        ({"call_id": "' OR 1=1"}, 422),
        ({"cost_usd": "-1"}, 422),
        ({"cost_usd": "0e999999"}, 422),
        ({"cost_usd": None}, 422),
        ({"reason": ""}, 422),
        ({"reason": "a\x00"}, 422),
        ({"reason": "x" * 501}, 422),
        ({"amount_usd": "1"}, 422),
    ],
)
async def test_corrections_that_make_no_sense_are_refused(
    admin: httpx.AsyncClient, changes: dict[str, Any], status: int
) -> None:
    """And nothing is written."""
    call = (await admin.post("/v1/mood", json=MOOD)).json()["call_id"]
    await admin.get("/v1/calls")

    response = await admin.post(LEDGER, json={"call_id": call, "cost_usd": "1", "reason": "r"} | changes)

    assert response.status_code == status
    assert [line["kind"] for line in (await admin.get(LEDGER)).json()["data"]] == ["charge"]


@pytest.mark.parametrize("path", [CONSUMERS, KEYS, LEDGER])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b'{"name": "a", "name": "b"}', JSON, 400),
        (b'{"name": "\xff"}', JSON, 400),
        (b'{"name": "\\ud800"}', JSON, 400),
        (b"name=a", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b'{"name": "' + b"x" * 100_000 + b'"}', JSON, 413),
    ],
)
async def test_bodies_that_are_no_json_are_refused(
    admin: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    """As everywhere."""
    assert (await admin.post(path, content=body, headers=headers)).status_code == status
