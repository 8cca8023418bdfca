"""The whole stack of wrappers over scripted providers, on a clock that jumps."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.choosing import DEFAULT, Routing
from feedback_gateway.llm.health import Rules
from feedback_gateway.llm.health_watch import Board, HealthWatch
from feedback_gateway.llm.models import Completion, CompletionRequest, Deployment, Message, Rates
from feedback_gateway.llm.scripted import OpenPurse, ScriptedClient, Step, answer
from feedback_gateway.llm.stack import Stack
from feedback_gateway.ratelimits.models import UNLIMITED, Allowance
from feedback_gateway.ratelimits.opening import memory_limiter
from tests.llm.calls import new_call

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label"],
    "properties": {"label": {"type": "string", "enum": ["good", "bad"]}},
}
REQUEST = CompletionRequest(
    model="default",
    messages=(Message("user", "How is it?"),),
    output_schema=SCHEMA,
    max_tokens=50,
    task="rate",
)
GOOD = answer('{"label": "good"}')
BAD_LABEL = answer('{"label": "great"}')
RULES = Rules()
RATES = Rates(input=Decimal("0.00001"), output=Decimal("0.00002"))


def outage() -> ProviderUnavailable:
    """A 500 of the provider."""
    return ProviderUnavailable("internal error", status=500)


class Bench:
    """A stack over scripted providers with a clock of its own."""

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Step]],
        *,
        attempts: int = 3,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        context: Mapping[str, Sequence[str]] | None = None,
        content: Mapping[str, Sequence[str]] | None = None,
        routing: Routing = DEFAULT,
        rates: Mapping[str, Rates | None] | None = None,
        models: Mapping[str, str] | None = None,
        rules: Rules = RULES,
        board: Board | None = None,
        weights: Mapping[str, float] | None = None,
        allowances: Mapping[str, Allowance] | None = None,
        seed: int = 0,
    ) -> None:
        self.clock = ManualClock()
        self.clients = {name: ScriptedClient(steps) for name, steps in scripts.items()}
        self.attempts = attempts
        self.purse = OpenPurse()
        self.deployments = deployments = [
            Deployment(
                alias=name.split("/")[0],
                name=name,
                model=(models or {}).get(name, name),
                weight=(weights or {}).get(name, 1.0),
                rates=(rates or {}).get(name, RATES),
                allowance=(allowances or {}).get(name, UNLIMITED),
            )
            for name in scripts
        ]
        self.health = HealthWatch(deployments, rules=rules, clock=self.clock, board=board)
        self.stack = Stack(
            deployments=deployments,
            fallbacks=Fallbacks(general=fallbacks or {}, context=context or {}, content=content or {}),
            routing=dict.fromkeys({one.alias for one in deployments}, routing),
            health=self.health,
            backoff_s=0.5,
            max_backoff_s=8.0,
            purse=self.purse,
            limiter=memory_limiter(self.clock),
            clock=self.clock,
            random=Random(seed),
        )
        self.client = self.stack.tasks(lambda deployment: self.clients[deployment.name])

    def call(self, *, deadline: float = 30.0) -> Call:
        """A fresh call."""
        return new_call(self.clock, deadline_s=deadline, attempts=self.attempts)

    async def complete(self, call: Call | None = None) -> Completion:
        """One completion."""
        return await self.client.complete(REQUEST, call or self.call())

    @property
    def sent(self) -> int:
        """Requests that reached any provider."""
        return sum(len(client.requests) for client in self.clients.values())
