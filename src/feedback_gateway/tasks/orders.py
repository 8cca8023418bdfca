"""A request to run a task, resolved, and what is made of it and of its call: cache policy, answer, repeat. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from feedback_gateway.calls.models import Call
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.llm.models import CachePolicy, CompletionClient
from feedback_gateway.prompts.models import Prompt
from feedback_gateway.ratelimits.models import Standing
from feedback_gateway.tasks.checks import Checked
from feedback_gateway.tasks.examples import Question
from feedback_gateway.tasks.models import Answer, CallOptions, Preference, Repeat
from feedback_gateway.tasks.packing import Packer
from feedback_gateway.tasks.registry import Task
from feedback_gateway.tasks.rollout import Rollout
from feedback_gateway.tasks.taxonomy import Taxonomy, parse_taxonomy


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request, resolved: the task, the alias that answers, who pays, and when it must be over.

    `client` is who is asked, and `gatherer` whoever puts its items to a model together, None where each goes alone.
    `rollout` is there where each item is to have its own version, and something may run beside it.
    """

    task: Task
    model: str
    preference: Preference
    consumer: Consumer
    ends_at: float | None
    options: CallOptions
    version: int | None
    client: CompletionClient
    gatherer: Packer | None = None
    rollout: Rollout | None = None


def policy_of(options: CallOptions, prompt: Prompt) -> CachePolicy:
    """How stored answers are treated, by the caller's word and the prompt's time."""
    return CachePolicy(
        read=options.cache == "use",
        write=options.cache != "bypass",
        ttl_s=None if prompt.cache_ttl is None else prompt.cache_ttl.total_seconds(),
    )


def answer_of(
    order: Order,
    call: Call,
    checked: Checked,
    *,
    item_id: str | int | None,
    standing: Standing | None,
    repeat: Repeat | None,
) -> Answer:
    """What the caller gets."""
    return Answer(
        call_id=call.call_id,
        task=order.task.name,
        prompt_version=order.task.prompt.version,
        taxonomy_version=call.taxonomy_version,
        model=order.model,
        deployment=call.deployment or "",
        id=item_id,
        result=checked.result,
        cached=call.cached,
        latency_ms=call.latency_ms,
        receipt=call.receipt(),
        standing=standing,
        warnings=call.warnings,
        repeat=repeat,
        claim=checked.claim,
    )


def repeat_of(order: Order, call: Call, *, tokens: int, configured: Taxonomy) -> Repeat | None:
    """What answers the same request again, where its answer is stored and may be given."""
    if call.kept_as is None or call.inputs is None or call.result is None or order.options.cache != "use":
        return None
    return Repeat(
        task=order.task,
        version=order.version,
        configured=configured,
        examples=call.examples,
        taxonomy_version=call.taxonomy_version,
        model=order.model,
        kept=call.kept_as,
        deployment=call.deployment or "",
        saved_usd=call.saved_usd if call.cached else call.receipt().cost_usd or Decimal(0),
        tokens=tokens,
        timeout_s=order.options.timeout_s,
        dropped=call.dropped_evidence,
        inputs=call.inputs,
        result=call.result,
    )


def taxonomy_for(task: Task, inputs: Mapping[str, Any], *, configured: Taxonomy) -> Taxonomy:
    """The request's own taxonomy, where the task takes one, else the configured one.

    What a request's taxonomy does not speak of, teams and rules or severities, is as configured.
    """
    given = inputs.get("taxonomy")
    if given is None or "taxonomy" not in task.prompt.input_schema["properties"]:
        return configured
    own = parse_taxonomy(given, where="taxonomy")
    if not own.severities:
        own = replace(own, severities=configured.severities)
    if own.teams or own.rules or own.default_team:
        return own
    return replace(own, teams=configured.teams, rules=configured.rules, default_team=configured.default_team)


def question_of(order: Order, inputs: Mapping[str, Any], taxonomy: Taxonomy) -> Question:
    """What examples are chosen for; `inputs` are as the item has them."""
    shared = taxonomy.as_json()
    return Question(
        task=order.task.name,
        model=order.model,
        consumer=order.consumer.name,
        purpose=order.options.purpose,
        inputs=inputs,
        taxonomy=shared,
        schema=order.task.answer_schema({**inputs, "taxonomy": shared}),
    )
