"""Proposals from what is stored, and what becomes of them when a person decides."""

import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import Conflict, InvalidRequest, NotFound
from feedback_gateway.tasks.taxonomy import load_taxonomy
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.taxonomies.clustering import form_of
from feedback_gateway.taxonomies.files import replace_file
from feedback_gateway.taxonomies.repository import TaxonomyRepository
from feedback_gateway.taxonomies.service import Taxonomies, Wish, id_of
from tests.taxonomies.conftest import TAXONOMY, History

DARK = id_of(form_of("dark mode"))
AS_PROPOSED = Wish()


def names(taxonomies: Taxonomies) -> list[tuple[str, int]]:
    """What is proposed, and by how many items."""
    return [(one.cluster.name, one.support) for one in taxonomies.proposals()]


def test_items_and_people_are_counted_once(history: History, taxonomies: Taxonomies) -> None:
    """However often an item was analysed or a text was sent, and whatever became of it since."""
    first = history.analysed("Night theme please.", suggested="dark mode", author="ann")
    history.analysed_again(first, "Dark Mode")
    history.analysed("All black, please.", suggested="dark modes", author="ann")
    history.analysed("Less light.", suggested="dark mode", author="bob")
    history.called("Send me the  DARK one", "darkmode")
    history.called("send me the dark one", "darkmode")
    history.called("Where is my parcel?", "delivery")
    settled = history.analysed("Crash.", suggested="crashes")
    history.analysed_again(settled, None, category="bug")

    found = taxonomies.proposals()

    assert [(one.cluster.name, one.support, len(one.cluster.people)) for one in found] == [
        ("dark mode", 4, 2), ("delivery", 1, 0),
    ]  # fmt: skip
    assert {"Night theme please.", "All black, please.", "Less light."} < set(found[0].examples)
    assert len(found[0].examples) == 4


def test_a_call_that_analysed_an_item_is_no_second_one(history: History, taxonomies: Taxonomies) -> None:
    """The item counts, not the call that was made for it."""
    item_id = history.analysed("Night theme please.", suggested="dark mode")
    call_id = history.feedback.get(item_id).analyses[0].call_id
    history.called("Night theme please.", "dark mode", call_id=call_id)

    assert names(taxonomies) == [("dark mode", 1)]


def test_five_examples_at_most_and_word_for_word(history: History, taxonomies: Taxonomies) -> None:
    """Whoever decides sees what users wrote, however hostile, and not all of it."""
    texts = [f"Give me dark mode, the {number}. time! =1+1 <b>{{{{x}}}}</b>\n- yes: &no" for number in range(9)]
    for text in texts:
        history.analysed(text, suggested="dark mode")

    examples = taxonomies.proposals()[0].examples

    assert len(examples) == 5
    assert set(examples) < set(texts)


def test_what_a_person_has_set_asks_for_nothing(history: History, taxonomies: Taxonomies) -> None:
    """The item has its category; a correction of something else changes nothing."""
    history.correct(history.analysed("Night theme please.", suggested="dark mode"), category="bug")
    history.correct(history.analysed("Less light.", suggested="dark mode"), severity="minor")

    assert names(taxonomies) == [("dark mode", 1)]


def test_what_the_taxonomy_has_is_not_proposed(history: History, taxonomies: Taxonomies) -> None:
    """A model that missed it does not make it new."""
    history.analysed("Crash.", suggested="Bugs")

    assert taxonomies.proposals() == []


def test_the_same_items_give_the_same_proposals(history: History, open_desk: Callable[[], Taxonomies]) -> None:
    """Asked twice, by two processes."""
    for name in ("dark mode", "billing", "Billing", "delivery"):
        history.analysed(f"about {name}", suggested=name)

    assert open_desk().proposals() == open_desk().proposals()


def test_a_rejected_proposal_comes_back_when_its_support_has_doubled(history: History, taxonomies: Taxonomies) -> None:
    """Not before; and it may be rejected again."""
    for number in range(2):
        history.analysed(f"night {number}", suggested="dark mode")
    taxonomies.reject(DARK, by="ann")
    history.analysed("night 2", suggested="Dark Mode")
    before, shown = names(taxonomies), taxonomies.proposals(with_rejected=True)
    history.analysed("night 3", suggested="dark modes")

    after = names(taxonomies)
    taxonomies.reject(DARK, by="ann")

    assert (before, after) == ([], [("dark mode", 4)])
    assert [one.rejected_at is not None for one in shown] == [True]
    assert names(taxonomies) == []


