"""Whether the process lives, and whether it can do its work."""

from fastapi import Request
from starlette.responses import JSONResponse, Response

from feedback_gateway.api.deps import DrainDep, Json, ServicesDep
from feedback_gateway.api.error_handlers import problem_response
from feedback_gateway.errors import Unavailable
from feedback_gateway.services import Services


async def live() -> Json:
    """The event loop turns."""
    return {"status": "live"}


async def ready(request: Request, services: ServicesDep, drain: DrainDep) -> Response:
    """Database and at least one usable deployment; a broken prompt file is a warning, its last good version serves."""
    checks = await checks_of(services)
    if drain.closed:
        checks["shutdown"] = "shutting down"
    failing = {name: state for name, state in checks.items() if state != "ok"}
    if failing:
        detail = "; ".join(f"{name}: {state}" for name, state in failing.items())
        return problem_response(Unavailable(detail, retry_after=5), call_id=request.state.call_id)
    return JSONResponse({"status": "ready", "checks": checks, "warnings": await warnings_of(services)})


async def checks_of(services: Services) -> dict[str, str]:
    """The state of each needed part: `ok`, or what is wrong in words."""
    trouble = services.books.writer.state.error or await services.books.probe.trouble()
    checks = {"database": trouble or "ok"}
    usable = [deployment for deployment in services.deployments if deployment.weight > 0]
    checks["deployments"] = "ok" if usable else "no deployment has a weight above 0"
    return checks


async def warnings_of(services: Services) -> list[str]:
    """What the operator should look at although requests are answered."""
    warnings = [f"the last good version serves in place of {broken}" for broken in services.registry.broken.values()]
    if services.redis is not None and (trouble := await services.redis.check()):
        warnings.append(trouble)
    return warnings + services.tasks.deprecations.warnings(serving_of(services), now=services.clock.now())


def serving_of(services: Services) -> dict[str, int]:
    """The version of each task that serves."""
    chosen = services.settings.tasks
    return {
        name: services.registry.get(name, chosen[name].version if name in chosen else None).version
        for name in services.registry.names()
    }
