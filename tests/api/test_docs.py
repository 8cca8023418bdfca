"""The human pages work with no network at all."""

import re

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_page_loads_only_what_the_gateway_serves(client: httpx.AsyncClient) -> None:
    """Every script, style and icon is relative and answered by us."""
    page = await client.get("/docs")

    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    answers = [await client.get(f"/{part}") for part in parts]
    assert len(parts) == 5
    assert [answer.status_code for answer in answers] == [200] * 5
    assert not re.search(r"https?://|//cdn", page.text)


async def test_the_front_door_leads_there(client: httpx.AsyncClient) -> None:
    """By a relative address, so that a path before it stays."""
    answer = await client.get("/")

    assert (answer.status_code, answer.headers["location"]) == (307, "docs")
    page = await client.get(str(answer.url.join(answer.headers["location"])))
    assert (page.status_code, page.url.path) == (200, "/docs")


async def test_policy_allows_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """No inline script or style, no other host."""
    policy = (await client.get("/docs")).headers["content-security-policy"]

    assert "unsafe" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'")


async def test_other_files_of_the_package_are_not_served(client: httpx.AsyncClient) -> None:
    """A list of names, not a folder."""
    for name in ("core.py", "redoc.standalone.js", "..%2f__init__.py"):
        assert (await client.get(f"/docs/{name}")).status_code == 404
