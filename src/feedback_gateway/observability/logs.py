"""The process's log: one event a line, as text or JSON, with the ids of the request that it belongs to."""

import json
import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, TextIO

from feedback_gateway.observability.models import Origin, ServedRequest

Format = Literal["text", "json"]
ROOT = "feedback_gateway"
LEVELS: Mapping[str, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
IDS = ("call_id", "trace_id", "client_call_id")

REQUEST: ContextVar[Mapping[str, Any] | None] = ContextVar("request", default=None)
"""The state of the request at hand, with its `call_id` and `origin`: for lines of the log, and for nothing else."""

requests = logging.getLogger(f"{ROOT}.requests")


class StampingFilter(logging.Filter):
    """Puts the request's ids on records, where they are made for one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        state = REQUEST.get()
        if state is not None:
            origin: Origin | None = state.get("origin")
            record.__dict__["call_id"] = state.get("call_id")
            if origin is not None:
                record.__dict__["trace_id"] = origin.trace.trace_id
                record.__dict__["client_call_id"] = origin.client_call_id
        return True


class TextFormatter(logging.Formatter):
    """For people: the program, the level, the time, the ids, the message."""

    def format(self, record: logging.LogRecord) -> str:
        """One event; a traceback follows on lines of its own."""
        ids = "".join(f" {name}={value}" for name, value in ids_of(record).items())
        text = f"feedback-gateway: {record.levelname}: {timestamp(record)}{ids} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """For machines: one JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        document: dict[str, Any] = {
            "time": timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **ids_of(record),
            **record.__dict__.get("fields", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


def configure_logging(stream: TextIO, *, style: Format, level: str) -> None:
    """Send the gateway's own log to `stream`, from `level` on; what libraries log may quote what a user wrote."""
    shown = logging.StreamHandler(stream)
    shown.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    shown.addFilter(StampingFilter())
    logger = logging.getLogger(ROOT)
    logger.handlers = [shown]
    logger.setLevel(LEVELS[level])
    logger.propagate = False


def log_request(request: ServedRequest) -> None:
    """One line about a request, with the template of its path: a path or a query may hold what users wrote."""
    if requests.isEnabledFor(logging.INFO):
        fields = {
            "method": request.method,
            "route": request.route,
            "status": request.status,
            "latency_ms": round(request.seconds * 1000, 3),
            "consumer": request.consumer,
        }
        said = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        requests.info("%s", said, extra={"fields": fields})


def ids_of(record: logging.LogRecord) -> dict[str, str]:
    """The ids that a record was stamped with."""
    return {name: record.__dict__[name] for name in IDS if record.__dict__.get(name) is not None}


def timestamp(record: logging.LogRecord) -> str:
    """When a record was made: RFC 3339 in UTC, to the millisecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"
