"""Our gateway as it is compared: authentication, admission, budget, ledger, redaction and metrics all on."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.benchmarks import workload
from tests.benchmarks.peers import DELAYS_MS, PATH, Question, alias_of, chat_body
from tests.benchmarks.processes import GATEWAY, Server, running

BUDGET = {"limit_usd": "1000000", "period": "day"}
LIMITS = {"requests_per_minute": 10**9, "tokens_per_minute": 2 * 10**9}
PRICES = {"input_cost_per_token": "0.00000025", "output_cost_per_token": "0.000002"}
MODEL = "openai/gpt-4o-mini"
DIRECT: Mapping[str, Any] = {}
THROUGH_LITELLM: Mapping[str, Any] = {"drop_params": True}
"""A parameter of litellm's own, so that the same provider is asked through it."""
CONSUMERS: Mapping[str, Mapping[str, Any]] = {
    "bench": {"budget": BUDGET, "limits": LIMITS},
    "poor": {"budget": {"limit_usd": "0", "period": "day"}, "limits": LIMITS},
    "hasty": {"budget": BUDGET, "limits": {"requests_per_minute": 0}},
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """The running gateway, and the key of each of CONSUMERS."""

    server: Server
    keys: Mapping[str, str]

    def chat(self, delay_ms: int) -> Question:
        """A chat completion that no cache answers."""
        body = json.loads(chat_body(delay_ms)) | {"cache": {"no-cache": True, "no-store": True}}
        return Question(path=PATH, body=json.dumps(body), headers=self.headers())

    def classify(self, delay_ms: int, *, cache: str = "bypass", by: str = "bench") -> Question:
        """A task with the same feedback."""
        body = {"text": workload.text(), "options": {"model": alias_of(delay_ms), "cache": cache}}
        return Question(path=f"/v1/{workload.TASK}", body=json.dumps(body), headers=self.headers(by))

    def hit(self, delay_ms: int) -> Question:
        """A task whose answer is kept from the second time on."""
        return self.classify(delay_ms, cache="use")

    def refused(self, status: int) -> Callable[[int], Question]:
        """A task of somebody without a key, without money, or without patience."""
        by = {401: "nobody", 402: "poor", 429: "hasty"}[status]
        return lambda delay_ms: replace(self.classify(delay_ms, by=by), status=status)

    def headers(self, by: str = "bench") -> dict[str, str]:
        """The key of a consumer."""
        return {"authorization": f"Bearer {self.keys[by]}"}


@contextmanager
def ours(
    folder: Path, *, provider_url: str, params: Mapping[str, Any] = DIRECT, redis_url: str | None = None
) -> Iterator[Gateway]:
    """Start one worker over a database on disk, with consumers and keys."""
    entries = [
        {
            "model_name": alias_of(delay),
            "litellm_params": {
                "api_base": f"{provider_url}/{delay}/v1",
                "api_key": "none",
                "model": MODEL,
                **PRICES,
                **params,
            },
        }
        for delay in DELAYS_MS
    ]
    file = folder / "gateway.yaml"
    file.write_text(json.dumps({"model_list": entries, "redis_url": redis_url}), encoding="utf-8")
    with running(*GATEWAY, "serve", "--port", "0", "--config", str(file), folder=folder) as server:
        yield Gateway(server, new_keys(server.url))


def new_keys(url: str) -> dict[str, str]:
    """Make all consumers, each with a key, and last of all an admin key, from when on every request needs one."""
    for name, body in CONSUMERS.items():
        post(f"{url}/v1/admin/consumers", {"name": name, **body})
    keys = {name: str(post(f"{url}/v1/admin/keys", {"consumer": name})["key"]) for name in CONSUMERS}
    post(f"{url}/v1/admin/keys", {"consumer": "bench", "admin": True})
    return {**keys, "nobody": "fg_" + "x" * 43}


def post(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send JSON, and give what is answered. Raises HTTPError."""
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST")
    with urlopen(request, timeout=30) as answer:
        made: dict[str, Any] = json.load(answer)
    return made
