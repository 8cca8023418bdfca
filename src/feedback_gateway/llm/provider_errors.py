"""Foreign exceptions → ours, in one table; the detail repeats neither a key nor what was asked. Imports no library."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)

CLASSES: Mapping[str, type[ProviderError]] = {
    "litellm.ContextWindowExceededError": ContextTooLong,
    "litellm.ContentPolicyViolationError": ContentRefused,
    "litellm.PaymentRequiredError": ProviderUnauthorized,
    "openai.AuthenticationError": ProviderUnauthorized,
    "openai.PermissionDeniedError": ProviderUnauthorized,
    "openai.RateLimitError": ProviderRateLimited,
    "openai.APITimeoutError": ProviderTimeout,
    "openai.BadRequestError": ProviderRejected,
    "openai.NotFoundError": ProviderRejected,
    "openai.UnprocessableEntityError": ProviderRejected,
    "openai.ConflictError": ProviderUnavailable,
    "openai.InternalServerError": ProviderUnavailable,
    "openai.APIConnectionError": ProviderUnavailable,
    "httpx.TimeoutException": ProviderTimeout,
    "builtins.TimeoutError": ProviderTimeout,
}
"""By library and class; the first that an exception is or descends from counts, nearest ancestor first."""

STATUSES: Mapping[int, type[ProviderError]] = {
    401: ProviderUnauthorized,
    402: ProviderUnauthorized,
    403: ProviderUnauthorized,
    408: ProviderTimeout,
    409: ProviderUnavailable,
    413: ContextTooLong,
    425: ProviderUnavailable,
    429: ProviderRateLimited,
}
"""By status; the rest goes by class, else 3xx and 4xx are rejected and 5xx unavailable."""

PHRASES: Mapping[type[ProviderError], str] = {
    ContextTooLong: "the request is larger than the model's context",
    ContentRefused: "the provider's filter declined the request",
    ProviderUnauthorized: "the provider refused the deployment's key or its rights",
    ProviderRateLimited: "the provider's rate limit was reached",
    ProviderTimeout: "the provider gave no answer in time",
    ProviderRejected: "the provider rejected the request",
    ProviderUnavailable: "the provider failed",
}

SECRETS = re.compile(
    r"(?i)bearer\s+\S+|basic\s+[a-z0-9+/=]{8,}|\b(?:sk|pk|gsk|rk|xai|hf|key|AIza|AKIA)[-_]?[a-z0-9_\-*.]{8,}"
    r"|//[^/\s@]*@|[\w.+-]+@[\w-]+\.[\w.]+|\b[a-z0-9+/_\-=]{32,}"
)
PLAIN = (
    "a an and or the this that these is are was be been being not no of for in on at to by with from as it its "
    "if when you your have has had do does did can cannot could must may will would should please use used "
    "using model models request requests response api key error errors invalid value values type field param "
    "parameter parameters support supports supported unsupported exist exists found access limit limits reached "
    "exceeded rate token tokens max maximum minimum context length level levels message messages schema json "
    "format tool tools function functions call called choice required missing expected got only one more than "
    "too many try again later provider server service returned internal unavailable temporarily overloaded "
    "quota billing account project role roles system developer user assistant content"
)
"""Words of any error message: they give nothing away even where a user wrote them too."""
UNREACHABLE = re.compile(r"(?i)connection (?:error|refused)|cannot connect|name or service not known|getaddrinfo")
BROKEN = frozenset(
    {
        "ReadError",
        "RemoteProtocolError",
        "WriteError",
        "ClientPayloadError",
        "ServerDisconnectedError",
        "ClientOSError",
    }
)
"""What httpx and aiohttp call a connection that broke."""
FILTERED = frozenset({"content_filter", "content_policy_violation"})
TOO_LONG = re.compile(
    r"(?i)maximum (?:context|input) (?:length|limit)|exceeds? (?:the )?(?:available )?context|maximum number of tokens"
    r"|longer than the model's context|input tokens exceed|current length is .* while limit is"
)
REFUSED = re.compile(r"(?i)content management policy|content policy|safety system")
UNREACHED = "no connection; is api_base right, and is the server running?"
MISSING = re.compile(r"No module named '([\w.]+)'")
OWN_PREFIX = re.compile(r"^(?:litellm\.\w+: |\w+Exception - )+")
OWN_WORDS = re.compile(r"\s*(?:[.,;]? To drop | \. |\.? Either provide |\n|//)")
"""Where what litellm says of a request ends, and what it says of its own settings begins."""
REWRITING = ("prompt_templates/factory.py", "transformation.py")
"""Where litellm writes messages in the terms of a provider, and has no class for what it cannot write."""
WORD = re.compile(r"\w+")
MASKS = re.compile(r"…(?:[^\w…]*…)+")
MAX_ANSWER_BYTES = 16 * 1024 * 1024
TOO_LARGE = b'{"error": {"message": "the answer is larger than 16 MiB"}}'
DECLINED = 400
LONGEST = 200
LONGEST_WAIT_S = 3_600.0
"""What a provider asks for beyond that is a mistake, or a quota that one probe an hour does not hurt."""
SHORTEST_SECRET = 4


def translate(
    error: BaseException, *, secrets: Iterable[str], prompt: str, now: datetime, usage: Any = None
) -> ProviderError:
    """Our error for `error`; its detail leaves out `secrets` and the telling words of `prompt`."""
    missing = MISSING.search(str(error))
    if missing:
        return ProviderRejected(f"litellm needs the package {missing[1]} for this provider; install it")
    headers = getattr(error, "litellm_response_headers", None)
    status = status_of(error) if headers is not None else None
    kind = kind_of(error)
    said = (
        provider_message(error)
        if headers is not None
        else UNREACHED
        if UNREACHABLE.search(str(error)) and not is_lost(error)
        else ""
    )
    return kind(
        sentence(kind, status=status, said=scrub(said, secrets=secrets, prompt=prompt)),
        status=status,
        retry_after=retry_after(headers or {}, now=now),
        usage=usage,
        is_lost=headers is None and is_lost(error),
    )


def untaken(
    error: BaseException, *, asked: Iterable[str], secrets: Iterable[str], prompt: str
) -> ProviderRejected | None:
    """Our error for what litellm refused or stumbled over by itself, before it sent anything; None for another failure.

    `asked` names the parameters of the request: what is said of others, which the operator set, is not its fault.
    """
    if is_stumble(error):
        return ProviderRejected("the request has a shape that cannot be sent to this provider", status=DECLINED)
    if status_of(error) != DECLINED or kind_of(error) is not ProviderRejected:
        return None
    text = OWN_WORDS.split(OWN_PREFIX.sub("", str(getattr(error, "message", "") or error)), maxsplit=1)[0]
    named = [name for name in asked if re.search(rf"\b{re.escape(name)}\b", text)]
    if not named and type(error).__name__ == "UnsupportedParamsError":
        return None
    said = scrub(text, secrets=secrets, prompt=prompt, plain=named)
    return ProviderRejected(f"litellm cannot ask the model's provider so: {said}", status=DECLINED)


def is_stumble(error: BaseException | None) -> bool:
    """Whether litellm failed over the shape of what it was given, by itself or within what it raised."""
    while error is not None:
        if isinstance(error, TypeError | AttributeError | LookupError):
            return True
        if type(error) is Exception and origin_of(error).endswith(REWRITING):
            return True
        error = error.__cause__ or error.__context__
    return False


def origin_of(error: BaseException) -> str:
    """The file in which it was raised; empty where that is not known."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else place.tb_frame.f_code.co_filename


