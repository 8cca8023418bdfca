"""Turns what a model claims to be sure of into how often it is right; fits nothing, and knows no labelled rows."""

from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.models import ConfidenceSource

DIGITS = 4
CLAIM_REVIEW_BELOW = 0.6
MAPPED_REVIEW_BELOW = 0.5

Share = Annotated[float, Field(ge=0, le=1)]
Key = tuple[str, int, str, str | None]


class Calibration(BaseModel):
    """How often `deployment` is right where it claims a confidence, for one task, prompt version and taxonomy.

    `points` are (claimed, right), rising in both; between two of them a straight line holds, beyond them the nearest.
    `review_below` is the certified threshold of the right column, None where none could be certified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    prompt_version: int
    deployment: str
    taxonomy_version: str | None
    points: tuple[tuple[Share, Share], ...] = Field(min_length=1)
    review_below: Share | None = None
    measured: dict[str, Any] = Field({}, description="how it came about, for people")

    @model_validator(mode="after")
    def rising(self) -> "Calibration":
        """Refuse a mapping that has no order."""
        for (claimed, right), (higher, righter) in zip(self.points, self.points[1:], strict=False):
            if higher <= claimed or righter < right:
                raise ValueError("points must rise")
        return self

    @property
    def key(self) -> Key:
        """Whose confidence it maps."""
        return (self.task, self.prompt_version, self.deployment, self.taxonomy_version)

    def map(self, claimed: float) -> float:
        """The share of right answers among those that claim `claimed`."""
        place = bisect_right(self.points, claimed, key=lambda point: point[0])
        if place in {0, len(self.points)}:
            return round(self.points[max(0, place - 1)][1], DIGITS)
        (low, under), (high, over) = self.points[place - 1], self.points[place]
        return round(under + (over - under) * (claimed - low) / (high - low), DIGITS)


class CalibrationFile(BaseModel):
    """What `prompts calibrate --write` keeps: one entry for each task, prompt version, deployment and taxonomy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrations: tuple[Calibration, ...] = ()

    def with_one(self, calibration: Calibration) -> "CalibrationFile":
        """The same file with `calibration` in the place of its predecessor."""
        others = tuple(one for one in self.calibrations if one.key != calibration.key)
        return CalibrationFile(calibrations=(*others, calibration))


class Calibrations:
    """The calibrations there are."""

    def __init__(self, calibrations: Iterable[Calibration] = ()) -> None:
        self._known = {one.key: one for one in calibrations}

    def find(
        self, task: str, version: int, *, deployment: str | None, taxonomy_version: str | None
    ) -> Calibration | None:
        """What was measured of exactly this, None where nothing was: a mapping holds for nothing else."""
        return self._known.get((task, version, deployment or "", taxonomy_version))


def load_calibrations(path: Path) -> CalibrationFile:
    """Read a file. Raises ConfigurationError naming the first wrong place."""
    try:
        return CalibrationFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in flaw["loc"]) or "the file"
        raise ConfigurationError(f"{path}: {place}: {flaw['msg']}; write it with prompts calibrate --write") from None


def claim_of(result: dict[str, Any]) -> float | None:
    """The confidence that a model's answer states, None where it states none."""
    claim = result.get("confidence")
    return float(claim) if isinstance(claim, int | float) else None


def state_confidence(
    result: dict[str, Any], *, source: ConfidenceSource, calibration: Calibration | None
) -> dict[str, Any]:
    """The result with a confidence that was measured, or without any.

    A classifier's own probability is one that was. Alternatives keep theirs only beside it: what is known of other
    numbers is known of the first choice.
    """
    claim = claim_of(result)
    if claim is None:
        return result
    if calibration is not None:
        mapped = {"confidence": calibration.map(claim), "confidence_source": "calibrated"}
        return without_numbers(result | mapped)
    if source == "classifier":
        return result | {"confidence_source": source}
    return without_numbers({name: value for name, value in result.items() if name != "confidence"})


def without_numbers(result: dict[str, Any]) -> dict[str, Any]:
    """The result whose alternatives are in their order and no more."""
    alternatives = result.get("alternatives")
    if not isinstance(alternatives, list):
        return result
    plain = [
        {name: value for name, value in one.items() if name != "confidence"} if isinstance(one, dict) else one
        for one in alternatives
    ]
    return result | {"alternatives": plain}


def is_doubtful(
    claim: float | None, *, source: ConfidenceSource, calibration: Calibration | None, review_below: float | None
) -> bool:
    """Whether the confidence is too low to go without a person: under what is set, else under what was certified.

    Where neither is known, a mapped confidence under a half and a language model's own claim under 0.6 are: such a
    claim proves nothing by being high, and says enough by being low.
    """
    if claim is None:
        return False
    if review_below is None and calibration is not None:
        review_below = calibration.review_below
    if calibration is not None:
        return calibration.map(claim) < (MAPPED_REVIEW_BELOW if review_below is None else review_below)
    if review_below is None:
        review_below = 0.0 if source == "classifier" else CLAIM_REVIEW_BELOW
    return claim < review_below
