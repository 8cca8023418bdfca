"""What of a call's texts is kept, and in which form. Runs in the log's thread.

A fault in here costs a call its texts, never its row, which says what it was charged.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Literal

from feedback_gateway.calls.models import Call, Payload
from feedback_gateway.redaction.redactor import Redactor

logger = logging.getLogger(__name__)

Payloads = Literal["redacted", "none", "full"]


def payloads_kept(kept: Payloads, redactor: Redactor) -> Callable[[Call], Payload | None]:
    """A function from a finished call to what the log keeps of its texts."""

    def in_full(call: Call) -> Payload | None:
        return None if call.inputs is None else payload_of(call.inputs, call.result)

    def redacted(call: Call) -> Payload | None:
        if call.inputs is None:
            return None
        texts = redactor.session().mask({"inputs": call.inputs, "result": call.result})
        return payload_of(texts["inputs"], texts["result"])

    def nothing(_: Call) -> Payload | None:
        return None

    kept_of = {"redacted": redacted, "none": nothing, "full": in_full}[kept]

    def kept_once(call: Call) -> Payload | None:
        if call.texts is None:
            return kept_of(call)
        if call.texts.payload is None:
            call.texts.payload = kept_of(call)
        return call.texts.payload

    def kept_or_nothing(call: Call) -> Payload | None:
        try:
            return kept_once(call)
        except Exception as fault:  # noqa: BLE001 see the module's docstring
            frames = "".join(traceback.format_tb(fault.__traceback__))  # not its message: it may quote the text
            name = type(fault).__name__
            logger.error("call %s is logged without its texts: %s\n%s", call.call_id, name, frames)  # noqa: TRY400
            return None

    return kept_or_nothing


def payload_of(inputs: Mapping[str, Any], result: Mapping[str, Any] | None) -> Payload:
    """Both as text."""
    return Payload(text_of(inputs), None if result is None else text_of(result))


def text_of(value: Mapping[str, Any]) -> str:
    """JSON that every database holds and a person can read; what is no Unicode text is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
