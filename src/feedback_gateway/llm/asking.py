"""How a deployment's model is asked for JSON: the best way that it takes, and the next one where it refuses that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from feedback_gateway.errors import FormatUnsupported, ProviderRejected
from feedback_gateway.llm.models import CompletionRequest
from feedback_gateway.llm.structured import Mode, Params, structured_messages, structured_params

NAMES_THE_MODE = (
    "response_format",
    "json_schema",
    "json_object",
    "output_format",
    "response_schema",
    "structured output",
    "tool_choice",
    "tool choice",
    "tool use",
    "tools",
    "function call",
    "responsejsonschema",
    "json mode",
)


@dataclass(frozen=True, slots=True)
class Question:
    """A request in OpenAI's terms, and the way in which it asks for JSON."""

    mode: Mode
    messages: Sequence[Mapping[str, Any]]
    params: Params


class Ways:
    """The ways to ask one deployment's model, best first, and the parameters that it takes; refusals narrow them."""

    def __init__(self, modes: Sequence[Mode], supported: frozenset[str]) -> None:
        self._modes = list(modes)
        self._supported = supported

    def question(self, request: CompletionRequest) -> Question:
        """The request in the best way that is left."""
        mode = self._modes[0]
        params: Params = {"max_tokens": request.max_tokens, "temperature": request.temperature}
        params |= structured_params(mode, request.output_schema, supported=self._supported)
        usable = {key: value for key, value in params.items() if value is not None and key in self._supported}
        return Question(mode, structured_messages(mode, request.messages, request.output_schema), usable)

    def refuse(self, question: Question, error: ProviderRejected) -> NoReturn:
        """Raise `error`; where it is about the way of asking, turn to the next, which another attempt may use."""
        if not names_the_mode(error) or not self._give_way(question):
            raise error
        reason = f"the model takes no answer format by {question.mode}; the next attempt asks otherwise"
        raise FormatUnsupported(reason) from None

    def _give_way(self, question: Question) -> bool:
        """Turn from the way of asking that was refused to the next; False where there is none left.

        Calls are refused side by side: whoever finds that another has turned already asks that way too.
        """
        if self._modes[0] != question.mode:
            return True
        if len(self._modes) > 1:
            self._modes.pop(0)
            return True
        self._supported -= {"response_format"}
        return "response_format" in question.params


def names_the_mode(error: ProviderRejected) -> bool:
    """Whether a refusal speaks of the way in which JSON was asked for."""
    detail = error.detail.lower()
    return any(name in detail for name in NAMES_THE_MODE)
