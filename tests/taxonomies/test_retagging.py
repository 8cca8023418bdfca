"""History sorted again: only what a change can touch, counted and priced first, done once, people's word kept."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import InvalidRequest
from feedback_gateway.feedback.models import NewItem
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.taxonomy import Taxonomy, parse_taxonomy
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.taxonomies.models import Tagged, TaxonomyVersion
from feedback_gateway.taxonomies.repository import TaxonomyRepository
from feedback_gateway.taxonomies.retagging import GROWN, SUGGESTED, UNPLACED, Price, Retagging, rank_of, total
from feedback_gateway.taxonomies.service import Wish
from tests.taxonomies.conftest import NOW, History

OLD = parse_taxonomy({"categories": [{"name": "bug", "subcategories": ["UI"]}, "praise", "other"]})
NEW = parse_taxonomy({"categories": [{"name": "bug", "subcategories": ["UI", "API"]}, "praise", "billing", "other"]})
WISH = Wish(description="Invoices and charges.")
PATIENCE_S = 60
PRICED = {
    "model_name": "default",
    "litellm_params": {
        "model": "scripted/one",
        "input_cost_per_token": "0.000001",
        "output_cost_per_token": "0.000002",
    },
}


def tagged(**fields: Any) -> Tagged:
    """An item of category `praise`, analysed with the old taxonomy."""
    known = {"category": "praise", "subcategory": None, "suggested": False, "taxonomy_version": OLD.version}
    return Tagged(item_id="1", consumer="team", task="categorize", text="x", **known | fields)


@pytest.mark.parametrize(
    ("fields", "rank"),
    [
        ({"suggested": True}, SUGGESTED),
        ({"category": "other"}, UNPLACED),
        ({"category": "Other", "suggested": True}, SUGGESTED),
        ({"category": "bug"}, GROWN),
        ({"category": "bug", "subcategory": "UI"}, None),
        ({"category": "bug", "subcategory": "gone"}, UNPLACED),
        ({"category": "gone"}, UNPLACED),
        ({}, None),
    ],
)
def test_only_what_the_change_can_touch_is_sorted_again(fields: dict[str, Any], rank: int | None) -> None:
    """Those a model wanted a category for come first, those of a category that nothing happened to never."""
    assert rank_of(tagged(**fields), NEW, stored(OLD)) == rank


@pytest.mark.parametrize("fields", [{"category": "other"}, {"suggested": True}, {"category": "bug"}])
def test_a_change_of_words_touches_nothing(fields: dict[str, Any]) -> None:
    """A new description is a new version, but no new label."""
    bug = {"name": "bug", "subcategories": ["UI"], "description": "Something fails."}
    described = parse_taxonomy({"categories": [bug, "other", "praise"]})

    assert rank_of(tagged(**fields), described, stored(OLD)) is None


def test_an_unknown_version_may_have_lacked_anything() -> None:
    """Results of before there were versions are looked at as if all labels were new."""
    assert rank_of(tagged(category="other", taxonomy_version=None), OLD, None) == UNPLACED


def stored(taxonomy: Taxonomy) -> TaxonomyVersion:
    """As the repository gives it back."""
    return TaxonomyVersion(
        version=taxonomy.version, label=None, content=json.loads(json.dumps(taxonomy.as_json())), first_seen_at=NOW
    )


@given(st.lists(st.one_of(st.none(), st.decimals(0, 10, places=9))))
def test_one_unknown_price_makes_the_sum_unknown(amounts: list[Decimal | None]) -> None:
    """And known ones add up to the last digit."""
    known = [amount for amount in amounts if amount is not None]

    assert total(amounts) == (sum(known, Decimal(0)) if len(known) == len(amounts) else None)


@pytest.fixture
def retagging(repository: TaxonomyRepository, clock: ManualClock, tmp_path: Path) -> Callable[..., Retagging]:
    """Opens the service over the new taxonomy; the old one served before."""
    path = tmp_path / "new.yaml"
    path.write_text(json.dumps(NEW.as_json()))
    repository.keep(OLD, at=clock.now())

    def opened(price: Price = lambda _: Decimal("0.01")) -> Retagging:
        return Retagging(repository, TaxonomyFile(path), clock, price=price)

    return opened


def test_a_plan_counts_and_prices_and_writes_nothing(history: History, retagging: Callable[..., Retagging]) -> None:
    """What is newer than `since`, of the older taxonomy, and nothing that a person has set."""
    old = OLD.version
    first = history.analysed("a", category="other", version=old)
    second = history.analysed("b", category="praise", suggested="billing", version=old)
    history.analysed("c", category="praise", version=old)
    history.analysed("d", category="other", version=NEW.version)
    history.correct(history.analysed("e", category="other", version=old), category="praise")

    plan = retagging().plan()

    assert [(one.item_id, one.rank) for one in plan.retags] == [(second, SUGGESTED), (first, UNPLACED)]
    assert (plan.most_usd, plan.untouched, plan.refused) == (Decimal("0.02"), 1, 0)
    assert retagging().plan(since=NOW + timedelta(days=1)).retags == ()
    assert len(history.feedback.get(first).runs) == 1


def test_more_items_than_one_statement_names_are_all_counted(
    history: History, retagging: Callable[..., Retagging]
) -> None:
    """Each of them once."""
    for number in range(1_003):
        history.analysed(f"text {number}", category="other", version=OLD.version)

    plan = retagging().plan()

    assert len({one.item_id for one in plan.retags}) == len(plan.retags) == 1_003


def test_what_no_task_takes_is_left_out(history: History, retagging: Callable[..., Retagging]) -> None:
    """And told."""
    history.analysed("a", category="other", version=OLD.version)

    def refuse(_: Tagged) -> Decimal:
        raise InvalidRequest("too long")

    plan = retagging(refuse).plan()

    assert (plan.retags, plan.refused, plan.most_usd) == ((), 1, Decimal(0))


def test_beginning_twice_does_nothing_twice(history: History, retagging: Callable[..., Retagging]) -> None:
    """Both jobs wait for the same run, which a further one for the same version would too."""
    item_id = history.analysed("a", category="other", version=OLD.version)
    plan = retagging().plan()

    jobs = [retagging().begin(plan, consumer="local") for _ in range(2)]

    runs = [run for run in history.feedback.get(item_id).runs if NEW.version in run.run_id]
    assert [(run.task, run.status) for run in runs] == [("categorize", "stored")]
    assert [history.feedback.job(job).counts for job in jobs] == [{"stored": 1}] * 2


def sort_again(request: CompletionRequest) -> Completion:
    """A model that knows invoices where there is a category for them."""
    labels = request.output_schema["properties"]["category"]["enum"]
    is_known = "billing" in labels
    return answer(
        json.dumps(
            {
                "category": "billing" if is_known else "other",
                "subcategory": None,
                "confidence": 0.9,
                "alternatives": [],
                "suggested_category": None if is_known else "billing",
                "evidence": [],
            }
        )
    )


async def done(services: Services, job_id: str) -> None:
    """Wait until the engine has finished a job."""
    async with asyncio.timeout(PATIENCE_S):
        while not (await asyncio.to_thread(services.books.feedback.job, job_id)).is_done:  # noqa: ASYNC110 another thread's
            await asyncio.sleep(0.05)


@pytest.mark.anyio
async def test_history_is_sorted_again_by_the_job_engine(tmp_path: Path) -> None:
    """From the first import to the new label: proposed, accepted, priced, done; the old result stays in the history."""
    path = tmp_path / "taxonomy.yaml"
    path.write_text("categories: [bug, other]\n")
    settings = Settings.model_validate(
        {
            "model_list": [PRICED],
            "taxonomy": path,
            "feedback": {"task": "categorize"},
            "database_url": f"sqlite:///{tmp_path / 'calls.db'}",
        }
    )
    async with open_services(settings, provider=lambda _: ScriptedClient([sort_again])) as services:
        working = asyncio.create_task(services.jobs.run())
        new = [NewItem(text=f"Where is my invoice {number}?", source="shop") for number in range(3)]
        feedback, taxonomies = services.books.feedback, services.taxonomies
        job_id, placed = await asyncio.to_thread(feedback.add, new, consumer="local", task="categorize")
        await done(services, job_id)
        [proposal] = await asyncio.to_thread(taxonomies.proposals)
        accepted = await asyncio.to_thread(taxonomies.accept, proposal.id, WISH, by="ann")

        plan = await asyncio.to_thread(services.retagging.plan)
        retag_id = await asyncio.to_thread(services.retagging.begin, plan, consumer="local")
        await done(services, retag_id)

        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        histories = [feedback.get(one.item_id) for one in placed]
    assert len(plan.retags) == 3
    assert plan.most_usd is not None
    assert plan.most_usd > 0
    for history in histories:
        assert [(one.result["category"], one.taxonomy_version) for one in history.analyses] == [
            ("billing", accepted.version), ("other", accepted.before),
        ]  # fmt: skip
