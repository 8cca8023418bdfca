"""The composition root: builds every long-lived object from the settings and closes them in reverse."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from feedback_gateway.background import start
from feedback_gateway.books import Books, open_books
from feedback_gateway.cache.opening import store_over
from feedback_gateway.clock import Clock, SystemClock
from feedback_gateway.consumers.admission import Admission
from feedback_gateway.deployments import deployments_of, windows_of
from feedback_gateway.errors import ConfigurationError, InvalidRequest
from feedback_gateway.feedback.examples import watch_corrections
from feedback_gateway.jobs.analysis import Analyst
from feedback_gateway.jobs.service import Jobs
from feedback_gateway.llm.caching import AnswerCache
from feedback_gateway.llm.embedded_client import names_alike, sentence_vectors
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.models import CompletionClient, Deployment, ForwardClient, Provider
from feedback_gateway.llm.opening import fallbacks_of, stack_of
from feedback_gateway.llm.providers import Providers
from feedback_gateway.observability.watching import Watch, open_watch
from feedback_gateway.passthrough.service import Passthrough
from feedback_gateway.prompts.fencing import Fences
from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.ratelimits.counting import CountingLimiter
from feedback_gateway.ratelimits.models import RateLimiter
from feedback_gateway.ratelimits.opening import rate_limiter_over
from feedback_gateway.redis_link.opening import open_redis_link
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.calibration import Calibrations, load_calibrations
from feedback_gateway.tasks.models import Preference
from feedback_gateway.tasks.opening import deprecations_of, examples_of, open_shadows, rollouts_of
from feedback_gateway.tasks.packing import Packing
from feedback_gateway.tasks.registry import TaskRegistry
from feedback_gateway.tasks.repeats import Repeats
from feedback_gateway.tasks.service import Limits, TaskService
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.taxonomies.pricing import price_of
from feedback_gateway.taxonomies.retagging import Retagging
from feedback_gateway.taxonomies.service import Taxonomies
from feedback_gateway.taxonomies.watching import watch_taxonomy

if TYPE_CHECKING:
    from feedback_gateway.redis_link.link import RedisLink

ProviderFactory = Callable[[Deployment], Provider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that lives as long as the process."""

    settings: Settings
    clock: Clock
    registry: TaskRegistry
    taxonomy: TaxonomyFile
    deployments: tuple[Deployment, ...]
    health: HealthWatch
    books: Books
    redis: "RedisLink | None"
    rate_limiter: RateLimiter
    cache: AnswerCache
    tasks: TaskService
    passthrough: Passthrough
    watch: Watch
    repeats: Repeats
    jobs: Jobs
    """Does nothing until its `run` is awaited."""
    warm_up: Callable[[], Coroutine[Any, Any, None]]
    """Loads what the first request would otherwise wait for; it needs to be awaited by nobody."""

    @property
    def library(self) -> PromptLibrary:
        """The prompt files."""
        return self.registry.library

    @property
    def taxonomies(self) -> Taxonomies:
        """Proposals to the taxonomy, and what people decide."""
        return Taxonomies(self.books.taxonomies, self.taxonomy, self.clock, alike=names_alike)

    @property
    def retagging(self) -> Retagging:
        """What sorts stored feedback again."""
        price = price_of(self.tasks, self.deployments, fallbacks_of(self.settings))
        return Retagging(self.books.taxonomies, self.taxonomy, self.clock, price=price)


