"""What the embedded model says to requests in OpenAI's terms: it does tasks only."""

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import TaskUnsupported
from feedback_gateway.llm.models import ForwardAnswer, ForwardRequest

UNSUPPORTED = (
    "the embedded model does not do {operation!r}; add a model that does to `model_list` and ask for its alias"
)


class EmbeddedForwarder:
    """Declines."""

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: ForwardRequest, call: Call) -> ForwardAnswer:  # noqa: ARG002 the protocol's
        """Raises TaskUnsupported."""
        raise TaskUnsupported(UNSUPPORTED.format(operation=request.operation))
