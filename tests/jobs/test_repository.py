"""Who works on which runs, and what comes of them, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from feedback_gateway.clock import ManualClock, SystemClock
from feedback_gateway.feedback.models import ItemHistory, NewItem, Run
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.feedback.tables import runs
from feedback_gateway.jobs.models import Found, Later, Never, Outcome
from feedback_gateway.jobs.repository import RunRepository
from tests.databases import OpenDatabase

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FOUND = Found(
    prompt_version=1, taxonomy_version="t", model="default", call_id="c", result={"category": "bug"}, by="a/model"
)
LATER = Later(seconds=60, problem="unavailable: down")

Fill = Callable[..., list[str]]


@pytest.fixture
def clock() -> ManualClock:
    """Noon."""
    return ManualClock(NOW)


@pytest.fixture
def feedback(engine: Engine, clock: ManualClock) -> FeedbackRepository:
    """Where items are stored."""
    return FeedbackRepository(engine, clock)


@pytest.fixture
def repository(engine: Engine, clock: ManualClock) -> RunRepository:
    """What is tested."""
    return RunRepository(engine, clock)


@pytest.fixture
def fill(feedback: FeedbackRepository, clock: ManualClock) -> Fill:
    """Store so many items, one a second, and give their ids."""

    def fill(count: int, *, consumer: str = "team") -> list[str]:
        ids = []
        for number in range(count):
            clock.advance(1)
            _, [placed] = feedback.add([NewItem(text=str(number), source="s")], consumer=consumer, task="classify")
            ids.append(placed.item_id)
        return ids

    return fill


def claim(repository: RunRepository, *, most: int = 10, without: tuple[str, ...] = ()) -> str:
    """A bundle that there must be."""
    bundle = repository.claim(most=most, look_after_s=60, without=without)
    assert bundle is not None
    return bundle


def runs_of(repository: RunRepository, bundle: str) -> list[Run]:
    """What is left of a bundle."""
    return [work.run for work in repository.work(bundle)]


def status(history: ItemHistory) -> tuple[str, str, int, str | None]:
    """How an item and its only run stand."""
    [run] = history.runs
    return history.item.status, run.status, run.tries, run.problem


def test_what_is_due_is_claimed_oldest_first_and_once(repository: RunRepository, fill: Fill) -> None:
    """Until nothing is left."""
    ids = fill(5)

    bundles = [claim(repository, most=2) for _ in range(3)]

    assert [work.item.item_id for bundle in bundles for work in repository.work(bundle)] == ids
    assert repository.claim(most=2, look_after_s=60) is None
    assert repository.unfinished([*bundles, "x"]) == set(bundles)


def test_a_bundle_is_of_one_consumer_and_one_set_of_options(
    repository: RunRepository, fill: Fill, engine: Engine
) -> None:
    """One request has one payer and one way to be answered."""
    first, theirs, other, second = [fill(1, consumer=consumer)[0] for consumer in ("team", "rival", "team", "team")]
    with engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.item_id == other).values(options={"model": "small"}))

    bundles = [claim(repository) for _ in range(3)]

    grouped = [[work.item.item_id for work in repository.work(bundle)] for bundle in bundles]
    assert grouped == [[first, second], [theirs], [other]]


def test_consumers_that_have_to_wait_are_passed_over(repository: RunRepository, fill: Fill) -> None:
    """Their turn comes when they may."""
    fill(1, consumer="team")
    [theirs] = fill(1, consumer="rival")

    bundle = claim(repository, without=("team",))

    assert [work.item.item_id for work in repository.work(bundle)] == [theirs]
    assert repository.claim(most=1, look_after_s=60, without=("team",)) is None


@pytest.mark.parametrize(
    ("outcome", "stands"),
    [
        (FOUND, ("analysed", "analysed", 1, None)),
        (LATER, ("waiting", "waiting", 1, "unavailable: down")),
        (Never(problem="forbidden: no"), ("failed", "failed", 1, "forbidden: no")),
    ],
)
def test_an_outcome_is_recorded_once(
    repository: RunRepository,
    feedback: FeedbackRepository,
    fill: Fill,
    outcome: Outcome,
    stands: tuple[str, str, int, str | None],
) -> None:
    """Whoever did the same work comes too late, whatever they bring."""
    [item_id] = fill(1)
    [run] = runs_of(repository, claim(repository))

    recorded = [repository.record([(run, one)]) for one in (outcome, outcome, FOUND)]

    history = feedback.get(item_id)
    assert recorded == [1, 0, 0]
    assert status(history) == stands
    assert len(history.analyses) == (outcome == FOUND)


def test_an_analysis_reads_as_it_was_found(
    repository: RunRepository, feedback: FeedbackRepository, fill: Fill, clock: ManualClock
) -> None:
    """With all that says where it comes from."""
    [item_id] = fill(1)
    [run] = runs_of(repository, claim(repository))
    clock.advance(5)
    repository.record([(run, FOUND)])

    [analysis] = feedback.get(item_id).analyses

    assert (analysis.task, analysis.prompt_version, analysis.taxonomy_version) == ("classify", 1, "t")
    assert (analysis.model, analysis.call_id, analysis.by, analysis.at) == ("default", "c", "a/model", clock.now())
    assert analysis.result == {"category": "bug"}


def test_what_waits_is_claimed_when_it_is_due_and_before_the_new(
    repository: RunRepository, fill: Fill, clock: ManualClock
) -> None:
    """So that nobody who came first comes last."""
    [first] = fill(1)
    [run] = runs_of(repository, claim(repository))
    repository.record([(run, LATER)])
    fill(1)

    clock.advance(58)
    early = claim(repository)
    fill(1)
    clock.advance(2)
    late = claim(repository)

    assert [work.item.item_id for work in repository.work(early)] != [first]
    assert [work.item.item_id for work in repository.work(late)] == [first]


def test_a_bundle_that_nobody_works_on_is_let_go(
    repository: RunRepository, feedback: FeedbackRepository, fill: Fill, clock: ManualClock
) -> None:
    """It is overdue after its time, unless somebody looked after it; an outcome of its old bundle is dropped."""
    [item_id] = fill(1)
    bundle = claim(repository)
    [run] = runs_of(repository, bundle)
    early = repository.overdue()
    clock.advance(61)
    late = repository.overdue()
    repository.look_after(bundle, again_s=60)
    looked_after = repository.overdue()

    repository.release(bundle)
    again = claim(repository)
    stale = repository.record([(run, FOUND)])

    assert (early, late, looked_after) == (set(), {bundle}, set())
    assert repository.work(bundle) == []
    assert [work.item.item_id for work in repository.work(again)] == [item_id]
    assert (stale, feedback.get(item_id).analyses) == (0, ())


def test_it_is_known_whether_anything_is_open(repository: RunRepository, fill: Fill) -> None:
    """Also what waits; what failed is not."""
    empty = repository.is_anything_open()
    fill(2)
    stored = repository.is_anything_open()
    [first, second] = runs_of(repository, claim(repository))
    repository.record([(first, FOUND), (second, LATER)])
    waiting = repository.is_anything_open()
    [second] = [replace(second, bundle=None)]
    repository.retry(item_id=second.item_id)
    [again] = runs_of(repository, claim(repository))
    repository.record([(again, Never(problem="no"))])

    assert (empty, stored, waiting) == (False, True, True)
    assert not repository.is_anything_open()


def test_what_failed_or_waits_is_tried_again_when_somebody_asks(
    repository: RunRepository, feedback: FeedbackRepository, fill: Fill
) -> None:
    """Of one item or of all, and nothing that is done or in work."""
    done, waiting, failed, working = fill(4)
    first = runs_of(repository, claim(repository, most=3))
    claim(repository)
    repository.record(list(zip(first, [FOUND, LATER, Never(problem="no")], strict=True)))

    one = repository.retry(item_id=failed)
    rest = repository.retry()

    assert (one, rest) == (1, 1)
    assert status(feedback.get(waiting)) == status(feedback.get(failed)) == ("stored", "stored", 0, None)
    assert [feedback.get(item_id).item.status for item_id in (done, working)] == ["analysed", "queued"]


def test_nothing_is_claimed_twice_by_many_at_once(engine: Engine, feedback: FeedbackRepository) -> None:
    """Eight threads, as if they were processes."""
    items = [NewItem(text=str(number), source="s") for number in range(60)]
    _, placed = feedback.add(items, consumer="team", task="classify")
    repository = RunRepository(engine, SystemClock())

    def claim_all(_: int) -> list[str]:
        claimed = []
        while bundle := repository.claim(most=4, look_after_s=60):
            claimed += [work.item.item_id for work in repository.work(bundle)]
        return claimed

    with ThreadPoolExecutor(8) as threads:
        claimed = [item for part in threads.map(claim_all, range(8)) for item in part]

    assert sorted(claimed) == sorted(one.item_id for one in placed)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["claim", "found", "later", "never", "twice", "release", "wait"]), max_size=30))
def test_whatever_happens_no_item_has_two_analyses_and_none_is_lost(
    open_database: OpenDatabase, steps: list[str]
) -> None:
    """Each is analysed once, failed for good, or still to be claimed or in a bundle; items and runs agree."""
    clock = ManualClock(NOW)
    outcomes: dict[str, Outcome] = {"found": FOUND, "later": LATER, "never": Never(problem="no"), "twice": FOUND}
    with open_database() as engine:
        feedback, repository = FeedbackRepository(engine, clock), RunRepository(engine, clock)
        items = [NewItem(text=str(number), source="s") for number in range(4)]
        _, placed = feedback.add(items, consumer="team", task="classify")
        held: list[Run] = []
        for step in steps:
            if step == "claim":
                bundle = repository.claim(most=2, look_after_s=60)
                held += runs_of(repository, bundle) if bundle else []
            elif step == "wait":
                clock.advance(60)
            elif held:
                run = held[0]
                if step == "release":
                    repository.release(run.bundle or "")
                else:
                    repository.record([(run, outcomes[step])])
                    held = held if step == "twice" else held[1:]
        clock.advance(60)
        while bundle := repository.claim(most=2, look_after_s=60):
            repository.record([(run, FOUND) for run in runs_of(repository, bundle)])
        left = {run.run_id for one in held for run in runs_of(repository, one.bundle or "")}
        for one in placed:
            history = feedback.get(one.item_id)
            [run] = history.runs
            assert history.item.status == run.status
            assert len(history.analyses) == (run.status == "analysed")
            assert run.status in ("analysed", "failed") or run.run_id in left
