"""What was made of objects that calls share, found again by the objects themselves, not by what they hold."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """The last `most` values, each made of objects that nobody changes; comparing what they hold would cost too much.

    It keeps those objects, so that no other can take the place of one. Safe in threads.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._known: dict[tuple[int, ...], tuple[tuple[object, ...], T]] = {}

    def find(self, *objects: object) -> T | None:
        """What was made of these very objects, None where nothing is known of them."""
        found = self._known.get(tuple(map(id, objects)))
        return None if found is None else found[1]

    def keep(self, value: T, *objects: object) -> T:
        """Remember `value`, and give it."""
        while len(self._known) >= self._most:
            self._known.pop(next(iter(self._known)), None)
        self._known[tuple(map(id, objects))] = (objects, value)
        return value
