"""The label tasks: sentiment, categorize, severity, language, and all of them at once."""

from typing import Any

import pytest

from feedback_gateway.embedded.student import Student, UnsupportedTask


def ask(student: Student, task: str, text: str, taxonomy: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer alone."""
    return student.answer(task, {"text": text}, taxonomy).value


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love this app, it works great and support is awesome!", "positive"),
        ("Terrible update. It crashes all the time and nobody answers, I hate it.", "negative"),
        ("The meeting is on Tuesday at the office in Boston.", "neutral"),
    ],
)
def test_plain_sentiments_are_told(student: Student, text: str, label: str) -> None:
    """What anybody would say of these."""
    assert ask(student, "sentiment", text)["label"] == label


def test_the_score_follows_the_label(student: Student) -> None:
    """Happy words score above zero, angry ones below."""
    assert ask(student, "sentiment", "Absolutely wonderful, thank you!")["score"] > 0.3
    assert ask(student, "sentiment", "Awful, worst service ever")["score"] < -0.3


def test_negation_turns_a_word(student: Student) -> None:
    """What is "not good" is no praise."""
    assert ask(student, "sentiment", "This is not good")["score"] < ask(student, "sentiment", "This is good")["score"]


def test_aspects_get_the_polarity_of_their_clause(student: Student) -> None:
    """One sentence, two things, two verdicts, each quoted."""
    text = "The delivery was great but the support is horrible."
    aspects = {entry["aspect"]: entry for entry in ask(student, "sentiment", text)["aspects"]}
    assert aspects["delivery"]["label"] == "positive"
    assert aspects["support"]["label"] == "negative"
    assert aspects["support"]["evidence"][0]["quote"] in text


def test_an_unsure_sentiment_wants_a_person(student: Student) -> None:
    """A link alone says nothing, and the answer says that it does not know."""
    answer = student.answer("sentiment", {"text": "https://example.org/a"}, None)
    assert answer.value["label"] == "neutral"
    assert answer.needs_review


def test_a_language_the_vectors_do_not_know_wants_a_person(student: Student) -> None:
    """The small embedder reads English."""
    assert student.answer("sentiment", {"text": "Diese Anwendung ist leider sehr langsam geworden"}, None).needs_review


def test_examples_decide_the_category(student: Student, taxonomy: dict[str, Any]) -> None:
    """A text like a category's examples is put there, with a sentence that shows it."""
    text = "Hello there. The app crashes with an error after the update."
    value = ask(student, "categorize", text, taxonomy)
    assert value["category"] == "bug"
    assert value["evidence"] == [{"quote": "The app crashes with an error after the update."}]
    assert value["confidence"] > max(entry["confidence"] for entry in value["alternatives"])


def test_without_examples_a_category_is_only_a_suggestion(student: Student) -> None:
    """Names and descriptions alone never spare a person the look."""
    described = {
        "categories": [{"name": "billing", "description": "invoices"}, {"name": "login", "description": "passwords"}]
    }
    answer = student.answer("categorize", {"text": "My invoice is wrong, the billing is too high"}, described)
    assert answer.value["category"] == "billing"
    assert answer.needs_review


def test_a_category_without_examples_beside_others_can_still_be_chosen(
    student: Student, taxonomy: dict[str, Any]
) -> None:
    """Its name and description stand in for an example; the choice is checked by a person."""
    taxonomy["categories"].append({"name": "billing", "description": "invoices, refunds and payments"})
    answer = student.answer("categorize", {"text": "invoices, refunds and payments"}, taxonomy)
    assert answer.value["category"] == "billing"
    assert answer.needs_review


def test_more_examples_change_the_answer(student: Student, taxonomy: dict[str, Any]) -> None:
    """A correction that is added as an example is learned by the next call."""
    text = "The frobnicator zorps"
    taxonomy["categories"][1]["examples"] += [text, "frobnicator zorping", "why does the frobnicator zorp"]
    assert ask(student, "categorize", text, taxonomy)["category"] == "feature request"


@pytest.mark.parametrize("entries", [[], [{"description": "nameless"}], [{"name": "  "}]])
def test_a_taxonomy_without_categories_is_refused(student: Student, entries: list[dict[str, str]]) -> None:
    """There is nothing to choose from, and the error says so."""
    with pytest.raises(ValueError, match="no category"):
        ask(student, "categorize", "hello", {"categories": entries})


@pytest.mark.parametrize(
    "entries", [[{"name": "only"}], [{"name": f"c{n}", "description": "same"} for n in range(300)]]
)
def test_odd_taxonomies_get_an_answer(student: Student, entries: list[dict[str, str]]) -> None:
    """One category, or three hundred of one description: a label of the taxonomy comes back."""
    value = ask(student, "categorize", "hello world", {"categories": entries})
    assert value["category"] in {entry["name"] for entry in entries}


@pytest.mark.parametrize(
    "text",
    [
        "The food was great, but the waiter was rude and we waited an hour.",
        "The export is broken and I hate it. I love the new look though.",
    ],
)
def test_clear_praise_beside_clear_complaint_is_mixed(student: Student, text: str) -> None:
    """Each side is quoted."""
    value = ask(student, "sentiment", text)
    assert value["label"] == "mixed"
    assert len(value["evidence"]) == 2
    assert all(entry["quote"] in text for entry in value["evidence"])


def test_a_contrast_alone_is_not_mixed(student: Student) -> None:
    """Two sides that say the same stay what they are."""
    assert ask(student, "sentiment", "I love it, but I love the old one even more!")["label"] == "positive"


@pytest.mark.parametrize(
    ("text", "severity", "priority"),
    [
        ("The whole service is down for everyone", "critical", "P1"),
        ("Nobody in our team has been able to log in", "critical", "P1"),
        ("Der Server ist seit heute früh nicht erreichbar", "critical", "P1"),
        ("I lost all my data after the sync", "critical", "P1"),
        ("It crashed and three days of notes are gone, I lost hours of work", "critical", "P1"),
        ("Somebody hacked my account", "critical", "P1"),
        ("My phone was stolen", "critical", "P1"),
        ("The deposit has disappeared", "critical", "P1"),
        ("There is a payment that I did not make", "critical", "P1"),
        ("The export is not working", "major", "P2"),
        ("The sync doesn't seem to be working", "major", "P2"),
        ("The invoice shows an incorrect total", "major", "P2"),
        ("I was charged a fee for it", "major", "P2"),
        ("L'application ne fonctionne plus", "major", "P2"),
        ("La aplicación no funciona", "major", "P2"),
        ("There is a typo in the tooltip", "minor", "P3"),
        ("Which currencies are there?", "minor", "P3"),
        ("It would be nice to have a dark mode", "enhancement", "P4"),
        ("Add support for calendars", "enhancement", "P4"),
        ("I love the new colours, thank you!", "enhancement", "P4"),
        ("The meeting is on Tuesday", "minor", "P3"),
    ],
)
def test_severity_follows_the_words(student: Student, text: str, severity: str, priority: str) -> None:
    """Outage, loss and intrusion before failure before blemish; the rules are only a suggestion."""
    answer = student.answer("severity", {"text": text}, None)
    assert (answer.value["severity"], answer.value["priority"]) == (severity, priority)
    assert answer.needs_review


def test_the_reason_quotes_the_matched_words(student: Student) -> None:
    """A person can check the rule at a glance."""
    assert '"is not working"' in ask(student, "severity", "The export is not working")["reason"]


SHOWN = {
    "major": ["invoice shows the wrong tax", "tax on the invoice", "wrong tax rate", "the invoice has a wrong tax"],
    "minor": ["crash on exit", "crashes when I quit", "the app crashes", "it hangs on exit"],
}


def shown_severities(times: int) -> dict[str, Any]:
    """A taxonomy that shows each of two severities with four examples, `times` times."""
    return {"severities": [{"name": name, "examples": texts * times} for name, texts in SHOWN.items()]}


def test_enough_examples_of_the_team_come_before_the_rules(student: Student) -> None:
    """Where the team showed often what it calls minor, the words of the rules for major do not count."""
    value = ask(student, "severity", "the app crashes", shown_severities(2))
    assert value["severity"] == "minor"
    assert "examples" in value["reason"]


def test_a_few_examples_leave_the_rules_in_force(student: Student) -> None:
    """Four examples a severity teach nothing that holds."""
    assert ask(student, "severity", "the app crashes", shown_severities(1))["severity"] == "major"


def test_words_of_an_outage_come_before_the_examples(student: Student) -> None:
    """A team that shows critical examples is still told of a loss that none of them resembles."""
    severities = shown_severities(2)
    severities["severities"].append({"name": "critical", "examples": ["the cluster burns"] * 8})
    assert ask(student, "severity", "I lost two hours of work", severities)["severity"] == "critical"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The application stopped working after the update", "en"),
        ("Die Anwendung funktioniert nach dem Update nicht mehr", "de"),
        ("L'application ne fonctionne plus depuis la mise à jour", "fr"),
        ("ok thx", "und"),
        ("12345 67890 !!!", "und"),
    ],
)
def test_the_language_is_told_or_left_open(
    student: Student, taxonomy: dict[str, Any], text: str, language: str
) -> None:
    """Fifteen letters are needed to tell one."""
    assert ask(student, "classify", text, taxonomy)["language"] == language


def test_classify_answers_all_at_once(student: Student, taxonomy: dict[str, Any]) -> None:
    """One call, every label, and quotes that are in the text."""
    text = "The app crashes whenever I open it, awful. I want my money back."
    value = ask(student, "classify", text, taxonomy)
    assert value["sentiment"] == "negative"
    assert value["category"] == "bug"
    assert value["severity"] == "major"
    assert value["summary"] in text
    assert all(entry["quote"] in text for entry in value["evidence"])


@pytest.mark.parametrize("task", ["translate", "reply-draft", "somebody-elses"])
def test_what_needs_a_language_model_is_refused(student: Student, task: str) -> None:
    """It would have to invent."""
    with pytest.raises(UnsupportedTask):
        student.answer(task, {"text": "hello"}, None)
