"""Whatever a text holds, the student answers or says in one sentence why not; never a hang, never another error."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_gateway.embedded.student import Student

TASKS = ["sentiment", "categorize", "severity", "classify", "summarize", "root-cause-suggest"]
ODD = [
    "😀😀😀",
    "<p><br/></p>",
    "a\x00b\x00c",
    "broken \ud800 surrogate \udfff here",
    "\u202eevil txt\u202c ok then",
    "\ufeffwith a mark",
    "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "https://a.example",
    "@a @b @c",
    "!?!?!?",
    "12 34",
    "𝕳𝖊𝖑𝖑𝖔",
    "<" * 5_000,
    "a" * 100_000,
    "word " * 30_000,
    "@" * 20_000,
    "\n" * 20_000 + "x",
    "((((" * 5_000,
    "but, " * 5_000,
    "ERROR " * 20_000,
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_text_gets_an_answer_in_time(student: Student, taxonomy: dict[str, Any], task: str, text: str) -> None:
    """A result that can be sent as JSON, within two seconds, with quotes from the text; or a `ValueError`."""
    started = time.monotonic()
    try:
        value = student.answer(task, {"text": text, "logs": text}, taxonomy).value
    except ValueError as error:
        assert "read" in str(error)  # noqa: PT017 either outcome is right
        value = {}
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    assert all(entry["quote"] in text for entry in value.get("evidence", ()))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x00", "\ud800", "\u202e\u202c"])
def test_nothing_to_read_is_refused(student: Student, text: str) -> None:
    """Only what holds no visible sign at all."""
    with pytest.raises(ValueError, match="nothing that can be read"):
        student.answer("sentiment", {"text": text}, None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(), min_size=1, max_size=300))
def test_any_text_is_classified_or_refused(student: Student, taxonomy: dict[str, Any], text: str) -> None:
    """No code point makes the student fail."""
    try:
        value = student.answer("classify", {"text": text}, taxonomy).value
    except ValueError:
        return
    assert value["sentiment"] in {"positive", "negative", "neutral", "mixed"}
    assert all(entry["quote"] in text for entry in value["evidence"])


def test_odd_examples_are_learned_from(student: Student) -> None:
    """Empty, wordless and broken examples stop nothing."""
    entries = [{"name": "a", "examples": ["", "😀", "\x00", 7]}, {"name": "b", "examples": ["\ud800", "real words"]}]
    assert student.answer("categorize", {"text": "real words"}, {"categories": entries}).value["category"] == "b"


def test_threads_get_the_answers_of_one(student: Student, taxonomy: dict[str, Any]) -> None:
    """Eight threads over one student, each answer as if alone."""
    texts = [f"The app crashes in step {n}, please add a fix" for n in range(40)]
    alone = [student.answer("classify", {"text": text}, taxonomy) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda text: student.answer("classify", {"text": text}, taxonomy), texts))
    assert together == alone
