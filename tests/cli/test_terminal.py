"""What reaches a person's terminal is harmless and in its column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from feedback_gateway.cli.terminal import Column, fit, format_table, printable


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    """Whatever a user wrote."""
    assert all(character == " " or character.isprintable() for character in printable(text))


def test_escape_sequences_and_changes_of_direction_are_taken_apart() -> None:
    """Colours, titles, links and overrides."""
    assert printable("\x1b[31mred\x1b]0;title\x07 \u202etxt.exe\u2066\x9b1m") == "[31mred ]0;title txt.exe 1m"


def test_markup_is_text() -> None:
    """Square brackets mean nothing."""
    assert fit("[bold]x[/bold]", 20) == "[bold]x[/bold]" + " " * 6


@given(st.text(), st.integers(2, 40))
def test_a_cell_is_exactly_as_wide_as_its_column(text: str, width: int) -> None:
    """Wide characters count twice, and what is cut ends in an ellipsis."""
    assert cell_len(fit(text, width)) == width


def test_numbers_stand_at_the_right() -> None:
    """So that their digits can be compared."""
    table = format_table(["task", "calls"], [["a", "5"], ["bb", "12,345"]], right=["calls"])

    assert table.splitlines()[2:] == ["a          5", "bb    12,345"]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_is_cut_to_the_width_it_may_have(width: int) -> None:
    """The widest texts first, numbers never."""
    table = format_table(["name", "calls"], [["x" * 200, "1,234,567"]], right=["calls"], width=width)

    assert {cell_len(line) for line in table.splitlines()} == {width}
    assert table.endswith("1,234,567")


def test_a_negative_width_sets_flush_right() -> None:
    """And cuts at the same end."""
    assert fit("12", -4) == "  12"
    assert Column("n", -4).width == -4
