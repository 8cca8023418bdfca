"""Chooses the client of each deployment: the embedded student, LiteLLM, or none where OpenAI's protocol is spoken.

Clients of one kind share what they keep open.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from feedback_gateway.clock import Clock
from feedback_gateway.llm.embedded_client import EmbeddedClient, load_student
from feedback_gateway.llm.embedded_forwarder import EmbeddedForwarder
from feedback_gateway.llm.litellm_client import LiteLLMClient, load_litellm
from feedback_gateway.llm.litellm_forwarder import LiteLLMForwarder
from feedback_gateway.llm.models import Deployment, Forwarder, Provider
from feedback_gateway.llm.openai_client import OpenAIClient
from feedback_gateway.llm.openai_endpoint import endpoint_of
from feedback_gateway.llm.openai_forwarder import OpenAIForwarder
from feedback_gateway.llm.openai_http import Connections
from feedback_gateway.llm.openai_wire import Wire

EMBEDDED_MODEL = "embedded/student"


class Providers:
    """Makes the client of each deployment; `stack` closes them."""

    def __init__(self, stack: AsyncExitStack, *, clock: Clock) -> None:
        self._stack = stack
        self._clock = clock
        self._connections = Connections()
        self._embedded: EmbeddedClient | None = None
        self._litellm: dict[str, LiteLLMClient] = {}
        stack.push_async_callback(self._connections.aclose)

    async def warm_up(self) -> None:
        """Load the embedded student and LiteLLM, each in a thread and where a deployment uses it."""
        if self._embedded is not None:
            await self._embedded.warm_up()
        for client in self._litellm.values():
            await client.prepare()

    def client(self, deployment: Deployment) -> Provider:
        """What answers tasks."""
        if deployment.model == EMBEDDED_MODEL:
            return self._student()
        wire = self._wire(deployment)
        return self._through_litellm(deployment) if wire is None else OpenAIClient(wire)

    def forwarder(self, deployment: Deployment) -> Forwarder:
        """What passes requests on."""
        if deployment.model == EMBEDDED_MODEL:
            return EmbeddedForwarder()
        wire = self._wire(deployment)
        if wire is None:
            return LiteLLMForwarder(self._through_litellm(deployment), deployment)
        return OpenAIForwarder(wire)

    def _wire(self, deployment: Deployment) -> Wire | None:
        """The way straight to a deployment that speaks OpenAI's protocol; None for others."""
        endpoint = endpoint_of(deployment)
        return None if endpoint is None else Wire(deployment, endpoint, self._connections, clock=self._clock)

    def _student(self) -> EmbeddedClient:
        """The embedded student, one for all its deployments."""
        if self._embedded is None:
            self._embedded = EmbeddedClient()
            self._stack.push_async_callback(self._embedded.aclose)
        return self._embedded

    def _through_litellm(self, deployment: Deployment) -> LiteLLMClient:
        """The deployment's client of LiteLLM, one for tasks and for what is passed on."""
        if deployment.name not in self._litellm:
            client = LiteLLMClient(deployment, clock=self._clock)
            self._litellm[deployment.name] = client
            self._stack.push_async_callback(client.aclose)
        return self._litellm[deployment.name]


def load_libraries(deployments: Sequence[Deployment]) -> None:
    """Load what the clients of all of them need, for a process that will fork: opens nothing, leaves no thread."""
    ours = [deployment.model == EMBEDDED_MODEL for deployment in deployments]
    if any(ours):
        load_student()
    if any(not own and endpoint_of(deployment) is None for own, deployment in zip(ours, deployments, strict=True)):
        load_litellm()
