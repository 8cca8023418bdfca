"""Counts requests and calls when they are over, for Prometheus. Every label has values from a bounded set.

Tasks, aliases and deployments are those of the configuration; consumers, paths and texts are in no label.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from prometheus_client import Counter, Histogram

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.errors import BudgetExceeded
from feedback_gateway.llm.models import Deployment
from feedback_gateway.observability.figures import Registry
from feedback_gateway.observability.models import ServedRequest

OTHER = "other"
UNMATCHED = "unmatched"
CLASSES = {number: f"{number}xx" for number in range(1, 6)}


@dataclass(frozen=True, slots=True)
class RequestSeries:
    """What one kind of request is counted in."""

    count: Counter
    seconds: Histogram


@dataclass(frozen=True, slots=True)
class CallSeries:
    """What one kind of call is counted in."""

    count: Counter
    cost: Counter
    unknown: Counter
    saved: Counter
    retries: Counter
    versions: Counter
    model: str


@dataclass(frozen=True, slots=True)
class AttemptSeries:
    """What one kind of attempt is counted in."""

    count: Counter
    seconds: Histogram
    uncached_input: Counter
    cache_read: Counter
    cache_write: Counter
    output: Counter


class Metrics:
    """What this process has counted, in `registry`.

    `tasks` tells the tasks there are, which may become more; what is none of them counts as `other`. A call costs a few
    microseconds: the series of each kind are looked up once and kept.
    """

    def __init__(
        self, registry: Registry, *, deployments: Iterable[Deployment], tasks: Callable[[], Collection[str]]
    ) -> None:
        self._alias_of = {deployment.name: deployment.alias for deployment in deployments}
        self._aliases = frozenset(self._alias_of.values())
        self._tasks = tasks
        self._kinds_of_requests: dict[tuple[str | None, str, int], RequestSeries] = {}
        self._kinds_of_calls: dict[tuple[str, str, str, bool, int, str], CallSeries] = {}
        self._kinds_of_attempts: dict[tuple[str, str, str, str | None], AttemptSeries] = {}
        counter, histogram = registry.counter, registry.histogram
        self._requests = counter(
            "http_requests", "HTTP requests, by route, method and class of status.", "route", "method", "status"
        )
        self._request_seconds = histogram("http_request_duration_seconds", "From request to end of answer.", "route")
        self._calls = counter("calls", "Calls that are over.", "task", "model", "status", "cached")
        self._versions = counter(
            "prompt_calls", "Calls by the version that answered and what for.", "task", "prompt_version", "purpose"
        )
        self._cost = counter("cost_usd", "What calls cost, as far as it is known.", "task", "model")
        self._unknown = counter("calls_of_unknown_cost", "Calls some of whose cost nobody knows.", "task", "model")
        self._saved = counter("saved_usd", "What answers from the cache would have cost.", "task", "model")
        self._retries = counter("retries", "Attempts beyond the first of their call.", "model")
        self._fallbacks = counter("fallbacks", "Calls that another model answered.", "model", "answered_by")
        self._attempts = counter("attempts", "Requests to providers, by how they ended.", "deployment", "outcome")
        self._attempt_seconds = histogram("attempt_duration_seconds", "Until a provider answered.", "deployment")
        self._tokens = counter("tokens", "Billed tokens, in kinds that add up.", "model", "deployment", "kind")
        self._refusals = counter("refusals", "What limits and budgets turned away.", "scope", "unit")

    def observe_request(self, request: ServedRequest) -> None:
        """Count a request that is over."""
        key = (request.route, request.method, request.status // 100)
        series = self._kinds_of_requests.get(key)
        if series is None:
            route, status = request.route or UNMATCHED, CLASSES.get(key[2], OTHER)
            series = RequestSeries(
                self._requests.labels(route, request.method, status), self._request_seconds.labels(route)
            )
            self._kinds_of_requests[key] = series
        series.count.inc()
        series.seconds.observe(request.seconds)

    def observe_call(self, call: Call) -> None:
        """Count a call that is over, and its attempts."""
        key = (call.task, call.model, call.status, call.cached, call.prompt_version, call.purpose)
        series = self._kinds_of_calls.get(key) or self._series_of(call)
        series.count.inc()
        series.versions.inc()
        cost, is_known = Decimal(0), True
        for attempt in call.attempts:
            self._observe_attempt(attempt, series.model)
            if attempt.cost_usd is not None:
                cost += attempt.cost_usd
            elif attempt.may_be_billed:
                is_known = False
        if cost > 0:
            series.cost.inc(float(cost))
        if not is_known:
            series.unknown.inc()
        if call.saved_usd > 0:
            series.saved.inc(float(call.saved_usd))
        if len(call.attempts) > 1:
            series.retries.inc(sum(attempt.place == 0 for attempt in call.attempts[1:]))
        if call.error == BudgetExceeded.code:
            self.observe_refusal("budget", "usd")
        answered_by = self._alias_of.get(call.deployment or "")
        if answered_by is not None and answered_by != call.model:
            self._fallbacks.labels(series.model, answered_by).inc()

    def observe_refusal(self, scope: str, unit: str) -> None:
        """Count what was turned away: for the limit of a `consumer` or `deployment`, or for a `budget`."""
        self._refusals.labels(scope, unit).inc()

    def _observe_attempt(self, attempt: Attempt, model: str) -> None:
        key = (model, attempt.deployment, attempt.status, attempt.error)
        series = self._kinds_of_attempts.get(key)
        if series is None:
            series = self._series_of_attempt(attempt, model)
        if attempt.place == 0:
            series.count.inc()
        if attempt.latency_ms > 0 and attempt.place == 0:
            series.seconds.observe(attempt.latency_ms / 1000)
        usage = attempt.usage
        if usage is not None:
            if usage.uncached_input_tokens > 0:
                series.uncached_input.inc(usage.uncached_input_tokens)
            if usage.cache_read_tokens > 0:
                series.cache_read.inc(usage.cache_read_tokens)
            if usage.cache_write_tokens > 0:
                series.cache_write.inc(usage.cache_write_tokens)
            if usage.output_tokens > 0:
                series.output.inc(usage.output_tokens)

    def _series_of(self, call: Call) -> CallSeries:
        """The series of a call of a kind that was not met before; kept only where its names are known ones."""
        task = call.task if call.task in self._tasks() else OTHER
        model = call.model if call.model in self._aliases else OTHER
        series = CallSeries(
            self._calls.labels(task, model, call.status, str(call.cached).lower()),
            self._cost.labels(task, model),
            self._unknown.labels(task, model),
            self._saved.labels(task, model),
            self._retries.labels(model),
            self._versions.labels(task, OTHER if task == OTHER else str(call.prompt_version), call.purpose),
            model,
        )
        if (task, model) == (call.task, call.model):
            key = (task, model, call.status, call.cached, call.prompt_version, call.purpose)
            self._kinds_of_calls[key] = series
        return series

    def _series_of_attempt(self, attempt: Attempt, model: str) -> AttemptSeries:
        deployment = attempt.deployment if attempt.deployment in self._alias_of else OTHER
        outcome = attempt.status if attempt.error is None else attempt.error
        series = AttemptSeries(
            self._attempts.labels(deployment, outcome),
            self._attempt_seconds.labels(deployment),
            self._tokens.labels(model, deployment, "uncached_input"),
            self._tokens.labels(model, deployment, "cache_read"),
            self._tokens.labels(model, deployment, "cache_write"),
            self._tokens.labels(model, deployment, "output"),
        )
        if deployment == attempt.deployment:
            self._kinds_of_attempts[model, deployment, attempt.status, attempt.error] = series
        return series
