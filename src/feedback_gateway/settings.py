"""The only reader of `gateway.yaml` and of the environment: one frozen object with every setting and its default."""

import difflib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from feedback_gateway.configuration import override, parse_yaml, read_yaml
from feedback_gateway.errors import ConfigurationError

PREFIX = "FEEDBACK_GATEWAY_"
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SHORTEST_SECRET = 32
LITELLM_STRATEGIES: Mapping[str, str] = {
    "simple-shuffle": "weight",
    "least-busy": "least_busy",
    "latency-based-routing": "lowest_latency",
    "cost-based-routing": "lowest_cost",
}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """Read `"30s"`, `"24h"`, `"1500ms"` or a number of seconds; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and (match := DURATION.fullmatch(value.strip())):
        try:
            return timedelta(seconds=float(match[1]) * SECONDS[match[2]])
        except OverflowError:
            return value
    return value


def parse_fallbacks(value: object) -> object:
    """Read LiteLLM's list of mappings as one; an alias that stands twice is left for pydantic to refuse."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return value
    merged = {alias: targets for one in value for alias, targets in one.items()}
    return merged if len(merged) == sum(len(one) for one in value) else value


Aliases = Annotated[dict[str, list[str]], BeforeValidator(parse_fallbacks)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(gt=timedelta(0))]


class Section(BaseModel):
    """A part of the configuration: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DeploymentParams(BaseModel):
    """`litellm_params` of one deployment: what is named here is ours, everything else goes to litellm as it stands."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    api_key: SecretStr | None = None
    weight: float = Field(1.0, ge=0)
    timeout: float = Field(60.0, gt=0, description="seconds for one attempt")
    rpm: int | None = Field(None, ge=0, description="requests a minute that it may be sent; 0 is none")
    tpm: int | None = Field(None, ge=0, description="tokens a minute that it may be sent")
    max_retries: int = Field(0, description="accepted for LiteLLM's sake; retries have one owner, `retry`")
    input_cost_per_token: float | str | None = None
    output_cost_per_token: float | str | None = None
    cache_read_input_token_cost: float | str | None = None
    cache_creation_input_token_cost: float | str | None = None


class ModelEntry(Section):
    """One deployment of an alias, in the shape of LiteLLM's `model_list`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str = Field(min_length=1)
    litellm_params: DeploymentParams
    model_info: dict[str, Any] = {}


class Share(Section):
    """A share of a task's calls for one prompt version."""

    version: int
    share: float = Field(ge=0, le=1)


def in_utc(value: datetime) -> datetime:
    """A moment that names no zone is UTC's; a date is its first moment."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(in_utc)]


class DeprecationSettings(Section):
    """From when on a prompt version should not be used any more, and when it ends."""

    since: Moment
    sunset: Moment | None = None

    @model_validator(mode="after")
    def since_first(self) -> "DeprecationSettings":
        """Refuse an end before the beginning (RFC 9745 does)."""
        if self.sunset is not None and self.sunset < self.since:
            message = "sunset: must not be before since"
            raise ValueError(message)
        return self


class ExampleSettings(Section):
    """How many of people's corrections a prompt shows, the nearest ones, and whether consumers share them."""

    most: int = Field(8, ge=1, le=32)
    scope: Literal["consumer", "shared"] = "consumer"


class TaskSettings(Section):
    """Which alias and prompt versions a task uses, and below which confidence a person should look."""

    model: str | None = None
    version: int | None = None
    review_below: float | None = Field(None, ge=0, le=1)
    calibration: Path | None = Field(None, description="a file that `prompts calibrate --write` wrote")
    canary: Share | None = None
    shadow: int | None = None
    deprecations: dict[int, DeprecationSettings] = Field({}, description="by prompt version")
    examples: ExampleSettings | None = Field(None, description="people's corrections; None uses none")


class RetrySettings(Section):
    """`attempts` bounds all requests that one call may send, repair turn and fallbacks included."""

    attempts: int = Field(3, ge=1, le=20)
    deadline: Duration = timedelta(seconds=30)
    backoff: Duration = Field(timedelta(milliseconds=500), description="first wait's upper bound; doubles each round")
    max_backoff: Duration = timedelta(seconds=8)


def parse_strategy(value: object) -> object:
    """Take LiteLLM's names of strategies for ours."""
    return LITELLM_STRATEGIES.get(value, value) if isinstance(value, str) else value


Strategy = Annotated[Literal["weight", "least_busy", "lowest_latency", "lowest_cost"], BeforeValidator(parse_strategy)]


