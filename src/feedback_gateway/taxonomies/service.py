"""Proposals for new categories: made of what models suggest, decided by people, written into the taxonomy file."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from feedback_gateway.clock import Clock
from feedback_gateway.errors import ConfigurationError, Conflict, InvalidRequest, NotFound
from feedback_gateway.tasks.taxonomy import Category, Taxonomy, parse_taxonomy, read_bytes, taxonomy_in
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.tasks.taxonomy_reader import plain
from feedback_gateway.taxonomies.clustering import Likeness, cluster, form_of
from feedback_gateway.taxonomies.editing import as_entry, with_category
from feedback_gateway.taxonomies.files import replace_file
from feedback_gateway.taxonomies.models import Cluster, Decision, Proposal
from feedback_gateway.taxonomies.repository import TaxonomyRepository


class Write(Protocol):
    """Has a file hold `after` where it still holds `before`."""

    def __call__(self, path: Path, *, before: bytes, after: bytes) -> None:
        """Raises Conflict or ConfigurationError."""
        ...


COMES_BACK = 2
"""A rejected proposal is made again when so many times as many items ask for it."""
MOST_EXAMPLES = 5
MOST_EXAMPLE = 500
LOOKED_AT = 20
"""Items whose texts are read to find examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A category that is in the file now; `was_there` where somebody had written it before."""

    category: Category
    parent: str | None
    before: str
    version: str
    was_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a proposal is to be accepted as; what is None stays as it was proposed.

    `taxonomy_version` is that of the taxonomy that whoever decides has seen.
    """

    name: str | None = None
    description: str = ""
    parent: str | None = None
    taxonomy_version: str | None = None


class Taxonomies:
    """Proposals and decisions. Blocks: call it from a thread."""

    def __init__(
        self,
        repository: TaxonomyRepository,
        file: TaxonomyFile,
        clock: Clock,
        *,
        alike: Likeness | None = None,
        write: Write = replace_file,
    ) -> None:
        self._repository = repository
        self._file = file
        self._clock = clock
        self._alike = alike
        self._write = write

    def proposals(self, *, with_rejected: bool = False) -> list[Proposal]:
        """What is open, the best supported first; the same items give the same proposals, whenever they came."""
        found = self._standing(self._repository.decisions())
        wanted = [one for one in found if with_rejected or one.rejected_at is None]
        return [replace(one, examples=self._examples(one.cluster)) for one in wanted]

    def reject(self, proposal_id: str, *, by: str) -> Proposal:
        """Make a proposal no more, until its support has doubled. Raises NotFound."""
        found = self._find(proposal_id, self._repository.decisions())
        with self._repository.deciding() as desk:
            if rejected_at(found.cluster, desk.decisions()) is None:
                desk.decide(self._decision(found, by=by))
        return found

    def accept(self, proposal_id: str, wish: Wish, *, by: str) -> Accepted:
        """Write a proposed category into the file and note who wanted it; doing it twice does nothing twice.

        The file comes first: where this process dies in between, the category is in the file and accepting it again
        only notes so. Raises NotFound, Conflict where somebody decided or wrote otherwise meanwhile, InvalidRequest
        for a name that cannot be; a file that cannot be written is a Conflict too.
        """
        decisions = self._repository.decisions()
        is_new = accepted_before(proposal_id, decisions) is None
        found = self._find(proposal_id, decisions, with_taken=True) if is_new else None
        with self._repository.deciding() as desk:
            earlier = accepted_before(proposal_id, desk.decisions())
            content, taxonomy = self._read()
            if wish.taxonomy_version not in (None, taxonomy.version):
                raise Conflict(
                    f"the taxonomy is {taxonomy.version} by now, not {wish.taxonomy_version}; look at it again"
                )
            category, parent = wanted(wish, found, earlier)
            known = there(taxonomy, category.name, parent=parent)
            if known is None:
                after = self._written(content, taxonomy, category, parent=parent)
            else:
                category, after = known, taxonomy
            desk.keep(after, at=self._clock.now())
            if found is not None and earlier is None:
                decision = self._decision(found, by=by)
                desk.decide(
                    replace(
                        decision,
                        verdict="accepted",
                        category=category.name,
                        parent=parent,
                        taxonomy_version=after.version,
                    )
                )
        self._file.refresh()
        return Accepted(
            category=category,
            parent=parent,
            before=taxonomy.version,
            version=after.version,
            was_there=known is not None,
        )

    def _standing(self, decisions: Sequence[Decision], *, with_taken: bool = False) -> list[Proposal]:
        """Every proposal, also those that were rejected; none for what the taxonomy has, but for `with_taken`."""
        names = names_of(self._file.current)
        taken = {form_of(name) for name in names.values()}
        taken |= {form for one in decisions if plain(one.category or "") in names for form in one.forms}
        clusters = cluster(self._repository.suggestions(), alike=self._alike)
        return [
            Proposal(id=id_of(one.form), cluster=one, rejected_at=rejected_at(one, decisions))
            for one in clusters
            if with_taken or not one.forms & taken
        ]

    def _find(self, proposal_id: str, decisions: Sequence[Decision], *, with_taken: bool = False) -> Proposal:
        for proposal in self._standing(decisions, with_taken=with_taken):
            if proposal_id in {id_of(form) for form in proposal.cluster.forms}:
                return proposal
        raise NotFound(f"no proposal {proposal_id[:20]!r}; `feedback-gateway taxonomy proposals` lists what is open")

    def _read(self) -> tuple[bytes, Taxonomy]:
        if self._file.path is None:
            raise Conflict(
                "the built-in taxonomy is nobody's to change: save it with `feedback-gateway taxonomy show --built-in >"
                " taxonomy.yaml`, name that file in `taxonomy` of gateway.yaml, and accept again"
            )
        content = read_bytes(self._file.path)
        return content, taxonomy_in(content, name=str(self._file.path))

    def _written(self, content: bytes, taxonomy: Taxonomy, category: Category, *, parent: str | None) -> Taxonomy:
        """Write `category` into the file; the taxonomy that it holds then."""
        path = self._file.path or Path()
        by_hand = f"add {as_entry(category)} by hand{f' under {parent!r}' if parent else ''}, and accept again"
        try:
            after = with_category(content.decode("utf-8"), category, parent=parent).encode()
            made = taxonomy_in(after, name=str(path))
            if is_extended(taxonomy, made, category, parent=parent):
                self._write(path, before=content, after=after)
                return made
        except ConfigurationError as error:
            raise Conflict(f"{error.detail}; {by_hand}") from None
        raise Conflict(f"{path}: has a shape that cannot be written to; {by_hand}")

    def _decision(self, proposal: Proposal, *, by: str) -> Decision:
        return Decision(
            decision_id=self._clock.new_id(),
            proposal_id=proposal.id,
            verdict="rejected",
            forms=tuple(sorted(proposal.cluster.forms)),
            support=proposal.support,
            category=None,
            parent=None,
            taxonomy_version=None,
            by=by,
            at=self._clock.now(),
        )

    def _examples(self, one: Cluster) -> tuple[str, ...]:
        texts = self._repository.texts(sorted(one.items)[:LOOKED_AT])
        return tuple(sorted({text[:MOST_EXAMPLE] for text in texts if text}, key=readable)[:MOST_EXAMPLES])


