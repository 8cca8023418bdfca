"""Which aliases a call may turn to, and in what order. Knows nothing of deployments' health or prices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from feedback_gateway.errors import ContentRefused, ContextTooLong

Aliases = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallbacks:
    """Alias → the aliases that are asked when it failed: in any way, on too long a context, on refused content."""

    general: Aliases = field(default_factory=dict)
    context: Aliases = field(default_factory=dict)
    content: Aliases = field(default_factory=dict)

    def after(self, error: str | None, *aliases: str) -> Sequence[str]:
        """The aliases for one kind of failure alone, of the first of `aliases` that has any."""
        special = {ContextTooLong.code: self.context, ContentRefused.code: self.content}.get(error or "", {})
        return next((special[alias] for alias in aliases if alias in special), ())

    def chain(self, alias: str, failed: Iterable[tuple[str, str | None]]) -> list[str]:
        """The aliases to ask, best first; `failed` are the alias and error of each attempt so far.

        What is configured for just that failure of an alias, or else of the alias that was asked for, comes first.
        """
        special = [target for name, error in failed for target in self.after(error, name, alias)]
        return list(dict.fromkeys([*reversed(special), alias, *self.general.get(alias, ())]))

    def reachable(self, alias: str) -> list[str]:
        """Every alias that may answer for `alias`, whatever fails."""
        found = [alias, *self.general.get(alias, ())]
        for name in found:
            targets = [*self.context.get(name, ()), *self.content.get(name, ())]
            found += [target for target in dict.fromkeys(targets) if target not in found]
        return found
