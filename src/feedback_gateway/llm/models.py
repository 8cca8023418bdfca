"""What is asked of a model and what comes back; the one protocol that providers and wrappers share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from feedback_gateway.ratelimits.models import UNLIMITED, Allowance

if TYPE_CHECKING:
    from feedback_gateway.calls.models import Call

Role = Literal["system", "user", "assistant"]
ConfidenceSource = Literal["classifier", "model_claim"]
Purpose = Literal["answer", "repair"]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
Operation = Literal["chat", "embeddings"]
FINISHED: frozenset[FinishReason] = frozenset({"stop", "tool_calls"})
"""How answers end by themselves; others were cut short or refused."""
Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """Whether a stored answer may be given (`read`) and the new one be stored (`write`), and for how long, in seconds.

    `ttl_s` is None where the configured time holds, and 0 stores nothing; `max_age_s` refuses older answers.
    """

    read: bool = True
    write: bool = True
    ttl_s: float | None = None
    max_age_s: float | None = None


USE_CACHE = CachePolicy()
"""What is done unless somebody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One question to a model, rendered for those that read messages and structured for those that do not.

    `output_schema` is the JSON Schema (draft 2020-12) that the answer must satisfy, enumerations of this
    very request included. `task`, `items` and `taxonomy` say the same as `messages` to a model that is no
    language model: the task's name, the validated inputs of each item, and the categories to choose from.
    The messages show so many `examples` of what people said of other texts, chosen for this item alone.
    `prompt_digest` stands for the file that they were rendered from, and `fence` is the token, drawn for this request
    alone, that the messages carry around texts of users. With a `gatherer` it may share a model call with others; one
    with several `items` is such a call, and whoever gathered them holds the answer for each to its schema.
    """

    model: str
    messages: tuple[Message, ...]
    output_schema: Mapping[str, Any]
    max_tokens: int
    temperature: float | None = None
    purpose: Purpose = "answer"
    task: str
    items: tuple[Mapping[str, Any], ...] = ()
    taxonomy: Mapping[str, Any] | None = None
    examples: int = 0
    prompt_digest: str = ""
    fence: str = ""
    cache: CachePolicy = USE_CACHE
    gatherer: "Gatherer | None" = field(default=None, repr=False, compare=False)

    @property
    def is_streamed(self) -> bool:
        """Never: an answer is held to its schema as a whole."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRequest:
    """A request in OpenAI's terms that is passed on as it stands: `body` is all of it but the model.

    `size` is more than the tokens that its input can take: the UTF-8 bytes of the body, pictures by their own measure;
    `max_tokens` the most output tokens that it asks for, over all choices. A streamed answer's events go to `sink` as
    they come, `[DONE]` included, None where the answer is wanted whole.
    """

    operation: Operation
    model: str
    body: Mapping[str, Any] = field(repr=False)
    size: int
    max_tokens: int
    sink: Sink | None = None
    purpose: Purpose = "answer"
    cache: CachePolicy = USE_CACHE

    @property
    def is_streamed(self) -> bool:
        """Whether the answer goes out while it comes in."""
        return self.sink is not None


Request = CompletionRequest | ForwardRequest
"""What any wrapper may be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Billed tokens in disjoint parts; only `reasoning_tokens` is a part of another, of `output_tokens`.

    `estimated` marks counts that the provider did not report.
    """

    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def input_tokens(self) -> int:
        """All tokens of the prompt, cached or not."""
        return self.uncached_input_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's answer: the text as it came, and `value` once it was parsed and validated.

    A model that is no language model may give `value` itself; it is validated like any other.
    """

    content: str
    finish_reason: FinishReason
    model: str
    usage: Usage
    value: Any = None
    confidence_source: ConfidenceSource = "model_claim"
    needs_review: bool = False
    deployment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardAnswer:
    """What came back for a request that was passed on: `body` is OpenAI's JSON, empty where it was streamed."""

    body: bytes = field(repr=False)
    finish_reason: FinishReason
    model: str
    usage: Usage
    deployment: str | None = None


class Abandoned(asyncio.CancelledError):
    """A streamed answer was cancelled after a part of it had come; `usage` is what that part is taken to have cost."""

    def __init__(self, usage: Usage) -> None:
        super().__init__()
        self.usage = usage


RequestT = TypeVar("RequestT", bound=Request)
AnswerT = TypeVar("AnswerT", bound=Completion | ForwardAnswer)
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
AnswerT_co = TypeVar("AnswerT_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD a token, exact. A cache rate of None means the provider charges those tokens as ordinary input.

    A `reasoning` rate of None means that reasoning costs what other output costs.
    `tiers` holds (threshold, rates) for prompts above so many input tokens, dearest threshold last.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    tiers: tuple[tuple[int, "Rates"], ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether every token costs nothing."""
        every = (self.input, self.output, self.cache_read, self.cache_write, self.reasoning)
        return not any(every) and all(rates.is_free for _, rates in self.tiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One place that can answer for an alias: `model` is LiteLLM's `provider/model`, `params` go to the call.

    `name` is unique and what answers and logs show; `rates` is None where no price is known; `timeout_s` bounds
    one attempt; `allowance` what it may be sent a minute; `listed` what LiteLLM's table says of its model,
    None where it does not know it. `params` may hold keys, so they stay out of the
    representation.
    """

    alias: str
    name: str
    model: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    weight: float = 1.0
    timeout_s: float = 60.0
    rates: Rates | None = None
    allowance: Allowance = UNLIMITED
    listed: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def max_output_tokens(self) -> int | None:
        """What its model answers at most, None where nobody says."""
        return tokens_in(self.listed, "max_output_tokens")

    @property
    def max_input_tokens(self) -> int | None:
        """What its model reads at most, None where nobody says."""
        return tokens_in(self.listed, "max_input_tokens")

    @property
    def is_free(self) -> bool:
        """Whether a request is known to cost nothing, whatever comes of it."""
        return self.rates is not None and self.rates.is_free


def tokens_in(row: Mapping[str, Any] | None, name: str) -> int | None:
    """A number of tokens in a row of the price table."""
    number = (row or {}).get(name)
    return number if isinstance(number, int) and number > 0 else None


class Client(Protocol[RequestT_contra, AnswerT_co]):
    """Anything that answers one kind of request: a provider, or a wrapper around one."""

    async def complete(self, request: RequestT_contra, call: "Call") -> AnswerT_co:
        """Answer `request`; note what it cost in `call`. Raises errors of `feedback_gateway.errors` only."""
        ...


class Leaf(Client[RequestT_contra, AnswerT_co], Protocol[RequestT_contra, AnswerT_co]):
    """The client of one deployment, at the end of the wrappers."""

    async def prepare(self) -> None:
        """Load what the first request needs, once; the time it takes is nobody's attempt."""
        ...


CompletionClient = Client[CompletionRequest, Completion]


class Gatherer(Protocol):
    """Puts questions that come together to a model in one call."""

    async def ask(self, request: CompletionRequest, call: "Call", client: CompletionClient) -> Completion:
        """Answer `request`, alone or with others, by asking `client`. Raises what that raises."""
        ...


Provider = Leaf[CompletionRequest, Completion]
ForwardClient = Client[ForwardRequest, ForwardAnswer]
Forwarder = Leaf[ForwardRequest, ForwardAnswer]