def id_of(form: str) -> str:
    """The name of a proposal with this leading spelling."""
    return hashlib.sha256(form.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def accepted_before(proposal_id: str, decisions: Iterable[Decision]) -> Decision | None:
    """The decision that accepted a proposal, if somebody did and it is the last word."""
    about = [one for one in decisions if proposal_id in {id_of(form) for form in one.forms}]
    return about[-1] if about and about[-1].verdict == "accepted" else None


def rejected_at(one: Cluster, decisions: Iterable[Decision]) -> datetime | None:
    """When a cluster was rejected last, None where it was not, or where its support has doubled since."""
    about = [decision for decision in decisions if one.forms.intersection(decision.forms)]
    if not about or about[-1].verdict != "rejected" or len(one.items) >= COMES_BACK * about[-1].support:
        return None
    return about[-1].at


def names_of(taxonomy: Taxonomy) -> Mapping[str, str]:
    """Every category and subcategory by its plain name."""
    labels = [*taxonomy.categories, *(sub for one in taxonomy.categories for sub in one.subcategories)]
    return {plain(label.name): label.name for label in labels}


def wanted(wish: Wish, found: Proposal | None, earlier: Decision | None) -> tuple[Category, str | None]:
    """The category that is to be, and what it is to stand under. Raises Conflict or InvalidRequest."""
    if earlier is not None:
        name, parent = str(earlier.category), earlier.parent
        if plain(wish.name or name) != plain(name) or plain(wish.parent or parent or "") != plain(parent or ""):
            place = f" under {parent!r}" if parent else ""
            raise Conflict(f"{earlier.proposal_id} was accepted already, as {name!r}{place}, by {earlier.by}")
    else:
        name, parent = wish.name or (found.cluster.name if found else ""), wish.parent
    row = {"name": name, **({"description": wish.description} if wish.description else {})}
    try:
        return parse_taxonomy({"categories": [row]}).categories[0], parent
    except InvalidRequest as error:
        raise InvalidRequest(f"{error.problems[0].loc[-1]}: {error.problems[0].msg}") from None


def there(taxonomy: Taxonomy, name: str, *, parent: str | None) -> Category | None:
    """The category that is called so, where there is one. Raises InvalidRequest for an unknown parent."""
    labels = taxonomy.categories
    if parent is not None:
        owners = [one for one in taxonomy.categories if plain(one.name) == plain(parent)]
        if not owners:
            known = ", ".join(one.name for one in taxonomy.categories)
            raise InvalidRequest(f"parent: there is no category {parent[:100]!r}; there are: {known}")
        labels = owners[0].subcategories
    return next((one for one in labels if plain(one.name) == plain(name)), None)


def is_extended(before: Taxonomy, after: Taxonomy, category: Category, *, parent: str | None) -> bool:
    """Whether nothing has changed but that there is one more category."""
    rest = {"categories": (), "label": None}
    if replace(before, **rest) != replace(after, **rest):  # type: ignore[arg-type]
        return False
    if parent is None:
        return category in after.categories and before.categories == tuple(
            one for one in after.categories if one != category
        )
    grown = tuple(
        replace(one, subcategories=tuple(sub for sub in one.subcategories if sub != category))
        if plain(one.name) == plain(parent)
        else one
        for one in after.categories
    )
    return grown == before.categories and after.categories != before.categories


def readable(text: str) -> tuple[bool, int, str]:
    """Sorts texts of a sentence or a few first, then by length."""
    return not 20 <= len(text) <= 280, len(text), text  # noqa: PLR2004