def refused(
    status: int,
    body: Any,
    *,
    headers: Mapping[str, str],
    secrets: Iterable[str],
    prompt: str,
    now: datetime,
    usage: Any = None,
) -> ProviderError:
    """Our error for an answer of OpenAI's protocol that is none; `body` is decoded JSON, None where it is not JSON."""
    kind = kind_of_answer(status, body)
    return kind(
        sentence(kind, status=status, said=scrub(message_in(body), secrets=secrets, prompt=prompt)),
        status=status,
        retry_after=retry_after(headers, now=now),
        usage=usage,
    )


def kind_of_answer(status: int, body: Any) -> type[ProviderError]:
    """Which of ours stands for an answer: its code where that says more than the status does, then the status."""
    error = body.get("error") if isinstance(body, Mapping) else None
    code = str(error.get("code") or error.get("type") or "") if isinstance(error, Mapping) else ""
    is_theirs = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_theirs and status not in (401, 402, 403, 408, 409, 429):
        message = message_in(body)
        if code == "context_length_exceeded" or TOO_LONG.search(message):
            return ContextTooLong
        if code in FILTERED or REFUSED.search(message):
            return ContentRefused
    return STATUSES.get(status) or (ProviderRejected if is_theirs else ProviderUnavailable)


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke when the request was under way: the provider may have answered, and bills that."""
    current: BaseException | None = error
    while current is not None:
        if type(current).__name__ in BROKEN:
            return True
        current = current.__cause__ or current.__context__
    return False


def kind_of(error: BaseException) -> type[ProviderError]:
    """Which of ours stands for `error`: what litellm read from its text first, then its status, then its class."""
    ancestors = [f"{one.__module__.partition('.')[0]}.{one.__name__}" for one in type(error).__mro__]
    status = status_of(error) or HTTPStatus.INTERNAL_SERVER_ERROR
    is_ours = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    by_text = [CLASSES[name] for name in ancestors if name in CLASSES and name.startswith("litellm.")]
    by_class = [CLASSES[name] for name in ancestors if name in CLASSES]
    by_status = [STATUSES[status]] if status in STATUSES else []
    return [*by_text, *by_status, *by_class, ProviderRejected if is_ours else ProviderUnavailable][0]


def status_of(error: BaseException) -> int | None:
    """The HTTP status that `error` carries."""
    status = getattr(error, "status_code", None)
    return int(status) if isinstance(status, int | str) and str(status).isdecimal() else None


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date); None where neither says so.

    At most LONGEST_WAIT_S: callers are told it and a cooldown lasts as long, whatever the provider wrote there.
    """
    lower = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = lower.get(name, "")
        if re.fullmatch(r"\d+(?:\.\d+)?", value):
            return min(float(value) * unit, LONGEST_WAIT_S)
    try:
        date = parsedate_to_datetime(lower.get("retry-after", ""))
        return min(max(0.0, (date - now).total_seconds()), LONGEST_WAIT_S)
    except (ValueError, TypeError):
        return None


