"""Reads the price table that LiteLLM ships, without importing LiteLLM, and finds a model's row in it. No arithmetic."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.models import Rates
from feedback_gateway.llm.prices import merge, rates_from

PriceTable = Mapping[str, Mapping[str, Any]]

FILE = "model_prices_and_context_window_backup.json"
ROUTES = frozenset({"chat", "completion", "converse", "converse_like", "invoke", "responses"})
"""Parts of a model's name that choose LiteLLM's way to the provider, not the model."""
DATE = re.compile(r"[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})$")


class Rows(Mapping[str, Mapping[str, Any]]):
    """The rows of a table of which few are asked for: each is read when it is, the same one every time.

    Reading all of them would leave a server some 3 MiB larger.
    """

    def __init__(self, written: Mapping[str, msgspec.Raw]) -> None:
        self._written = written
        self._read: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        """The row of one model. Raises KeyError where there is none."""
        if name not in self._read:
            row: Mapping[str, Any] = msgspec.json.decode(self._written[name])
            if "litellm_provider" not in row or name == "sample_spec":
                raise KeyError(name)
            self._read[name] = row
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """The models' names."""
        return (name for name in self._written if name in self)

    def __len__(self) -> int:
        """How many models there are."""
        return sum(1 for _ in self)


def load_price_table() -> PriceTable:
    """Every row of LiteLLM's bundled table by the model's name. Raises ConfigurationError where it cannot be read."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise ConfigurationError("litellm is not installed; install it, or give the prices in litellm_params")
    file = Path(spec.origin).with_name(FILE)
    try:
        return Rows(msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw]))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the price table of litellm cannot be read: {type(error).__name__}") from None


def find_row(model: str, table: PriceTable) -> Mapping[str, Any] | None:
    """The row for LiteLLM's `provider/model` or for a name that a provider answered with; None where there is none.

    A row without the provider in its name counts only where it is that provider's own: the same model costs
    something else elsewhere. A dated snapshot without a row of its own costs what the model without the date does.
    """
    provider, slash, rest = model.partition("/")
    if not slash:
        return next((table[name] for name in snapshots(model) if name in table), None)
    parts = rest.split("/")
    bare = "/".join(part for part in parts if part not in ROUTES) if len(parts) > 1 else rest
    for name in snapshots(bare):
        if f"{provider}/{name}" in table:
            return table[f"{provider}/{name}"]
        row = table.get(name)
        if row is not None and belongs(row, provider=provider):
            return row
    return None


def find_rates(model: str, table: PriceTable) -> Rates | None:
    """The rates of `model`, or None where the table does not know its price."""
    row = find_row(model, table)
    return None if row is None else rates_from(row)


def deployment_rates(
    model: str, table: PriceTable, *, params: Mapping[str, Any], info: Mapping[str, Any]
) -> Rates | None:
    """The rates of a deployment: its row (by `base_model` where given), `model_info` and `litellm_params` over it."""
    name = str(info.get("base_model") or params.get("base_model") or model)
    return rates_from(merge(find_row(name, table), info, params))


def snapshots(name: str) -> Iterator[str]:
    """The names under which a model may be listed, most exact first."""
    yield name
    undated = DATE.sub("", name)
    if undated != name:
        yield undated


def belongs(row: Mapping[str, Any], *, provider: str) -> bool:
    """Whether a row without a provider in its name is priced by `provider`: `bedrock_converse` is `bedrock`'s."""
    owner = str(row.get("litellm_provider") or "")
    return owner == provider or owner.startswith((f"{provider}_", f"{provider}-")) or owner.endswith(f"-{provider}")
