"""A taxonomy file that is written while the process runs serves at once, unless it is broken."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.errors import ConfigurationError, NotFound
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions
from feedback_gateway.tasks.taxonomy import load_taxonomy, parse_taxonomy
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile

VERDICT: dict[str, Any] = {
    "category": "bug",
    "subcategory": None,
    "confidence": 0.9,
    "alternatives": [],
    "suggested_category": None,
    "evidence": [],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with two categories."""
    path = tmp_path / "taxonomy.yaml"
    path.write_text("categories: [bug, other]\n")
    return path


def test_a_change_serves_at_the_next_look(path: Path) -> None:
    """And an untouched file is not read again."""
    file = TaxonomyFile(path)
    first = file.current
    path.write_text("categories: [bug, praise, other]\n")

    looks = [file.refresh(), file.refresh()]

    assert looks == [True, False]
    assert file.current.version == load_taxonomy(path).version != first.version


def test_a_file_that_says_the_same_is_the_same_object(path: Path) -> None:
    """What was made of it need not be made again."""
    file = TaxonomyFile(path)
    first = file.current
    path.write_text("# a comment\ncategories: [bug, other]\n")

    assert file.refresh()
    assert file.current is first


@pytest.mark.parametrize("text", ["categories: ]", "categories: []", ""])
def test_the_last_good_version_goes_on_serving(path: Path, text: str) -> None:
    """What is wrong is told with file and line, until it is mended."""
    file = TaxonomyFile(path)
    first = file.current
    path.write_text(text)
    file.refresh()
    broken = file.broken
    path.write_text("categories: [bug, other, x]\n")
    file.refresh()

    assert broken is not None
    assert broken.startswith(f"{path}:1")
    assert file.broken is None
    assert file.current is not first


def test_a_file_that_is_gone_is_told(path: Path) -> None:
    """It serves as it was, but no process starts with it."""
    file = TaxonomyFile(path)
    path.unlink()

    assert file.refresh()
    assert file.broken == f"{path}: No such file or directory"
    with pytest.raises(ConfigurationError):
        TaxonomyFile(path)


def test_a_number_or_a_name_in_the_file_is_its_label() -> None:
    """It names the version for people; two files that say the same are one version."""
    one, two, none = (
        parse_taxonomy({"categories": ["bug"], **more}) for more in ({"version": 3}, {"version": "Q3 2026"}, {})
    )

    assert [one.label, two.label, none.label] == ["3", "Q3 2026", None]
    assert one.version == two.version == none.version
    assert parse_taxonomy(json.loads(json.dumps(one.as_json()))) == one


async def categorize(services: Services, **inputs: object) -> Answer:
    """One and the same text."""
    item = {"text": "It is broken.", **inputs}
    return await services.tasks.run("categorize", item, consumer=LOCAL_CONSUMER, options=CallOptions())


@pytest.mark.anyio
async def test_every_result_and_call_names_its_version(path: Path, tmp_path: Path) -> None:
    """The file's as it was at that moment, also from the cache, or that of the request's own."""
    settings = Settings(taxonomy=path, database_url=f"sqlite:///{tmp_path}/calls.db")
    client = ScriptedClient([lambda request: answer(json.dumps(VERDICT))])
    async with open_services(settings, provider=lambda _: client) as services:
        first, cached = await categorize(services), await categorize(services)
        own = await categorize(services, taxonomy={"categories": ["bug", "x"]})
        await asyncio.to_thread(path.write_text, "categories: [bug, praise, other]\n")
        services.taxonomy.refresh()
        second = await categorize(services)
        await services.books.writer.flush()
        stored = [services.books.calls.get(one.call_id)[0] for one in (first, cached, own, second)]

    assert [one.cached for one in stored] == [False, True, False, False]
    assert [one.taxonomy_version for one in stored] == [one.taxonomy_version for one in (first, cached, own, second)]
    assert first.taxonomy_version == cached.taxonomy_version
    assert second.taxonomy_version == load_taxonomy(path).version
    assert len({first.taxonomy_version, own.taxonomy_version, second.taxonomy_version}) == 3


@pytest.mark.anyio
async def test_versions_that_serve_are_kept(path: Path, tmp_path: Path) -> None:
    """So that an old result can be explained when the file says something else."""
    settings = Settings(taxonomy=path, database_url=f"sqlite:///{tmp_path}/calls.db")
    async with open_services(settings) as services:
        version = services.taxonomy.current.version
        versions = services.books.taxonomies
        while not versions.versions():
            await services.clock.sleep(0.01)

        kept = versions.version(version)

        with pytest.raises(NotFound):
            versions.version("0" * 12)
    assert [one["name"] for one in kept.content["categories"]] == ["bug", "other"]
