"""What becomes of a claimed confidence: mapped where it was measured, absent where it was not."""

import json
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import DeploymentParams, ModelEntry, Settings, TaskSettings
from feedback_gateway.tasks.calibration import Calibration, CalibrationFile, load_calibrations, state_confidence
from feedback_gateway.tasks.models import Answer, CallOptions
from feedback_gateway.tasks.taxonomy import load_taxonomy

SAID = {
    "category": "bug",
    "subcategory": None,
    "confidence": 0.9,
    "alternatives": [{"category": "question", "confidence": 0.1}],
    "suggested_category": None,
    "evidence": [{"quote": "It crashes"}],
}
CLAIMS = {"confidence": 0.9, "alternatives": [{"category": "question", "confidence": 0.1}]}
Open = Callable[..., AbstractAsyncContextManager[Services]]


def calibration(**changes: Any) -> Calibration:
    """One for the scripted deployment: a claim of 0.9 is right in seven cases of ten."""
    known = {
        "task": "categorize",
        "prompt_version": 1,
        "deployment": "openai/scripted",
        "taxonomy_version": changes.get("taxonomy_version") or load_taxonomy().version,
        "points": ((0.0, 0.1), (0.8, 0.5), (1.0, 0.9)),
    }
    return Calibration.model_validate(known | changes)


@pytest.fixture
def gateway(tmp_path: Path) -> Open:
    """Opens services over a model that answers `SAID`, with what was measured of it."""

    @asynccontextmanager
    async def opened(*known: Calibration, review_below: float | None = None, **said: Any) -> AsyncIterator[Services]:
        file = tmp_path / "calibration.json"
        file.write_text(CalibrationFile(calibrations=known).model_dump_json())
        settings = Settings(
            model_list=[ModelEntry(model_name="default", litellm_params=DeploymentParams(model="openai/scripted"))],
            database_url=f"sqlite:///{tmp_path}/calls.db",
            tasks={"categorize": TaskSettings(calibration=file, review_below=review_below)},
        )
        client = ScriptedClient([answer(json.dumps(SAID | said))])
        async with open_services(settings, provider=lambda _: client) as services:
            yield services

    return opened


async def categorize(services: Services, options: CallOptions | None = None, **inputs: Any) -> Answer:
    """One item."""
    item = {"text": "It crashes", **inputs}
    return await services.tasks.run("categorize", item, consumer=LOCAL_CONSUMER, options=options or CallOptions())


@pytest.mark.anyio
async def test_a_claim_that_nobody_measured_is_not_told(gateway: Open) -> None:
    """Neither that of the choice nor those of the alternatives, whose order stays."""
    async with gateway() as services:
        outcome = await categorize(services)

    assert "confidence" not in outcome.result
    assert "confidence_source" not in outcome.result
    assert outcome.result["alternatives"] == [{"category": "question"}]
    assert outcome.result["needs_review"] is False
    assert (outcome.claim, outcome.taxonomy_version) == (0.9, load_taxonomy().version)


@pytest.mark.anyio
async def test_a_claim_that_was_measured_is_mapped(gateway: Open) -> None:
    """Half way between 0.8 and 1."""
    async with gateway(calibration()) as services:
        outcome = await categorize(services)

    assert (outcome.result["confidence"], outcome.result["confidence_source"]) == (0.7, "calibrated")
    assert outcome.result["alternatives"] == [{"category": "question"}]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "other",
    [{"task": "classify"}, {"prompt_version": 2}, {"deployment": "openai/other"}, {"taxonomy_version": "000000000000"}],
)
async def test_what_was_measured_of_something_else_says_nothing(gateway: Open, other: dict[str, Any]) -> None:
    """Another task, version, model or taxonomy."""
    async with gateway(calibration(**other)) as services:
        assert "confidence" not in (await categorize(services)).result


@pytest.mark.anyio
async def test_a_request_with_its_own_taxonomy_has_its_own_measure(gateway: Open) -> None:
    """The configured one's does not hold for it."""
    async with gateway(calibration(), subcategory=None) as services:
        outcome = await categorize(services, taxonomy={"categories": ["bug", "question"]})

    assert "confidence" not in outcome.result


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("certified", "configured", "reviewed"),
    [(None, None, False), (0.7, None, False), (0.71, None, True), (0.71, 0.6, False), (0.1, 0.8, True)],
)
async def test_the_certified_threshold_decides_unless_one_is_set(
    gateway: Open, certified: float | None, configured: float | None, *, reviewed: bool
) -> None:
    """The mapped 0.7 against it."""
    async with gateway(calibration(review_below=certified), review_below=configured) as services:
        assert (await categorize(services)).result["needs_review"] is reviewed


