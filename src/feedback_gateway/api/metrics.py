"""`GET /metrics`: what Prometheus asks for. It holds no text, key or name of a consumer, and needs no key."""

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from feedback_gateway.api.deps import ServicesDep


async def read_metrics(request: Request, services: ServicesDep) -> Response:
    """Every series of all processes of this server, as Prometheus's text or as OpenMetrics."""
    registry = services.watch.registry
    registry.refresh()
    text, media_type = await run_in_threadpool(registry.expose, request.headers.get("accept", ""))
    return Response(text, headers={"content-type": media_type})
