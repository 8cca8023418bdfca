"""Parts add up to the whole, and what is set aside covers every part."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.ledger.sharing import covering, split, split_usd

WEIGHTS = st.lists(st.integers(1, 10**7), min_size=1, max_size=100)
MONEY = st.decimals(min_value=0, max_value=10**6, allow_nan=False, allow_infinity=False, places=15)


@given(total=st.integers(0, 10**9), weights=WEIGHTS)
def test_parts_of_tokens_add_up_and_none_is_a_token_off_its_quota(total: int, weights: list[int]) -> None:
    """Largest remainder."""
    parts = split(total, weights)

    assert sum(parts) == total
    assert all(
        abs(part * sum(weights) - total * weight) < sum(weights) for part, weight in zip(parts, weights, strict=True)
    )


@given(total=MONEY | st.sampled_from([Decimal("1E+2"), Decimal("0.3"), Decimal(7)]), weights=WEIGHTS)
def test_parts_of_money_add_up_to_the_last_digit(total: Decimal, weights: list[int]) -> None:
    """And none is below zero."""
    parts = split_usd(total, weights)

    assert sum(parts) == total
    assert min(parts) >= 0


@given(totals=st.lists(MONEY, min_size=1, max_size=4), less=MONEY, weights=WEIGHTS)
def test_what_is_set_aside_covers_each_part_of_anything_less(
    totals: list[Decimal], less: Decimal, weights: list[int]
) -> None:
    """Also of several amounts that are less together."""
    held = covering(sum(totals, less), weights)
    charged = [sum(parts) for parts in zip(*(split_usd(total, weights) for total in totals), strict=True)]

    assert all(part >= charge for part, charge in zip(held, charged, strict=True))
