"""How many items go into one model call: what fits, and what has gone well lately. In this process only."""

from dataclasses import dataclass

GROW_AFTER = 8
"""Packs in a row without a flaw before one more item is tried."""
SMOOTHING = 0.2
MOST_FAILING = 0.2
"""The share of items from which on packs are too large."""
MOST_KNOWN = 1_000
MOST_TEXT_TOKENS = 6_000
"""Of the items of one pack, all together: models lose track of longer ones."""


@dataclass(frozen=True, slots=True)
class Window:
    """What the models of an alias take and give at most, in tokens; None where nobody says."""

    input_tokens: int | None
    output_tokens: int | None

    def most_items(self, *, batch: int, max_tokens: int) -> int:
        """How many answers of `max_tokens` there is room for, `batch` at most."""
        return batch if self.output_tokens is None else max(1, min(batch, self.output_tokens // max_tokens))

    def most_text(self, *, shared: int) -> int:
        """Tokens of items for which there is room beside `shared` ones; half of the window is left for the answers."""
        return MOST_TEXT_TOKENS if self.input_tokens is None else min(MOST_TEXT_TOKENS, self.input_tokens // 2 - shared)


@dataclass(slots=True)
class Trend:
    """The size that is tried now, how many packs have gone well since it changed, and the share of items that did not.

    The share is smoothed over the packs since the size changed.
    """

    size: int
    clean: int = 0
    failing: float = 0.0


class PackSizes:
    """Halves the size for a prompt and an alias where too many items fail, and lets it grow by one after eight packs.

    An item that is asked again costs little, so a few do not make packs smaller; one that fails as a whole does.
    """

    def __init__(self) -> None:
        self._trends: dict[tuple[str, str], Trend] = {}

    def size(self, prompt: str, alias: str, *, most: int) -> int:
        """How many items to try together, from 1 to `most`."""
        return min(self._trend(prompt, alias, most).size, most)

    def note(self, prompt: str, alias: str, *, most: int, asked: int, failed: int) -> None:
        """A call for `asked` items came back without a usable answer for `failed` of them.

        An item by itself that fails says nothing of packs.
        """
        trend = self._trend(prompt, alias, most)
        if asked == 1 and (failed or trend.size > 1):
            return
        share = failed / asked
        trend.failing += SMOOTHING * (share - trend.failing)
        trend.clean += share <= MOST_FAILING
        if share == 1 or trend.failing > MOST_FAILING:
            self._trends[prompt, alias] = Trend(max(1, min(trend.size, asked) // 2))
        elif trend.clean >= GROW_AFTER:
            self._trends[prompt, alias] = Trend(min(trend.size + 1, most), failing=trend.failing)

    def _trend(self, prompt: str, alias: str, most: int) -> Trend:
        if (prompt, alias) not in self._trends:
            while len(self._trends) >= MOST_KNOWN:
                self._trends.pop(next(iter(self._trends)))
            self._trends[prompt, alias] = Trend(most)
        return self._trends[prompt, alias]