def sentence(kind: type[ProviderError], *, status: int | None, said: str) -> str:
    """One sentence for operator and caller."""
    phrase = PHRASES[kind]
    if status is not None:
        phrase += f" (HTTP {status})"
    return f"{phrase}: {said}" if said else phrase


def provider_message(error: BaseException) -> str:
    """What the provider itself said, out of the error body that litellm quotes; empty where it cannot be told apart."""
    text = str(getattr(error, "message", "") or error)
    if "Traceback" in text or "received_args" in text:
        return ""
    start = text.find("{")
    if start >= 0:
        try:
            body, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            return ""
        return message_in(body)
    return text.rpartition("Exception - ")[2].strip()


def message_in(body: Any) -> str:
    """The message of an error body in any of the usual shapes."""
    for name in ("error", "message", "detail"):
        inner = body.get(name) if isinstance(body, Mapping) else None
        if isinstance(inner, Mapping):
            return message_in(inner)
        if isinstance(inner, str):
            return inner
    return ""


def scrub(text: str, *, secrets: Iterable[str], prompt: str, plain: Iterable[str] = ()) -> str:
    """`text` short, on one line, without secrets and without the words of `prompt` that could say what it was about.

    `plain` are words that give nothing away here, though they are in the prompt.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "…")
    text = SECRETS.sub("…", " ".join(text.split()))[:LONGEST]
    asked = {word.casefold() for word in WORD.findall(prompt)} - set(PLAIN.split()) - set(plain)
    masked = WORD.sub(lambda match: "…" if match[0].casefold() in asked else match[0], text)
    return MASKS.sub("…", masked).rstrip(" .")
