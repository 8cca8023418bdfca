"""One more category in the text of a file, and nothing else of it touched."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.tasks.taxonomy import Category, read_bytes, taxonomy_in
from feedback_gateway.taxonomies.editing import with_category
from feedback_gateway.taxonomies.service import is_extended

SHAPES = {
    "built in": read_bytes(None).decode(),
    "names": "categories:\n- bug\n- other # rest\n",
    "no last line break": "# c\ncategories:\n  - bug\n  - question",
    "in brackets": "categories: [bug, other]  # x\n",
    "object": "categories:\n  bug: It fails. # why\n  praise:\n\n  other: rest\nteams: [a]\n",
    "object in braces": "{categories: {bug: it fails, other: null}}",
    "json": '{"categories": [{"name": "bug", "description": "x"}, "other"], "teams": ["a"]}',
    "brackets over lines": "categories: [\n  bug,\n  other, # trailing\n]\n",
    "blocks of text": (
        "categories:\n  - name: bug\n    description: |\n      one\n      two\n\n  - name: praise\n"
        "    description: >-\n      folded\n      text\n# tail comment\nteams:\n  - a\n"
    ),
    "windows": "categories:\r\n  - name: bug\r\n  - name: other\r\n",
    "subcategories in brackets": "categories:\n  - name: bug\n    subcategories: [UI]\n  - name: other\n",
    "subcategories": "categories:\n  - name: bug\n    subcategories:\n    - UI\n    - name: x\n\n  - name: other\n",
    "empty subcategories": "categories:\n  - name: bug\n    subcategories:\n    description: q\n  - name: other\n",
    "byte order mark": "\ufeffcategories:\n  - bug\n",
    "empty object": "categories:\n  bug:\n  other:\n",
    "comments": "categories:\n  - bug  # a\n  # before other\n  - other\n",
}  # fmt: skip
LINES = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs", "Cf", "Co", "Cn")), min_size=1, max_size=40
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parent", [None, "bug"])
@given(name=LINES, description=TEXTS)
def test_any_category_goes_into_any_shape(shape: str, parent: str | None, name: str, description: str) -> None:
    """The file says the same as before and has one category more, whatever it is called."""
    text = SHAPES[shape]
    category = Category(name=f"new {name}", description=description.strip())

    after = with_category(text, category, parent=parent)

    before, made = taxonomy_in(text.encode(), name=shape), taxonomy_in(after.encode(), name=shape)
    assert is_extended(before, made, category, parent=parent)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_line_stays_where_the_file_has_lines(shape: str) -> None:
    """Comments and layout are the author's."""
    text = SHAPES[shape]

    after = with_category(text, Category(name="dark mode"))

    if "[" not in text and "{" not in text:
        left = iter(after.splitlines())
        assert [line for line in text.splitlines() if line not in left] == []


def test_the_category_for_everything_else_stays_last() -> None:
    """With the empty lines between categories that the file has."""
    text = "categories:\n  - name: bug\n\n  - name: praise\n\n  # what is left\n  - name: other\n"

    after = with_category(text, Category(name="dark mode", description="Wishes: less light."))

    added = '\n  - name: dark mode\n    description: "Wishes: less light."\n'
    assert after == text.replace("  - name: praise\n", "  - name: praise\n" + added)


def test_a_numbered_version_is_counted_up() -> None:
    """A name is left alone: whoever gave it knows the next."""
    assert with_category("version: 9\ncategories: [bug]\n", Category(name="x")).startswith("version: 10\n")
    assert with_category("version: Q3\ncategories: [bug]\n", Category(name="x")).startswith("version: Q3\n")


@pytest.mark.parametrize("text", ["", "[]", "categories: bug", "a: 1", "categories: [", "categories: []\nx: &a 1"])
def test_what_is_no_taxonomy_is_refused_or_still_none(text: str) -> None:
    """Nothing is written into a file that holds something else."""
    with pytest.raises(ConfigurationError):
        taxonomy_in(with_category(text, Category(name="x"), parent="bug").encode(), name="file")


def test_is_extended_sees_every_other_change() -> None:
    """What else may have happened to a file is noticed before it is written."""
    before = taxonomy_in(SHAPES["built in"].encode(), name="file")
    category = Category(name="x")
    grown = replace(before, categories=(*before.categories, category))

    assert is_extended(before, grown, category, parent=None)
    assert not is_extended(before, before, category, parent=None)
    assert not is_extended(before, replace(grown, rules=()), category, parent=None)
    assert not is_extended(before, replace(grown, categories=grown.categories[1:]), category, parent=None)
    assert not is_extended(before, grown, category, parent="bug")