def test_accepting_writes_the_category_and_keeps_the_rest(
    history: History, taxonomies: Taxonomies, repository: TaxonomyRepository, path: Path
) -> None:
    """Comments stay, the version is counted up, and its content is kept."""
    history.analysed("Night theme please.", suggested="dark mode")

    accepted = taxonomies.accept(DARK, Wish(description="Less light."), by="ann")

    added = "  - name: dark mode\n    description: Less light.\n"
    text = TAXONOMY.replace("version: 1", "version: 2").replace("  - name: other", added + "  - name: other")
    assert path.read_text() == text.replace("Less light.", '"Less light."')
    assert accepted.version == load_taxonomy(path).version != accepted.before
    assert repository.version(accepted.version).label == "2"
    assert [one["name"] for one in repository.version(accepted.version).content["categories"]] == [
        "bug", "dark mode", "other",
    ]  # fmt: skip
    assert taxonomies.proposals() == []
    assert [(one.verdict, one.category, one.by) for one in repository.decisions()] == [("accepted", "dark mode", "ann")]


def test_a_proposal_may_be_accepted_by_another_name_and_under_a_category(
    history: History, taxonomies: Taxonomies, path: Path
) -> None:
    """What models called it is still decided: it is not proposed again."""
    history.analysed("Night theme please.", suggested="dark mode")

    taxonomies.accept(DARK, Wish(name="night theme", parent="BUG"), by="ann")

    assert [sub.name for sub in load_taxonomy(path).categories[0].subcategories] == ["night theme"]
    assert taxonomies.proposals() == []


def test_the_id_of_any_spelling_leads_to_its_proposal(history: History, taxonomies: Taxonomies) -> None:
    """Also when another spelling has taken the lead since the proposal was shown."""
    history.analysed("one", suggested="darkmode")
    shown = taxonomies.proposals()[0].id
    history.analysed("two", suggested="dark mode")
    history.analysed("three", suggested="dark mode")

    accepted = taxonomies.accept(shown, AS_PROPOSED, by="ann")

    assert accepted.category.name == "dark mode"


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (Wish(name="a\nb"), InvalidRequest),
        (Wish(name="x" * 101), InvalidRequest),
        (Wish(parent="nowhere"), InvalidRequest),
        (Wish(taxonomy_version="000000000000"), Conflict),
    ],
)
def test_a_wish_that_cannot_be_changes_nothing(
    history: History, taxonomies: Taxonomies, path: Path, wish: Wish, error: type[Exception]
) -> None:
    """Neither the file nor what is proposed."""
    history.analysed("Night theme please.", suggested="dark mode")

    with pytest.raises(error):
        taxonomies.accept(DARK, wish, by="ann")

    assert path.read_text() == TAXONOMY
    assert names(taxonomies) == [("dark mode", 1)]


def test_unknown_proposals_are_not_found(taxonomies: Taxonomies) -> None:
    """Neither accepted nor rejected."""
    for decide in (lambda: taxonomies.accept("x", AS_PROPOSED, by="ann"), lambda: taxonomies.reject("x", by="ann")):
        with pytest.raises(NotFound):
            decide()


@pytest.mark.parametrize(
    ("suggested", "name"),
    [
        ("- name: x\n  team: y", "name: x team: y"),
        ("<b>{{ dark }}</b> &amp; *mode*", "dark }} &amp; *mode"),
        ("=HYPERLINK(1)", "HYPERLINK(1)"),
        ("a: [b, {c: d}] # e", "a: [b, {c: d}] # e"),
        ('say "yes" \\ no', 'say "yes" \\ no'),
        ("!!python/object:os.system", "python/object:os.system"),
        ("null", "null"),
        ("1e3", "1e3"),
        ("\U0001f600 dark\u2028mode", "dark mode"),
        ("тёмная тема", "тёмная тема"),
    ],
)
def test_a_hostile_name_is_accepted_as_a_name_and_nothing_else(
    history: History, taxonomies: Taxonomies, path: Path, suggested: str, name: str
) -> None:
    """Whatever it means to YAML, to a browser or to a spreadsheet, in the file it is one more category."""
    history.analysed("Night theme please.", suggested=suggested)
    [proposal] = taxonomies.proposals()

    taxonomies.accept(proposal.id, AS_PROPOSED, by="ann")

    assert [one.name for one in load_taxonomy(path).categories] == ["bug", name, "other"]
    assert path.read_text().startswith("# ours\nversion: 2\n")


def test_what_is_no_name_is_no_proposal(history: History, taxonomies: Taxonomies) -> None:
    """A model that rambled, or said nothing."""
    for suggested in ("x" * 10_000, "?!", "\n", "<br>"):
        history.analysed("Night theme please.", suggested=suggested)

    assert taxonomies.proposals() == []


