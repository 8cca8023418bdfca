"""A process that asks one deployment as it is told on its standard input: `python -m tests.llm.processes REDIS_URL`.

`ask` begins an attempt and says `asked` or `left alone`; `good` and `bad` end the attempt begun last, and say so.
"""

import asyncio
import sys

from feedback_gateway.clock import SystemClock
from feedback_gateway.errors import DeploymentCooling
from feedback_gateway.llm.health import Outcome, Rules
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.shared_cooldowns import SharedCooldowns
from feedback_gateway.redis_link.link import open_link

DEPLOYMENT = Deployment(alias="default", name="p/m", model="p/m")
OUTCOMES = {"good": Outcome(kind="success"), "bad": Outcome(kind="failure", error="provider-unavailable")}
COOLDOWN_S = 0.5


async def serve(redis_url: str) -> None:
    """Do as told until the input ends."""
    clock = SystemClock()
    async with open_link(redis_url, clock=clock, patience_s=10.0) as link:
        rules = Rules(cooldown_s=COOLDOWN_S, max_cooldown_s=60)
        watch = HealthWatch([DEPLOYMENT], rules=rules, clock=clock, board=SharedCooldowns(link))
        tickets: list[int] = []
        while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
            said = order
            if order == "ask":
                await watch.look()
                try:
                    tickets.append(await watch.admit(DEPLOYMENT))
                    said = "asked"
                except DeploymentCooling:
                    said = "left alone"
            else:
                await watch.settle(DEPLOYMENT, tickets.pop(), OUTCOMES[order])
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
