"""Puts together suggested categories that mean the same.

Pure: the same suggestions give the same clusters, in whichever order they come.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

from feedback_gateway.taxonomies.models import Cluster, Suggestion

Likeness = Callable[[Sequence[str]], "npt.NDArray[np.bool_]"]
"""Which of these names mean the same, by a model: a row and a column each; it must not depend on their order."""

MOST_FORMS = 2_000
"""Spellings that are compared, the best supported ones: each is compared with every cluster before it."""
MOST_NAME = 100
ALIKE = 90.0
"""Per cent of letters that two spellings share, words in any order."""
TAG = re.compile(r"<[^<>]*>")
NO_WORD = re.compile(r"[\W_]+")
DIGITS = re.compile(r"\d+")
BEFORE = re.compile(r"^[\W_]+")
AFTER = re.compile(r"[^\w)\]+#%]+$|_+$")
SHORTEST_PLURAL = 3


@dataclass(slots=True)
class Spelling:
    """All suggestions of one normalised form; `names` has the items of each way to write it."""

    form: str
    names: dict[str, set[str]] = field(default_factory=dict)
    people: set[str] = field(default_factory=set)

    @property
    def items(self) -> frozenset[str]:
        """The items that it was suggested for."""
        return frozenset().union(*self.names.values())


def clean_name(text: str) -> str | None:
    """A suggestion as a name of one line, without markup or what a spreadsheet would execute; None where none is left.

    More than 100 characters are no name, but a model that rambled.
    """
    if len(text) > MOST_NAME * 2:
        return None
    text = TAG.sub(" ", unicodedata.normalize("NFC", text))
    shown = "".join(character if character.isprintable() else " " for character in text)
    name = AFTER.sub("", BEFORE.sub("", " ".join(shown.split())))
    return name if name and len(name) <= MOST_NAME and form_of(name) else None


def form_of(name: str) -> str:
    """What is the same for names that differ in case, signs, order of words or a plural."""
    words = NO_WORD.sub(" ", unicodedata.normalize("NFKC", name).casefold()).split()
    return " ".join(sorted(singular(word) for word in words))


def singular(word: str) -> str:
    """A word without a plural's s, where it is long enough to have one."""
    return word[:-1] if len(word) > SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss") else word


def cluster(suggestions: Iterable[Suggestion], *, alike: Likeness | None = None) -> list[Cluster]:
    """The clusters, those that most items ask for first.

    The spelling that most items have leads; each further one joins the leader that it is most like, or leads itself.
    So nothing is chained together that is not like the same leader.
    """
    spellings = sorted(spellings_of(suggestions).values(), key=lambda one: (-len(one.items), one.form))[:MOST_FORMS]
    table = alike([leading_name(one.names).casefold() for one in spellings]) if alike and spellings else None
    leads: dict[str, list[int]] = {}  # by their numbers: "version 1" and "version 2" are never alike
    members: dict[int, list[Spelling]] = {}
    for place, spelling in enumerate(spellings):
        rivals = leads.setdefault(" ".join(DIGITS.findall(spelling.form)), [])
        home = nearest(spelling.form, [spellings[rival].form for rival in rivals])
        if home is None and table is not None:
            home = next((index for index, rival in enumerate(rivals) if table[place][rival]), None)
        if home is None:
            rivals.append(place)
            members[place] = [spelling]
        else:
            members[rivals[home]].append(spelling)
    return sorted((merged(group) for group in members.values()), key=lambda one: (-len(one.items), one.form))


def spellings_of(suggestions: Iterable[Suggestion]) -> Mapping[str, Spelling]:
    """Suggestions by their normalised form; what is no name is left out."""
    found: dict[str, Spelling] = {}
    for suggestion in suggestions:
        if (name := clean_name(suggestion.name)) is None:
            continue
        spelling = found.setdefault(form_of(name), Spelling(form_of(name)))
        spelling.names.setdefault(name, set()).add(suggestion.item)
        if suggestion.person is not None:
            spelling.people.add(suggestion.person)
    return found


def nearest(form: str, others: Sequence[str]) -> int | None:
    """Which of the others shares most letters with a form, and enough of them; spaces make no difference."""
    from rapidfuzz import fuzz, process  # noqa: PLC0415 who proposes nothing need not load it

    best: tuple[float, int] | None = None
    for query, choices in ((form, others), (form.replace(" ", ""), [one.replace(" ", "") for one in others])):
        found = process.extractOne(query, choices, scorer=fuzz.ratio, score_cutoff=ALIKE)
        if found is not None and (best is None or (-found[1], found[2]) < best):
            best = (-found[1], found[2])
    return None if best is None else best[1]


def merged(members: Sequence[Spelling]) -> Cluster:
    """One cluster of spellings; the first of them leads."""
    names: dict[str, set[str]] = {}
    for member in members:
        for name, items in member.names.items():
            names.setdefault(name, set()).update(items)
    return Cluster(
        form=members[0].form,
        forms=frozenset(member.form for member in members),
        name=leading_name(members[0].names),
        names=tuple(sorted(names, key=lambda name: (-len(names[name]), name.swapcase()))),
        items=frozenset().union(*names.values()),
        people=frozenset(person for member in members for person in member.people),
    )


def leading_name(names: Mapping[str, set[str]]) -> str:
    """What most items call it; of several, the first in the order of letters, small ones first."""
    return min(names, key=lambda name: (-len(names[name]), name.swapcase()))
