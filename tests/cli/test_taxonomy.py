"""`taxonomy` on the command line, as its users run it."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions
from feedback_gateway.taxonomies.clustering import form_of
from feedback_gateway.taxonomies.service import id_of

Run = Callable[..., "subprocess.CompletedProcess[str]"]
DARK = id_of(form_of("dark mode"))
ODD = "dark mode"
VERDICT: dict[str, Any] = {
    "category": "other",
    "subcategory": None,
    "confidence": 0.2,
    "alternatives": [],
    "evidence": [],
    "suggested_category": ODD,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configured taxonomy, and one call whose model missed a category."""
    (tmp_path / "taxonomy.yaml").write_text("# ours\nversion: 1\ncategories:\n  - bug\n  - other\n")
    (tmp_path / "gateway.yaml").write_text("taxonomy: taxonomy.yaml\n")
    settings = Settings(taxonomy=tmp_path / "taxonomy.yaml", database_url=f"sqlite:///{tmp_path}/feedback-gateway.db")

    async def ask() -> None:
        client = ScriptedClient([answer(json.dumps(VERDICT))])
        async with open_services(settings, provider=lambda _: client) as services:
            item = {"text": "Night theme\x1b[31m please."}
            await services.tasks.run("categorize", item, consumer=LOCAL_CONSUMER, options=CallOptions())

    asyncio.run(ask())
    return tmp_path


def test_check_names_the_version_and_every_doubt(run: Run, folder: Path) -> None:
    """A doubt is no failure, a flaw is one: each with its line, and exit code 1."""
    fine = run("taxonomy", "check")
    (folder / "taxonomy.yaml").write_text(
        "categories:\n  - bug\n  - BUG\nrules:\n  - {name: x, when: {category: no}, team: a}\n"
    )
    wrong = run("taxonomy", "check")
    built_in = run("taxonomy", "check", "--config", str(empty(folder)))

    assert fine.returncode == 0
    assert "version" in fine.stdout
    assert "(1), taxonomy.yaml: 2 categories" in fine.stdout
    assert "warning: category 'bug': a name under 4 letters" in fine.stdout
    assert wrong.returncode == 1
    assert "taxonomy.yaml:3: categories.1: the name 'bug' stands twice" in wrong.stdout
    assert "taxonomy.yaml:5: rules.0.when.category: 'no' is not known" in wrong.stdout
    assert "'a' is not known; there are: none" in wrong.stdout
    assert (built_in.returncode, "built in: 7 categories" in built_in.stdout) == (0, True)


def empty(folder: Path) -> Path:
    """A configuration that says nothing."""
    file = folder / "empty.yaml"
    file.write_text("{}\n")
    return file


def test_a_proposal_is_shown_accepted_and_gone(run: Run, folder: Path) -> None:
    """What users wrote cannot colour the terminal."""
    shown = run("taxonomy", "proposals")
    accepted = run("taxonomy", "accept", DARK, "--description", "Less light.")
    after = run("taxonomy", "proposals")
    versions = run("taxonomy", "versions")
    newest = versions.stdout.splitlines()[2].split()[0]
    said = run("taxonomy", "show", newest)

    assert f"{DARK}  dark mode  (1 item)" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "dark mode: added; the taxonomy was" in accepted.stdout
    assert (folder / "taxonomy.yaml").read_text() == (
        '# ours\nversion: 2\ncategories:\n  - bug\n  - name: dark mode\n    description: "Less light."\n  - other\n'
    )
    assert after.stdout.startswith("No proposals")
    assert [one["name"] for one in json.loads(said.stdout)["categories"]] == ["bug", "dark mode", "other"]


def test_rejecting_says_when_it_comes_back(run: Run, folder: Path) -> None:
    """And unknown ids are wrong usage."""
    rejected = run("taxonomy", "reject", DARK)
    unknown = run("taxonomy", "accept", "nothing")

    assert rejected.stdout == "dark mode: rejected; it comes back if 2 items ask for it\n"
    assert (unknown.returncode, "no proposal 'nothing'" in unknown.stderr) == (2, True)


def test_the_built_in_taxonomy_can_be_copied(run: Run, folder: Path) -> None:
    """Byte for byte, so that it is the same version."""
    (folder / "taxonomy.yaml").write_text(run("taxonomy", "show", "--built-in").stdout)

    assert "version f8d6c69e3d41, taxonomy.yaml" in run("taxonomy", "check").stdout


def test_nothing_to_sort_again_is_said_and_free(run: Run, folder: Path) -> None:
    """Calls are not stored feedback."""
    done = run("taxonomy", "retag", "--yes")

    assert (done.returncode, ": 0 items of stored feedback" in done.stdout) == (0, True)


def test_doctor_passes_the_doubts_on(run: Run, folder: Path) -> None:
    """Whoever looks after the gateway sees them without asking for them."""
    assert "a name under 4 letters says little" in run("doctor").stdout
