"""Parts of tokens and of money that add up to the whole, to the last token and the last digit. Pure arithmetic."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

FINEST = -12
"""The exponent of the smallest share in USD, where an amount is not finer itself."""
SLACK = Decimal("1e-9")
"""What each share of money set aside is rounded up to, so that it covers the share of any smaller amount."""


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of `total` in proportion to `weights`, by largest remainder (Hamilton); they add up to it."""
    whole = sum(weights)
    parts = [divmod(total * weight, whole) for weight in weights]
    left = total - sum(part for part, _ in parts)
    dearest = sorted(range(len(weights)), key=lambda place: (-parts[place][1], place))[:left]
    return [part + (place in dearest) for place, (part, _) in enumerate(parts)]


def split_usd(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """Parts of an amount that add up to it exactly, in units of 1e-12 USD or of its own last digit."""
    exponent = min(FINEST, int(total.as_tuple().exponent))
    units = int(Fraction(total) * 10**-exponent)
    return [Decimal(f"{part}E{exponent}") for part in split(units, weights)]


def covering(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """Parts of money to set aside, each at least the part that `split_usd` gives of `total` or of anything less."""
    whole = sum(weights)
    exact = [Fraction(total) * weight / whole / Fraction(SLACK) for weight in weights]
    return [Decimal(-(-part.numerator // part.denominator) + 1) * SLACK for part in exact]
