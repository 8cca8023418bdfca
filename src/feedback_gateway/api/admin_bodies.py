"""What `/v1/admin` takes: strict JSON, where an unknown field is an error and what is not understood is not stored."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from feedback_gateway.api.bodies import Written, parse_json, require_json
from feedback_gateway.api.envelopes import invalid
from feedback_gateway.api.problems import fault_message
from feedback_gateway.consumers.models import Consumer, Limits, Scopes
from feedback_gateway.errors import Problem
from feedback_gateway.ledger.models import Budget, Period
from feedback_gateway.settings import parse_duration

MOST_USD = Decimal(10) ** 12
NAME = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$"
"""Neither control characters nor what breaks a line or turns it around."""
AMOUNT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")

Body = TypeVar("Body", bound=BaseModel)


def exact(value: object) -> object:
    """A number as it was written, to the last digit: JSON's 0.1 is a tenth, not the float next to it.

    The exponent is written out: of `0e999` no database knows what to make.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    text = str(value)
    return Decimal(format(Decimal(text), "f")) if AMOUNT.fullmatch(text) else "not a number"


def in_utc(value: datetime) -> datetime:
    """A moment in UTC. Raises ValueError where the calendar has no such year."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is no moment of the calendar") from None


Usd = Annotated[Decimal, BeforeValidator(exact), Field(ge=0, le=MOST_USD, decimal_places=18, allow_inf_nan=False)]
Share = Annotated[Decimal, BeforeValidator(exact), Field(gt=0, le=1, decimal_places=6)]
Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
AMinute = Annotated[int | None, Field(ge=0, le=2**31 - 1, strict=True)]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)]], Field(max_length=1_000)]


class Strict(BaseModel):
    """A body or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BudgetBody(Strict):
    """A budget: so many USD a period."""

    limit_usd: Usd
    period: Period
    warn_at: Share = Decimal("0.8")

    def budget(self, task: str | None = None) -> Budget:
        """The budget of one task, or of all."""
        return Budget(limit_usd=self.limit_usd, period=self.period, warn_at=self.warn_at, task=task)


class LimitsBody(Strict):
    """Limits a minute; null is none."""

    requests_per_minute: AMinute = None
    tokens_per_minute: AMinute = None

    def limits(self) -> Limits:
        """The limits."""
        return Limits(requests_per_minute=self.requests_per_minute, tokens_per_minute=self.tokens_per_minute)


class ScopesBody(Strict):
    """The tasks and models that may be used; null is all of them."""

    tasks: Names | None = None
    models: Names | None = None

    def scopes(self) -> Scopes:
        """The scopes."""
        return Scopes(
            tasks=None if self.tasks is None else frozenset(self.tasks),
            models=None if self.models is None else frozenset(self.models),
        )


TaskBudgets = dict[Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)], BudgetBody]


class ConsumerBody(Strict):
    """A new consumer."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=NAME)]
    budget: BudgetBody | None = None
    task_budgets: TaskBudgets = {}
    limits: LimitsBody | None = None
    scopes: ScopesBody | None = None

    def consumer(self) -> Consumer:
        """The consumer, not stored yet."""
        return Consumer(
            name=self.name,
            budgets=budgets_of(self.budget, self.task_budgets),
            limits=(self.limits or LimitsBody()).limits(),
            scopes=(self.scopes or ScopesBody()).scopes(),
        )


class ConsumerChanges(Strict):
    """What to change of a consumer; what is not given stays, and null takes away."""

    budget: BudgetBody | None = None
    task_budgets: TaskBudgets = {}
    limits: LimitsBody | None = None
    scopes: ScopesBody | None = None
    disabled: Annotated[bool, Field(strict=True)] = False

    def changes(self, known: Consumer, *, now: datetime) -> Mapping[str, Any]:
        """The fields of `known` that become something else."""
        given = self.model_fields_set
        found: dict[str, Any] = {}
        if given & {"budget", "task_budgets"}:
            shared = [one for one in known.budgets if one.task is None]
            by_task = [one for one in known.budgets if one.task is not None]
            if "budget" in given:
                shared = [] if self.budget is None else [self.budget.budget()]
            if "task_budgets" in given:
                by_task = [one.budget(task) for task, one in self.task_budgets.items()]
            found["budgets"] = (*shared, *by_task)
        if "limits" in given:
            found["limits"] = (self.limits or LimitsBody()).limits()
        if "scopes" in given:
            found["scopes"] = (self.scopes or ScopesBody()).scopes()
        if "disabled" in given:
            found["disabled_at"] = (known.disabled_at or now) if self.disabled else None
        return found


class KeyBody(Strict):
    """A new key."""

    consumer: Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)]
    admin: Annotated[bool, Field(strict=True)] = False
    expires_at: Moment | None = None


class KeyChanges(Strict):
    """When a key ends; null is never."""

    expires_at: Moment | None


class RotationBody(Strict):
    """How long the old key goes on beside the new one."""

    grace: Annotated[timedelta, BeforeValidator(parse_duration), Field(ge=timedelta(0), le=timedelta(days=90))] = (
        timedelta(0)
    )


class CorrectionBody(Strict):
    """What a call really cost."""

    call_id: Annotated[str, Field(min_length=1, max_length=26, pattern=r"^[0-9A-Za-z]+$")]
    cost_usd: Usd
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]


def budgets_of(shared: BudgetBody | None, by_task: Mapping[str, BudgetBody]) -> tuple[Budget, ...]:
    """All budgets of a consumer."""
    first = () if shared is None else (shared.budget(),)
    return (*first, *(one.budget(task) for task, one in by_task.items()))


async def read_body(request: Request, model: type[Body], *, is_optional: bool = False) -> Body:
    """The request's JSON as `model`. Raises InvalidRequest with every place that is wrong."""
    body = await request.body()
    if is_optional and not body:
        return model()
    require_json(request.headers)
    return validated(model, parse_json(body, fraction=Written))


def validated(model: type[Body], document: Any) -> Body:
    """`document` as `model`. Raises InvalidRequest with every place that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(tuple(fault["loc"]), fault_message(fault))
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise invalid(problems) from None
