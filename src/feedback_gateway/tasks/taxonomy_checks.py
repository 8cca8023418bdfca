"""What is allowed in a taxonomy and yet most likely a mistake; what is not allowed, `taxonomy.py` refuses."""

import re
from collections.abc import Iterator

from feedback_gateway.tasks.taxonomy import Rule, Taxonomy
from feedback_gateway.tasks.taxonomy_reader import plain

SHORT = 4
"""Names of fewer characters are abbreviations that neither a model nor a new colleague knows."""
NO_LETTER = re.compile(r"[\W_]+")


def warnings_of(taxonomy: Taxonomy) -> Iterator[str]:
    """Each doubt about a taxonomy that can be used, as one line."""
    yield from short_names(taxonomy)
    yield from alike_names(taxonomy)
    yield from shadowing_names(taxonomy)
    yield from repeated_examples(taxonomy)
    yield from idle_rules(taxonomy)


def short_names(taxonomy: Taxonomy) -> Iterator[str]:
    """Abbreviations that nothing explains."""
    named = [
        *(("category", one.name, one.description) for one in taxonomy.categories),
        *(("subcategory", sub.name, sub.description) for one in taxonomy.categories for sub in one.subcategories),
        *(("team", one.name, one.description) for one in taxonomy.teams),
    ]
    for kind, name, description in named:
        if len(name) < SHORT and not description:
            yield f"{kind} {name!r}: a name under {SHORT} letters says little to a model; describe it"


def alike_names(taxonomy: Taxonomy) -> Iterator[str]:
    """Categories, or subcategories of one category, that differ in nothing but spaces, signs and a plural."""
    groups = [("category", [one.name for one in taxonomy.categories])]
    groups += [("subcategory", [sub.name for sub in one.subcategories]) for one in taxonomy.categories]
    for kind, names in groups:
        first: dict[str, str] = {}
        for name in names:
            other = first.setdefault(bare(name), name)
            if other != name:
                yield f"{kind} {name!r}: looks like {other!r}, and a model will take one for the other"


def shadowing_names(taxonomy: Taxonomy) -> Iterator[str]:
    """Subcategories that are called as a category is, or as one of another category."""
    categories = {plain(one.name): one.name for one in taxonomy.categories}
    owners: dict[str, str] = {}
    for category in taxonomy.categories:
        for sub in category.subcategories:
            if plain(sub.name) in categories:
                yield f"subcategory {sub.name!r} of {category.name!r}: shadows the category of that name"
            owner = owners.setdefault(plain(sub.name), category.name)
            if owner != category.name:
                yield (
                    f"subcategory {sub.name!r}: stands under {owner!r} and {category.name!r};"
                    " a rule that names it alone means both"
                )


def repeated_examples(taxonomy: Taxonomy) -> Iterator[str]:
    """Texts that stand as an example of two categories."""
    owners: dict[str, str] = {}
    for category in taxonomy.categories:
        for example in category.examples:
            owner = owners.setdefault(plain(example), category.name)
            if owner != category.name:
                yield f"category {category.name!r}: its example {example[:60]!r} stands under {owner!r} too"


def idle_rules(taxonomy: Taxonomy) -> Iterator[str]:
    """Rules that no item can reach: of a subcategory that its category has not, or behind a broader rule."""
    subcategories = {one.name: {sub.name for sub in one.subcategories} for one in taxonomy.categories}
    for place, rule in enumerate(taxonomy.rules):
        parents, wanted = rule.when.get("category"), rule.when.get("subcategory")
        if parents and wanted and not any(subcategories[parent] & set(wanted) for parent in parents):
            yield f"rule {rule.name!r}: can never match; {' or '.join(wanted)} is not under {' or '.join(parents)}"
        for earlier in taxonomy.rules[:place]:
            if is_covered(rule, by=earlier):
                yield f"rule {rule.name!r}: can never match; {earlier.name!r} before it takes all that it would"
                break


def is_covered(rule: Rule, *, by: Rule) -> bool:
    """Whether `by` matches all that `rule` does."""
    return all(key in rule.when and set(rule.when[key]) <= set(values) for key, values in by.when.items())


def bare(name: str) -> str:
    """A name without spaces, signs and a plural's s."""
    letters = NO_LETTER.sub("", plain(name))
    return letters.removesuffix("s") if len(letters) > SHORT else letters