class AliasRouting(Section):
    """What one alias does otherwise than the others."""

    strategy: Strategy | None = None
    hedge: bool | None = None


class RoutingSettings(Section):
    """How a deployment is chosen within an alias, and for how long one that fails is left alone."""

    strategy: Strategy = "weight"
    hedge: bool = Field(False, description="ask a second deployment where the first is slow; both bill")
    cooldown: Duration = Field(timedelta(seconds=5), description="first cooldown; each probe that fails doubles it")
    max_cooldown: Duration = timedelta(minutes=5)
    aliases: dict[str, AliasRouting] = {}

    def of(self, alias: str) -> dict[str, Any]:
        """`strategy` and `hedge` of one alias."""
        own = self.aliases.get(alias, AliasRouting()).model_dump(exclude_none=True)
        return {"strategy": self.strategy, "hedge": self.hedge} | own

    @model_validator(mode="after")
    def cooldown_first(self) -> "RoutingSettings":
        """Refuse a cooldown that begins above its end."""
        if self.cooldown > self.max_cooldown:
            message = "cooldown: must not be longer than max_cooldown"
            raise ValueError(message)
        return self


class CacheSettings(Section):
    """How long and how many answers are kept, and whether consumers share them."""

    ttl: Duration = timedelta(hours=24)
    max_entries: int = Field(100_000, ge=0, description="in this process; 0 turns the cache off, also in Redis")
    max_bytes: int = Field(64_000_000, ge=0, description="in this process")
    scope: Literal["consumer", "shared"] = "consumer"


class LogSettings(Section):
    """What of each call is kept and for how long, and for how long its sums are."""

    format: Literal["text", "json"] = "text"
    level: Literal["info", "warning", "error"] = Field("warning", description="`info` shows a line for each request")
    payloads: Literal["redacted", "none", "full"] = "redacted"
    retention: Duration = timedelta(days=30)
    rollups: Duration = Field(timedelta(days=400), description="sums by hour and day, that usage is reported from")

    @model_validator(mode="after")
    def rollups_last(self) -> "LogSettings":
        """Refuse sums that are gone before what they add up."""
        if self.rollups < self.retention:
            message = "rollups: must be kept at least as long as the calls are, see retention"
            raise ValueError(message)
        return self


class TelemetrySettings(Section):
    """Where traces go, over OTLP/HTTP; nowhere by default. `sample_ratio` of those that begin here are sent."""

    endpoint: str | None = Field(None, pattern=r"^https?://[^\s@]+$", description="such as http://localhost:4318")
    headers: dict[str, SecretStr] = {}
    service_name: str = Field("feedback-gateway", min_length=1)
    sample_ratio: float = Field(1.0, ge=0, le=1)

    @property
    def own_share(self) -> float:
        """The share of the traces that begin here and are kept: none without a collector."""
        return 0.0 if self.endpoint is None else self.sample_ratio


class RedactionSettings(Section):
    """Whether personal data is taken out before a provider sees a text, and put back into its answer."""

    before_provider: bool = False


class KeySettings(Section):
    """What keys are hashed with: set it outside the database, so that a stolen database is of no use."""

    secret: SecretStr | None = Field(None, description="at least 32 characters; None lets the database keep one")

    @model_validator(mode="after")
    def secret_is_long(self) -> "KeySettings":
        """Refuse what could be guessed."""
        if self.secret is not None and len(self.secret.get_secret_value()) < SHORTEST_SECRET:
            message = f"secret: needs at least {SHORTEST_SECRET} characters"
            raise ValueError(message)
        return self


class LimitSettings(Section):
    """The largest input that is taken."""

    text_chars: int = Field(100_000, ge=1)
    body_bytes: int = Field(10_000_000, ge=1)
    items: int = Field(1_000, ge=1, le=1_000)
    concurrency: int = Field(32, ge=1, description="items of all requests worked on at the same time")
    shadows: int = Field(4, ge=1, description="shadow calls at the same time")


class FeedbackSettings(Section):
    """How stored feedback is analysed, in the background: `batch` items at once, `concurrency` batches a process."""

    task: str = "classify"
    in_serve: bool = Field(True, description="whether `serve` works in the background too, or `worker` alone")
    batch: int = Field(20, ge=1, le=200)
    concurrency: int = Field(4, ge=1, le=64)


EMBEDDED = ModelEntry(model_name="default", litellm_params=DeploymentParams(model="embedded/student"))


