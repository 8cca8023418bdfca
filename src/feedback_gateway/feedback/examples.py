"""Reads what people corrected, for the examples of this process, and goes on looking for more."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, func, select

from feedback_gateway.calls.retention import to_its_end
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError
from feedback_gateway.feedback.tables import corrections, feedback_items
from feedback_gateway.storage.engine import reading, storage_errors
from feedback_gateway.tasks.examples import Corrected, ExampleBook
from feedback_gateway.tasks.twins import normal

logger = logging.getLogger(__name__)

REFRESH_S = 2.0
"""How often is looked: a model that learns does so once for all corrections of that time."""
MOST_CORRECTIONS = 5_000
MOST_CHARS = 1_000
"""What is kept of one text: its beginning."""
LOOKED_AT = 100
"""Newest ids that tell whether there is something new, also where a slower writer was overtaken."""

Seen = tuple[str, ...]


class CorrectionReader:
    """The newest corrections of all consumers. Blocks. Raises ConfigurationError or Unavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest_ids(self) -> Seen:
        """What changes when somebody corrects something."""
        query = select(corrections.c.correction_id).order_by(corrections.c.correction_id.desc()).limit(LOOKED_AT)
        with storage_errors(self._engine), reading(self._engine) as connection:
            return tuple(connection.scalars(query))

    def newest(self, most: int = MOST_CORRECTIONS) -> list[Corrected]:
        """The texts of the newest `most` corrections with people's last word for each field, the newest first."""
        text = func.substr(feedback_items.c.text, 1, MOST_CHARS).label("text")
        query = select(corrections, feedback_items.c.consumer, text).join_from(corrections, feedback_items)
        query = query.order_by(corrections.c.correction_id.desc()).limit(most)
        with storage_errors(self._engine), reading(self._engine) as connection:
            return last_words(connection.execute(query).mappings().all())


def last_words(rows: Iterable[Mapping[Any, Any]]) -> list[Corrected]:
    """One for each text of a consumer, however it is written, the newest first: for each field what was said last."""
    texts: dict[tuple[str, str], str] = {}
    labels: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["at"], row["correction_id"]), reverse=True):
        key = (row["consumer"], normal(row["text"]))
        texts.setdefault(key, row["text"])
        labels.setdefault(key, {}).setdefault(row["field"], row["value"])
    return [Corrected(consumer=key[0], text=text, labels=labels[key]) for key, text in texts.items()]


async def watch_corrections(reader: CorrectionReader, book: ExampleBook, clock: Clock) -> None:
    """Tell `book` of every correction by any process within seconds, for ever."""
    seen: list[Seen] = []

    def look() -> int:
        ids = reader.newest_ids()
        if seen != [ids]:
            book.replace(reader.newest())
            seen[:] = [ids]
        return 1

    while True:
        try:
            await to_its_end(look)
        except GatewayError as error:
            logger.debug("corrections are not read now: %s", error.detail)
        await clock.sleep(REFRESH_S)
