"""From `model_list` to deployments: their names and prices, and what goes to their providers."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.models import Deployment, Rates
from feedback_gateway.llm.price_table import PriceTable, deployment_rates, find_row, load_price_table
from feedback_gateway.llm.providers import EMBEDDED_MODEL
from feedback_gateway.ratelimits.models import Allowance
from feedback_gateway.settings import ModelEntry, Settings
from feedback_gateway.tasks.pack_sizes import Window

FREE = Rates(input=Decimal(0), output=Decimal(0))
OUR_PARAMS = (
    "model",
    "api_key",
    "weight",
    "timeout",
    "rpm",
    "tpm",
    "max_retries",
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)


def deployments_of(settings: Settings) -> tuple[Deployment, ...]:
    """The deployments of `model_list` with their prices; a model listed twice is told apart by a number."""
    table = load_price_table() if any(not is_embedded(entry) for entry in settings.model_list) else {}
    seen: Counter[str] = Counter()
    deployments = []
    for entry in settings.model_list:
        model = entry.litellm_params.model
        seen[model] += 1
        deployments.append(
            Deployment(
                alias=entry.model_name,
                name=model if seen[model] == 1 else f"{model}#{seen[model]}",
                model=model,
                params=provider_params(entry),
                weight=entry.litellm_params.weight,
                timeout_s=entry.litellm_params.timeout,
                rates=FREE if is_embedded(entry) else rates_of(entry, table),
                allowance=Allowance(
                    requests_per_minute=entry.litellm_params.rpm, tokens_per_minute=entry.litellm_params.tpm
                ),
                listed=find_row(str(entry.model_info.get("base_model") or model), table),
            )
        )
    return tuple(deployments)


def is_embedded(entry: ModelEntry) -> bool:
    """Whether the deployment is ours. Raises ConfigurationError for an embedded model there is not."""
    model = entry.litellm_params.model
    if model.startswith("embedded/") and model != EMBEDDED_MODEL:
        raise ConfigurationError(f"model_list: there is no {model}; the embedded model is {EMBEDDED_MODEL}")
    return model == EMBEDDED_MODEL


def windows_of(deployments: Iterable[Deployment]) -> dict[str, Window]:
    """By alias, what the smallest of its models takes and gives; the embedded one reads items one by one anyway."""
    windows: dict[str, Window] = {}
    for deployment in deployments:
        if deployment.model != EMBEDDED_MODEL:
            own = Window(deployment.max_input_tokens, deployment.max_output_tokens)
            known = windows.get(deployment.alias, own)
            windows[deployment.alias] = Window(
                least(known.input_tokens, own.input_tokens), least(known.output_tokens, own.output_tokens)
            )
    return windows


def least(one: int | None, other: int | None) -> int | None:
    """The smaller of those that are known."""
    return min((number for number in (one, other) if number is not None), default=None)


def provider_params(entry: ModelEntry) -> dict[str, Any]:
    """What of `litellm_params` goes to the provider's client: everything but what is ours."""
    params = entry.litellm_params
    given = params.model_dump(exclude=set(OUR_PARAMS), exclude_none=True)
    if params.api_key is not None:
        given["api_key"] = params.api_key.get_secret_value()
    return given


def rates_of(entry: ModelEntry, table: PriceTable) -> Rates | None:
    """The deployment's prices: LiteLLM's table, what the operator set over it; None where nobody knows."""
    params = entry.litellm_params.model_dump(exclude={"api_key"})
    return deployment_rates(entry.litellm_params.model, table, params=params, info=entry.model_info)