@asynccontextmanager
async def open_services(
    settings: Settings, *, clock: Clock | None = None, provider: ProviderFactory | None = None
) -> AsyncIterator[Services]:
    """Open everything, and on exit finish what is in flight, write it down and close.

    `provider` replaces the clients of all deployments for tasks. Raises ConfigurationError for whatever cannot work.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        registry, taxonomy = TaskRegistry(PromptLibrary.load(prompt_folders(settings))), TaxonomyFile(settings.taxonomy)
        deployments = deployments_of(settings)
        watch = await stack.enter_async_context(open_watch(settings, deployments, tasks=registry.names, clock=clock))
        redis = await stack.enter_async_context(open_redis_link(redis_url_of(settings), clock=clock))
        limiter = CountingLimiter(rate_limiter_over(redis, clock=clock), watch.metrics.observe_refusal)
        books = open_books(settings, stack, observer=watch, clock=clock)
        start(stack, watch_taxonomy(taxonomy, books.taxonomies, clock), name="taxonomy")
        providers, cache = Providers(stack, clock=clock), cache_of(settings, redis, clock=clock)
        wrappers = stack_of(settings, deployments, redis, purse=books.purse, limiter=limiter, cache=cache, clock=clock)
        watch.read(books, health=wrappers.health, cache=cache, redis=redis)
        admission = Admission(limiter, now=clock.monotonic, refused=watch.metrics.observe_refusal)
        forward = wrappers.forward(providers.forwarder)
        tasks = tasks_of(
            settings,
            deployments,
            stack,
            registry=registry,
            client=wrappers.tasks(provider or providers.client),
            books=books,
            admission=admission,
            taxonomy=taxonomy,
            clock=clock,
        )
        yield Services(
            settings=settings,
            clock=clock,
            registry=registry,
            taxonomy=taxonomy,
            deployments=deployments,
            health=wrappers.health,
            books=books,
            redis=redis,
            rate_limiter=limiter,
            watch=watch,
            cache=cache,
            tasks=tasks,
            passthrough=passthrough_of(settings, deployments, client=forward, books=books, admission=admission),
            repeats=repeats_of(settings, cache, tasks, registry=registry, taxonomy=taxonomy, books=books),
            jobs=jobs_of(settings, tasks, books, registry=registry, clock=clock),
            warm_up=providers.warm_up,
        )


def tasks_of(
    settings: Settings,
    deployments: Sequence[Deployment],
    stack: AsyncExitStack,
    *,
    registry: TaskRegistry,
    client: CompletionClient,
    books: Books,
    admission: Admission,
    taxonomy: TaxonomyFile,
    clock: Clock,
) -> TaskService:
    """What runs tasks; `stack` ends what runs beside them."""
    new_fence = Fences()
    examples = examples_of(settings, deployments, embed=sentence_vectors)
    if examples.is_used:
        start(stack, watch_corrections(books.corrected, examples, clock), name="examples")
    return TaskService(
        registry=registry,
        client=client,
        recorder=books.recorder,
        admission=admission,
        redactor=books.redactor if settings.redaction.before_provider else None,
        taxonomy=taxonomy,
        examples=examples,
        preferences=preferences_of(settings, registry),
        rollouts=rollouts_of(settings, registry),
        shadows=open_shadows(settings, stack),
        deprecations=deprecations_of(settings),
        aliases=aliases_of(deployments),
        limits=Limits(text_chars=settings.limits.text_chars, concurrency=settings.limits.concurrency),
        clock=clock,
        new_fence=new_fence,
        packing=Packing(
            windows=windows_of(deployments),
            new_fence=new_fence,
            clock=clock,
            random=Random(),  # noqa: S311 an order, no secret
        ),
    )


def jobs_of(settings: Settings, tasks: TaskService, books: Books, *, registry: TaskRegistry, clock: Clock) -> Jobs:
    """What analyses stored feedback. Raises ConfigurationError for a task that no prompt file gives."""
    if settings.feedback.task not in registry.names():
        known = ", ".join(registry.names())
        raise ConfigurationError(f"feedback.task: there is no such prompt; there are: {known}")
    analyst = Analyst(tasks, books.runs, books.consumers)
    return Jobs(
        analyst,
        books.runs,
        books.liveness,
        database_url=settings.database_url,
        batch=settings.feedback.batch,
        concurrency=settings.feedback.concurrency,
        clock=clock,
    )


def redis_url_of(settings: Settings) -> str | None:
    """Where Redis is, its password included."""
    return None if settings.redis_url is None else settings.redis_url.get_secret_value()


def aliases_of(deployments: Iterable[Deployment]) -> list[str]:
    """Every alias once, in the order of the configuration."""
    return list(dict.fromkeys(deployment.alias for deployment in deployments))


def cache_of(settings: Settings, link: "RedisLink | None", *, clock: Clock) -> AnswerCache:
    """The cache of answers, in Redis where there is a link to one; it keeps nothing where it is turned off.

    Half of its bytes are for answers, the other for the bodies that they answer.
    """
    kept = settings.cache
    store, leases = store_over(link, max_bytes=kept.max_bytes // 2, max_entries=kept.max_entries, clock=clock)
    ttl_s = kept.ttl.total_seconds() if kept.max_entries else 0.0
    return AnswerCache(store, leases=leases, ttl_s=ttl_s, scope=kept.scope, clock=clock)


def repeats_of(
    settings: Settings,
    cache: AnswerCache,
    tasks: TaskService,
    *,
    registry: TaskRegistry,
    taxonomy: TaxonomyFile,
    books: Books,
) -> Repeats:
    """The bodies that are known by their bytes."""
    return Repeats(
        cache=cache,
        registry=registry,
        taxonomy=taxonomy,
        examples=tasks.examples,
        admission=tasks.admission,
        recorder=books.recorder,
        max_bytes=settings.cache.max_bytes // 2,
        max_entries=settings.cache.max_entries,
    )


def passthrough_of(
    settings: Settings,
    deployments: Sequence[Deployment],
    *,
    client: ForwardClient,
    books: Books,
    admission: Admission,
) -> Passthrough:
    """What passes requests on."""
    return Passthrough(
        client=client,
        recorder=books.recorder,
        admission=admission,
        deployments=deployments,
        fallbacks=fallbacks_of(settings),
        redactor=books.redactor if settings.redaction.before_provider else None,
    )


def prompt_folders(settings: Settings) -> list[Path]:
    """The built-in prompts and the folder for the operator's own, which may come into being later."""
    package = Path(__file__).parent
    bundled = package / "bundled_prompts"
    if not bundled.exists():  # an editable installation: the prompts are where they are edited
        bundled = package.parents[1] / "prompts"
    own = settings.prompts
    return [bundled] if own.resolve() == bundled.resolve() else [bundled, own]


def preferences_of(settings: Settings, registry: TaskRegistry) -> dict[str, Preference]:
    """What `tasks` sets. Raises ConfigurationError for a task or version that no prompt file gives."""
    for name, task in settings.tasks.items():
        if name not in registry.names():
            known = ", ".join(registry.names())
            raise ConfigurationError(f"tasks.{name}: there is no such prompt; there are: {known}")
        if task.version is not None:
            try:
                registry.get(name, task.version)
            except InvalidRequest as error:
                raise ConfigurationError(f"tasks.{name}.version: {error.detail}") from None
    return {
        name: Preference(
            model=task.model,
            version=task.version,
            review_below=task.review_below,
            calibrations=Calibrations(load_calibrations(task.calibration).calibrations if task.calibration else ()),
        )
        for name, task in settings.tasks.items()
    }
