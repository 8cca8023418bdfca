"""The extractive tasks: summaries and hints to causes are made of verbatim pieces only."""

import pytest

from feedback_gateway.embedded.rootcause import error_patterns
from feedback_gateway.embedded.student import Student

TEXTS = [
    {"id": "a", "text": "@shop The delivery took three weeks to arrive. Nobody answered my mails."},
    {"id": "b", "text": "My delivery took three weeks to arrive! Please add a tracking page to the site."},
    {"id": "c", "text": "ok"},
    {"id": "d", "text": "The checkout page freezes when I pay by card. https://x.example/1"},
]
LOGS = """10:00:01 INFO api start
10:00:02 ERROR db connection refused host=10.0.0.5
10:00:03 ERROR db connection refused host=10.0.0.6
10:00:04 ERROR db connection refused host=10.0.0.7
10:00:05 WARN cache request took 513 ms
"""


def test_key_points_are_verbatim_with_the_ids_that_say_so(student: Student) -> None:
    """Each point is found in the item it names first."""
    value = student.answer("summarize", {"texts": TEXTS}, None).value
    texts = {entry["id"]: entry["text"] for entry in TEXTS}
    assert value["key_points"]
    for point in value["key_points"]:
        assert point["point"] in texts[point["item_ids"][0]]


def test_items_that_say_the_same_share_a_point(student: Student) -> None:
    """A complaint that two people have is one point with two ids."""
    value = student.answer("summarize", {"texts": TEXTS}, None).value
    assert {"a", "b"} in [set(point["item_ids"]) for point in value["key_points"]]


def test_sentences_under_five_words_are_no_points(student: Student) -> None:
    """A bare ok is not worth a line."""
    value = student.answer("summarize", {"texts": TEXTS}, None).value
    assert all("c" not in point["item_ids"] for point in value["key_points"])


def test_the_headline_counts_items(student: Student) -> None:
    """Top terms with the number of items that hold them."""
    assert student.answer("summarize", {"texts": TEXTS}, None).value["headline"].startswith("4 items: delivery (2)")


def test_requests_become_actions(student: Student) -> None:
    """What somebody asks for is listed in their words."""
    value = student.answer("summarize", {"texts": TEXTS}, None).value
    assert value["action_items"] == ["Please add a tracking page to the site."]


@pytest.mark.parametrize("max_words", [1, 5, 20, 500])
def test_the_summary_keeps_to_its_words(student: Student, max_words: int) -> None:
    """However few are allowed."""
    value = student.answer("summarize", {"texts": TEXTS, "max_words": max_words}, None).value
    assert 0 < len(value["summary"].split()) <= max_words


def test_one_text_can_be_summarised(student: Student) -> None:
    """A single text is item 1 unless it has an id."""
    value = student.answer("summarize", {"text": "The delivery took three weeks to arrive."}, None).value
    assert value["key_points"][0]["item_ids"] == ["1"]


def test_texts_without_a_long_sentence_still_get_a_point(student: Student) -> None:
    """The only words there are, rather than nothing."""
    value = student.answer("summarize", {"texts": [{"id": "x", "text": "too slow"}]}, None).value
    assert value["key_points"] == [{"point": "too slow", "item_ids": ["x"]}]


def test_lines_that_differ_in_numbers_are_one_pattern() -> None:
    """Three hosts, one error; a duration is no status code."""
    patterns = error_patterns(LOGS)
    assert [pattern.count for pattern in patterns] == [3]
    assert patterns[0].line.text == "10:00:02 ERROR db connection refused host=10.0.0.5"


def test_a_cause_is_a_quoted_line(student: Student) -> None:
    """The hypothesis holds nothing that the logs do not."""
    value = student.answer("root-cause-suggest", {"text": "Requests fail.", "logs": LOGS}, None).value
    quoted = value["hypotheses"][0]["evidence"][0]
    assert quoted["source"] == "logs"
    assert quoted["quote"] in LOGS
    assert quoted["quote"] in value["hypotheses"][0]["cause"]


def test_without_a_line_there_is_no_cause(student: Student) -> None:
    """What nobody showed is listed as missing, not guessed."""
    value = student.answer("root-cause-suggest", {"text": "It is slow.", "logs": "10:00 INFO ok\n"}, None).value
    assert value["hypotheses"] == []
    assert any("log line" in entry for entry in value["missing_information"])


def test_a_stated_reason_is_a_hypothesis(student: Student) -> None:
    """What the reporter suspects is quoted as such, with low likelihood."""
    value = student.answer("root-cause-suggest", {"text": "It hangs because the disk is full."}, None).value
    assert value["hypotheses"][0]["evidence"] == [{"source": "text", "quote": "It hangs because the disk is full."}]
    assert value["hypotheses"][0]["likelihood"] == "low"


@pytest.mark.parametrize("text", ["Crashes since the update to 3.2.", "It fails after every restart."])
def test_when_it_began_is_not_why(student: Student, text: str) -> None:
    """A time is no stated cause: no hypothesis, and the first why stays open."""
    value = student.answer("root-cause-suggest", {"text": text}, None).value
    assert value["hypotheses"] == []
    assert [why.endswith("Not supported by the input.") for why in value["five_whys"]] == [True]


def test_near_knowledge_is_named(student: Student) -> None:
    """The article about the same error is cited, another one is not."""
    knowledge = [
        {"id": "k1", "title": "Database connection refused", "text": "Restart the db when the connection is refused."},
        {"id": "k2", "title": "Holiday schedule", "text": "The office closes in December."},
    ]
    item = {"text": "Requests fail.", "logs": LOGS, "knowledge": knowledge}
    hypothesis = student.answer("root-cause-suggest", item, None).value["hypotheses"][0]
    assert hypothesis["knowledge_ids"] == ["k1"]
    assert {"source": "k1", "quote": "Restart the db when the connection is refused."} in hypothesis["evidence"]
