"""Hands a request that may share a model call to whoever gathers those; every other one goes straight on."""

from feedback_gateway.calls.models import Call
from feedback_gateway.llm.models import Completion, CompletionClient, CompletionRequest


class GatheringClient:
    """Stands inside the cache, so that what is stored is not asked, and outside of money, which a pack holds once."""

    def __init__(self, inner: CompletionClient) -> None:
        self._inner = inner

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Complete, by way of the request's gatherer where it has one."""
        if request.gatherer is None:
            return await self._inner.complete(request, call)
        return await request.gatherer.ask(request, call, self._inner)
