"""Money as text. Pure."""

from decimal import Decimal


def format_usd(value: Decimal) -> str:
    """A plain decimal string: no exponent, no trailing zeros, `"0"` for nothing."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
