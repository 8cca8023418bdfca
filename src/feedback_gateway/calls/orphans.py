"""Looks, now and then, for calls whose process died, and has them settled."""

import logging
from collections.abc import Callable

from feedback_gateway.calls.retention import to_its_end
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError

logger = logging.getLogger(__name__)

PAUSE_S = 2.0


async def watch_orphans(settle: Callable[[], int], clock: Clock) -> None:
    """Call `settle`, which blocks, at once and then every PAUSE_S seconds, for ever; a sick database is asked again."""
    while True:
        try:
            if settled := await to_its_end(settle):
                logger.warning("%d calls of a process that died were charged in full", settled)
        except GatewayError as error:
            logger.debug("orphans wait: %s", error.detail)
        await clock.sleep(PAUSE_S)
