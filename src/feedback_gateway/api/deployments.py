"""`/v1/admin/deployments`: who may be asked, who is left alone and why. Says nothing of keys and addresses."""

from feedback_gateway.api.deps import Json, ServicesDep
from feedback_gateway.api.rendering import moment
from feedback_gateway.llm.health_watch import Report


async def list_deployments(services: ServicesDep) -> Json:
    """Deployments and their health.

    With a Redis the state is that of all processes; figures are always those of the process that answers.
    """
    await services.health.look()
    return {"data": [report_json(report) for report in services.health.reports()], "next_cursor": None}


def report_json(report: Report) -> Json:
    """One deployment; times are of its latest 128 good answers, `share` is of its alias's attempts of five minutes."""
    until = report.cooling_down_until
    return {
        "name": report.name,
        "alias": report.alias,
        "model": report.model,
        "state": report.state,
        "cooling_down_until": None if until is None else moment(until),
        "reason": report.reason,
        "latency": {"p50_ms": report.p50_ms, "p95_ms": report.p95_ms},
        "share": report.share,
        "in_flight": report.in_flight,
        "attempts": report.attempts,
        "failures": report.failures,
        "cooldowns": report.cooldowns,
    }
