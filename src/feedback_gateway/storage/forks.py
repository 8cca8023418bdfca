"""What a forked child must not share with its parent: locks that nobody in it will open, and connections."""

import os
from collections.abc import Callable
from typing import TypeVar
from weakref import ref

from sqlalchemy import Engine, Pool

T = TypeVar("T")


def in_forked_children(owner: T, begin_anew: Callable[[T], None]) -> None:
    """Call `begin_anew(owner)` first of all in every child that this process forks, as long as `owner` lives."""
    reference = ref(owner)

    def call() -> None:
        if (found := reference()) is not None:
            begin_anew(found)

    os.register_at_fork(after_in_child=call)


def leave_connections_to_parents(engine: Engine) -> None:
    """Give forked children a pool of their own; what they inherit is neither used nor closed."""
    inherited: list[Pool] = []

    def begin_anew(engine: Engine) -> None:
        inherited.append(engine.pool)
        engine.dispose(close=False)

    in_forked_children(engine, begin_anew)
