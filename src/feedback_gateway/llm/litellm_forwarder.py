"""Passes requests on through litellm to whatever provider it knows, in exactly one request, streamed or whole."""

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.litellm_client import LiteLLMClient
from feedback_gateway.llm.models import Deployment, ForwardAnswer, ForwardRequest


class LiteLLMForwarder:
    """Passes requests on to one deployment."""

    def __init__(self, client: LiteLLMClient, deployment: Deployment) -> None:
        self._client = client
        self._deployment = deployment

    async def prepare(self) -> None:
        """Import litellm, which takes seconds, once."""
        await self._client.prepare()

    async def complete(self, request: ForwardRequest, call: Call) -> ForwardAnswer:  # noqa: ARG002 the protocol's
        """Pass it on once. Raises ProviderError, and Abandoned where a stream is left."""
        raise ProviderUnavailable("not yet")