@pytest.mark.anyio
async def test_a_mapped_confidence_under_a_half_goes_to_a_person(gateway: Open) -> None:
    """Where no threshold was certified."""
    async with gateway(calibration(), confidence=0.7) as services:
        assert (await categorize(services)).result["needs_review"] is True


@pytest.mark.anyio
async def test_a_low_claim_goes_to_a_person_though_it_is_not_told(gateway: Open) -> None:
    """It proves nothing by being high, and says enough by being low."""
    async with gateway(confidence=0.3) as services:
        assert (await categorize(services)).result["needs_review"] is True


def test_a_classifiers_own_probability_stays() -> None:
    """It was calibrated on examples; a measure from labelled rows replaces it."""
    plain = state_confidence(CLAIMS, source="classifier", calibration=None)
    mapped = state_confidence(CLAIMS, source="classifier", calibration=calibration())

    assert plain == CLAIMS | {"confidence_source": "classifier"}
    assert mapped == {"confidence": 0.7, "confidence_source": "calibrated", "alternatives": [{"category": "question"}]}


def test_an_answer_without_a_confidence_stays_as_it_is() -> None:
    """Also one that calls something else so."""
    for result in ({"label": "positive"}, {"confidence": "high"}):
        assert state_confidence(dict(result), source="model_claim", calibration=calibration()) == result


POINTS = st.lists(st.integers(0, 1000), min_size=1, max_size=9, unique=True).flatmap(
    lambda claims: st.lists(st.integers(0, 1000), min_size=len(claims), max_size=len(claims)).map(
        lambda shares: tuple((a / 1000, b / 1000) for a, b in zip(sorted(claims), sorted(shares), strict=True))
    )
)


@settings(deadline=None)
@given(POINTS, st.floats(0, 1))
def test_mapping_is_numpys_interpolation(points: tuple[tuple[float, float], ...], claimed: float) -> None:
    """Straight lines between the points, the nearest beyond them."""
    expected = np.interp(claimed, [claim for claim, _ in points], [share for _, share in points])

    assert calibration(points=points, taxonomy_version="any").map(claimed) == pytest.approx(float(expected), abs=1e-4)


@settings(deadline=None)
@given(POINTS, st.lists(st.floats(0, 1), min_size=2))
def test_mapping_keeps_the_order(points: tuple[tuple[float, float], ...], claims: list[float]) -> None:
    """Who claims more never gets less."""
    mapped = [calibration(points=points, taxonomy_version="any").map(claim) for claim in sorted(claims)]

    assert all(bisect_left(mapped, one) <= index for index, one in enumerate(mapped))
    assert mapped == sorted(mapped)


@pytest.mark.parametrize("points", [[], [(0.5, 0.5), (0.5, 0.6)], [(0.1, 0.6), (0.2, 0.5)], [(0.1, 1.2)]])
def test_a_mapping_that_has_no_order_is_refused(points: list[tuple[float, float]]) -> None:
    """Nothing wrong is kept."""
    with pytest.raises(ValidationError):
        calibration(points=points)


def test_a_newer_measure_takes_the_place_of_the_same(tmp_path: Path) -> None:
    """Those of other versions stay."""
    file = CalibrationFile().with_one(calibration()).with_one(calibration(prompt_version=2))

    file = file.with_one(calibration(review_below=0.8))

    assert {(one.prompt_version, one.review_below) for one in file.calibrations} == {(1, 0.8), (2, None)}
    path = tmp_path / "calibration.json"
    path.write_text(file.model_dump_json())
    assert load_calibrations(path) == file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "the file: Invalid JSON"),
        ('{"calibrations": [{"task": "t"}]}', "calibrations.0.prompt_version: Field required"),
    ],
)
def test_a_file_that_is_none_names_the_place(tmp_path: Path, content: str, said: str) -> None:
    """With the mend, in one line."""
    path = tmp_path / "calibration.json"
    path.write_text(content)

    with pytest.raises(ConfigurationError) as refused:
        load_calibrations(path)

    assert said in refused.value.detail
    assert refused.value.detail.endswith("write it with prompts calibrate --write")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConfigurationError, match=r"gone\.json: No such file"):
        load_calibrations(tmp_path / "gone.json")