def test_accepting_at_the_same_time_gives_one_category(
    history: History, open_desk: Callable[[], Taxonomies], repository: TaxonomyRepository, path: Path
) -> None:
    """Of eight processes one writes, and all are told the same."""
    history.analysed("Night theme please.", suggested="dark mode")
    desks = [open_desk() for _ in range(8)]
    start = threading.Barrier(8)

    def accept(desk: Taxonomies) -> tuple[str, bool]:
        start.wait()
        accepted = desk.accept(DARK, AS_PROPOSED, by="ann")
        return accepted.version, accepted.was_there

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(accept, desks))

    assert path.read_text().count("dark mode") == 1
    assert len({version for version, _ in outcomes}) == 1
    assert sorted(was_there for _, was_there in outcomes) == [False] + [True] * 7
    assert len(repository.decisions()) == 1


def test_a_crash_between_file_and_database_is_mended_by_accepting_again(
    history: History,
    repository: TaxonomyRepository,
    open_desk: Callable[[], Taxonomies],
    clock: ManualClock,
    path: Path,
) -> None:
    """The category is in the file once, and the decision is noted by whoever tries again."""
    history.analysed("Night theme please.", suggested="dark mode")

    def die(path: Path, *, before: bytes, after: bytes) -> None:
        replace_file(path, before=before, after=after)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Taxonomies(repository, TaxonomyFile(path), clock, write=die).accept(DARK, AS_PROPOSED, by="ann")
    survivor = open_desk()
    proposed = survivor.proposals()

    accepted = survivor.accept(DARK, AS_PROPOSED, by="ann")

    assert proposed == []
    assert accepted.was_there
    assert path.read_text().count("dark mode") == 1
    assert survivor.accept(DARK, AS_PROPOSED, by="ann") == accepted


def test_a_file_that_was_changed_meanwhile_is_left_alone(
    history: History, repository: TaxonomyRepository, clock: ManualClock, path: Path
) -> None:
    """Somebody saves it while the category is being put in: theirs stays."""
    history.analysed("Night theme please.", suggested="dark mode")

    def late(path: Path, *, before: bytes, after: bytes) -> None:
        path.write_text(TAXONOMY + "teams: [core]\n")
        replace_file(path, before=before, after=after)

    with pytest.raises(Conflict, match="changed meanwhile"):
        Taxonomies(repository, TaxonomyFile(path), clock, write=late).accept(DARK, AS_PROPOSED, by="ann")

    assert path.read_text() == TAXONOMY + "teams: [core]\n"
    assert [file.name for file in path.parent.iterdir()] == ["taxonomy.yaml"]
    assert repository.decisions() == []


@contextmanager
def full_disk() -> Iterator[None]:
    """Files of this process may not grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_is_told_with_what_to_add(
    history: History, taxonomies: Taxonomies, repository: TaxonomyRepository, path: Path
) -> None:
    """One line that names the file and the entry; nothing is decided."""
    history.analysed("Night theme please.", suggested="dark mode")

    with full_disk(), pytest.raises(Conflict, match=r"taxonomy.yaml: cannot be written: .*add `- dark mode` by hand"):
        taxonomies.accept(DARK, AS_PROPOSED, by="ann")

    assert path.read_text() == TAXONOMY
    assert [file.name for file in path.parent.iterdir()] == ["taxonomy.yaml"]
    assert repository.decisions() == []


def test_the_built_in_taxonomy_is_not_written(
    history: History, repository: TaxonomyRepository, clock: ManualClock
) -> None:
    """It says how to get one of one's own."""
    history.analysed("Night theme please.", suggested="dark mode")

    with pytest.raises(Conflict, match=r"taxonomy show --built-in > taxonomy\.yaml"):
        Taxonomies(repository, TaxonomyFile(), clock).accept(DARK, AS_PROPOSED, by="ann")


def test_another_machine_writes_what_was_accepted_into_its_own_file(
    history: History, taxonomies: Taxonomies, repository: TaxonomyRepository, clock: ManualClock, tmp_path: Path
) -> None:
    """Accepting again where the file lacks it adds it there, by the name it was given; by another it is refused."""
    history.analysed("Night theme please.", suggested="dark mode")
    accepted = taxonomies.accept(DARK, Wish(name="night theme"), by="ann")
    own = tmp_path / "own" / "taxonomy.yaml"
    own.parent.mkdir()
    own.write_text(TAXONOMY)
    elsewhere = Taxonomies(repository, TaxonomyFile(own), clock)

    with pytest.raises(Conflict, match="accepted already, as 'night theme'"):
        elsewhere.accept(DARK, Wish(name="dark mode"), by="bob")
    again = elsewhere.accept(DARK, AS_PROPOSED, by="bob")

    assert (again.version, again.was_there) == (accepted.version, False)
    assert len(repository.decisions()) == 1
