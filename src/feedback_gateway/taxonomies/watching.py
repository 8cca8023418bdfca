"""Has a process work with the taxonomy as its file says it, and keeps each version that serves."""

import asyncio
import logging

from feedback_gateway.calls.retention import to_its_end
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.taxonomies.repository import TaxonomyRepository

logger = logging.getLogger(__name__)

REFRESH_S = 1.0


async def watch_taxonomy(file: TaxonomyFile, repository: TaxonomyRepository, clock: Clock) -> None:
    """Keep what serves now, then look every second whether the file was changed, for ever."""
    kept: str | None = None
    while True:
        if file.current.version != kept:
            kept = await keep(repository, file, clock)
        await clock.sleep(REFRESH_S)
        if await asyncio.to_thread(file.refresh):
            if file.broken:
                logger.warning("the last good version of the taxonomy goes on serving: %s", file.broken)
            else:
                logger.info("the taxonomy is %s now", file.current.version)


async def keep(repository: TaxonomyRepository, file: TaxonomyFile, clock: Clock) -> str | None:
    """Store what serves; its version, None where the database cannot be written now."""
    taxonomy = file.current

    def store() -> int:
        repository.keep(taxonomy, at=clock.now())
        return 1

    try:
        await to_its_end(store)
    except GatewayError as error:
        logger.debug("the taxonomy's version is not kept yet: %s", error.detail)
        return None
    return taxonomy.version
