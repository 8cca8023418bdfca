"""Holds every answer to its schema, whatever the provider promised, with one repair turn for whoever erred."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jsonschema_rs

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import BudgetExceeded, InvalidModelOutput, ProviderFailed
from feedback_gateway.llm.failures import given_up
from feedback_gateway.llm.models import Completion, CompletionClient, CompletionRequest, Message
from feedback_gateway.llm.parsing import OutputError, coerce, parse_object
from feedback_gateway.llm.tokens import MOST_REMEMBERED
from feedback_gateway.memo import Memo

REPAIR = (
    "Your answer could not be used: {error}. Answer the same question again with one JSON object that satisfies "
    "the schema, and nothing else."
)
MAX_ERRORS = 3
MAX_ECHO = 200
MAX_SHOWN = 20_000
"""Characters of an invalid answer that its model is shown again."""
VALIDATORS: Memo[jsonschema_rs.Draft202012Validator] = Memo(most=64)


class ValidatingClient:
    """Gives back completions whose `value` satisfies the request's schema.

    An invalid answer is shown to its model once, with what is wrong with it; whoever errs again is given up, and the
    question goes to whom there is else, as long as attempts are left. Raises InvalidModelOutput.
    """

    def __init__(self, inner: CompletionClient) -> None:
        self._inner = inner

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Complete, validate, repair once, and ask somebody else."""
        asked, flaws = request, dict[str | None, str]()
        while True:
            try:
                completion = await self._inner.complete(asked, call)
            except (ProviderFailed, BudgetExceeded) as error:
                if not flaws:
                    raise
                end = "the repair failed" if asked.purpose == "repair" else "nobody else answered"
                raise InvalidModelOutput(f"{'; '.join(flaws.values())}; {end}: {error.detail}") from None
            if len(request.items) > 1:  # whoever packed them looks at each answer by itself
                return completion
            try:
                return validated(completion, request)
            except OutputError as error:
                flaw = error
            note_invalid(call, completion, flaw)
            is_given_up = completion.deployment in given_up(call)
            also = ", also after the repair turn" if is_given_up else ""
            flaws[completion.deployment] = f"{completion.deployment}: {flaw}{also}"
            if call.attempts_left < 1:
                said = "; ".join(flaws.values())
                raise InvalidModelOutput(f"{said}; no attempt of `retry.attempts` was left to ask again")
            asked = request if is_given_up else repair(request, completion, flaw)


def validated(completion: Completion, request: CompletionRequest) -> Completion:
    """The completion with its parsed value. Raises OutputError."""
    value = completion.value if completion.value is not None else parse(completion)
    value = coerce(value, request.output_schema)
    check(value, request.output_schema)
    return replace(completion, value=value)


def proven(completion: Completion, request: CompletionRequest) -> Completion | None:
    """A completion that was kept elsewhere meanwhile, None where its value does not satisfy the request's schema."""
    try:
        found = validated(completion, request)
        json.dumps(found.value, allow_nan=False)
    except (ValueError, TypeError):  # it may hold what JSON cannot
        return None
    return found


def parse(completion: Completion) -> dict[str, Any]:
    """The JSON object in the completion's text."""
    try:
        return parse_object(completion.content)
    except OutputError:
        if completion.finish_reason == "length":
            raise OutputError("the answer was cut off at its token limit; answer more briefly") from None
        raise


def check(value: object, schema: Mapping[str, Any]) -> None:
    """Hold `value` to `schema`. Raises OutputError that names the first few flaws and where they are.

    It quotes nothing of the value, which may repeat what a user wrote: its model sees the whole answer again.
    """
    validator = validator_of(schema)
    if validator.is_valid(value):
        return
    flaws = []
    for error in validator.iter_errors(value):
        place = "/".join(str(part) for part in error.instance_path) or "the answer"
        flaws.append(f"{place}: {message_of(error)[:MAX_ECHO]}")
        if len(flaws) == MAX_ERRORS:
            break
    raise OutputError("; ".join(flaws))


def message_of(error: jsonschema_rs.ValidationError) -> str:
    """What is wrong, without the names of properties that the schema does not know."""
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        return f"holds {len(error.kind.unexpected)} properties that the schema does not know"
    return error.message


def validator_of(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """The validator of a schema, found at once for one that calls share."""
    if (known := VALIDATORS.find(schema)) is not None:
        return known
    text = json.dumps(schema, sort_keys=True)
    validator = compiled(text)
    return VALIDATORS.keep(validator, schema) if len(text) <= MOST_REMEMBERED else validator


@lru_cache(maxsize=256)
def compiled(schema: str) -> jsonschema_rs.Draft202012Validator:
    """The validator of one schema, given as canonical JSON."""
    return jsonschema_rs.Draft202012Validator(json.loads(schema), mask="the value")


def repair(request: CompletionRequest, completion: Completion, flaw: OutputError) -> CompletionRequest:
    """The request again, with the invalid answer and what is wrong with it."""
    shown = completion.content[:MAX_SHOWN] or "(nothing)"
    turns = (Message("assistant", shown), Message("user", REPAIR.format(error=flaw)))
    return replace(request, messages=request.messages + turns, purpose="repair")


def note_invalid(call: Call, completion: Completion, flaw: OutputError) -> None:
    """Write the flaw into the attempt that answered, which need not be the last."""
    attempt = next(one for one in reversed(call.attempts) if one.deployment == completion.deployment)
    attempt.error = InvalidModelOutput.code
    attempt.detail = str(flaw)