class Settings(Section):
    """Every setting of the gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_list: list[ModelEntry] = Field([EMBEDDED], min_length=1)
    fallbacks: Aliases = {}
    context_window_fallbacks: Aliases = {}
    content_policy_fallbacks: Aliases = {}
    routing: RoutingSettings = RoutingSettings()
    tasks: dict[str, TaskSettings] = {}
    taxonomy: Path | None = None
    prompts: Path = Field(Path("prompts"), description="folder of your own prompt files, read beside the built-in ones")
    database_url: str = Field("sqlite:///feedback-gateway.db", repr=False)  # may hold a password
    redis_url: SecretStr | None = None
    cache: CacheSettings = CacheSettings()
    retry: RetrySettings = RetrySettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    redaction: RedactionSettings = RedactionSettings()
    keys: KeySettings = KeySettings()
    limits: LimitSettings = LimitSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    webhooks: dict[str, Any] = {}
    digests: list[dict[str, Any]] = []
    alerts: list[dict[str, Any]] = []

    @property
    def without_examples(self) -> "Settings":
        """The same gateway as if nobody had corrected anything, so that a figure is one of the prompt and the model."""
        tasks = {name: task.model_copy(update={"examples": None}) for name, task in self.tasks.items()}
        return self.model_copy(update={"tasks": tasks})

    @model_validator(mode="after")
    def aliases_exist(self) -> "Settings":
        """Refuse a fallback, task or routing that names an alias nobody serves."""
        known = {entry.model_name for entry in self.model_list}
        named = {f"tasks.{name}": [task.model] for name, task in self.tasks.items() if task.model}
        named |= {f"routing.aliases.{alias}": [alias] for alias in self.routing.aliases}
        for section in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
            for source, targets in getattr(self, section).items():
                named[f"{section}.{source}"] = [source, *targets]
                if source in targets or len(set(targets)) < len(targets):
                    message = f"{section}.{source} names a model that was asked before; name each once, not {source!r}"
                    raise ValueError(message)
        for place, models in named.items():
            for model in models:
                if model not in known:
                    message = f"{place} names the model {model!r}; model_list has {sorted(known)}"
                    raise ValueError(message)
        return self


def load_settings(path: Path | None = None, *, environ: dict[str, str] | None = None) -> Settings:
    """Read `path` (or `./gateway.yaml` where there is one), then the environment over it.

    Raises ConfigurationError with one line that names the setting and what is wrong with it.
    """
    environ = dict(os.environ) if environ is None else environ
    file = path or Path("gateway.yaml")
    data: Any = {}
    if path is not None or file.exists():
        data = read_yaml(file)
    data = expand(data, environ=environ, where=str(file))
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX):
            override(data, name.removeprefix(PREFIX).lower().split("__"), parse_yaml(value, where=name))
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(explain(error.errors(include_url=False)[0])) from None


def explain(flaw: Mapping[str, Any]) -> str:
    """One flaw that pydantic found, as the place of a setting and what to do; the value is not repeated."""
    place = ".".join(str(part) for part in flaw["loc"])
    known = section_of(flaw["loc"]).model_fields
    near = difflib.get_close_matches(str(flaw["loc"][-1]) if flaw["loc"] else "", known, n=1)
    if flaw["type"] == "extra_forbidden":
        hint = f"did you mean {near[0]}? There are: " if near else "there are: "
        return f"{place}: there is no such setting; {hint}{', '.join(known)}"
    if flaw["type"] == "missing":
        return f"{place}: is missing; add it"
    if "timedelta" in flaw["msg"] or flaw["type"].startswith("time_delta"):
        return f"{place}: must be a duration above 0, such as 500ms, 30s, 15m, 24h or 30d"
    said = flaw["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


def section_of(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The part of the settings that the last name of `loc` should be a setting of."""
    section: type[BaseModel] = Settings
    for part in loc[:-1]:
        field = section.model_fields.get(str(part))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        section = found[0] if found else section
    return section


def expand(value: Any, *, environ: dict[str, str], where: str) -> Any:
    """Replace `${NAME}` and `os.environ/NAME` in every string of `value`."""
    if isinstance(value, dict):
        return {key: expand(item, environ=environ, where=f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, environ=environ, where=where) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("os.environ/"):
        value = "${" + value.removeprefix("os.environ/") + "}"

    def replacement(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ConfigurationError(f"{where}: the environment has no {match[1]}; set it or remove the reference")
        return environ[match[1]]

    return REFERENCE.sub(replacement, value)
