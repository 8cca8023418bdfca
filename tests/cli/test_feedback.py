"""`feedback`: stored from files, listed, shown, tried again."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., "subprocess.Popen[bytes]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
CSV = """id;Comment;rating;plan;created_at
1;The app crashes on login;1;pro;2026-03-01T10:00:00Z
2;"Love it; thanks!";4.5;;2026-03-02T10:00:00Z
3;;3;free;
4;Please add dark mode;four;free;
"""


def listed(run: Run, *arguments: str) -> list[dict[str, Any]]:
    """What is stored, newest first."""
    done = run("feedback", "list", "--format", "jsonl", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_csv_is_imported_as_classify_reads_it(run: Run, tmp_path: Path) -> None:
    """Its dialect, its text column; other columns are metadata, and a bad row is told with its line."""
    (tmp_path / "survey.csv").write_text(CSV)

    done = run("feedback", "import", "survey.csv", "--text-column", "comment")

    love, crash = listed(run)
    assert done.returncode == 1
    assert done.stdout.startswith("2 items stored, 2 refused; job ")
    assert done.stderr.splitlines() == [
        "feedback-gateway: line 4: text: must hold more than white space",
        "feedback-gateway: line 5: rating: Input should be a valid number",
    ]
    assert (love["text"], love["rating"], love["metadata"]) == ("Love it; thanks!", 4.5, {})
    assert (crash["source"], crash["external_id"], crash["metadata"]) == ("survey", "1", {"plan": "pro"})
    assert crash["created_at"] == "2026-03-01T10:00:00.000000Z"


def test_json_lines_are_imported_once(run: Run) -> None:
    """From standard input, each with a source of its own; again changes nothing."""
    rows = [{"text": f"text {number}", "external_id": number, "source": "shop", "nps": number} for number in range(700)]
    given = "\n".join(map(json.dumps, rows))

    first = run("feedback", "import", "-", given=given)
    second = run("feedback", "import", "-", given=given)

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("700 items stored; job ")
    assert second.stdout.startswith("0 items stored, 700 known before; job ")
    found = listed(run, "--limit", "1000", "--source", "shop")
    assert sorted(row["metadata"]["nps"] for row in found) == list(range(700))


def test_what_is_imported_a_worker_analyses(run: Run, start: Start) -> None:
    """And `list` and `show` tell of it."""
    run("feedback", "import", "-", given='{"text": "The app crashes on login", "source": "shop"}\n')
    before = run("feedback", "list")
    start("worker")
    deadline = time.monotonic() + 60
    while not (found := listed(run, "--status", "analysed")):
        assert time.monotonic() < deadline

    table, shown = run("feedback", "list"), run("feedback", "show", found[0]["id"])

    [analysis] = found[0]["analyses"]
    assert before.stdout.splitlines()[-1].split()[-5:] == ["The", "app", "crashes", "on", "login"]
    assert "stored" in before.stdout
    assert analysis["result"]["category"] in table.stdout
    assert json.loads(shown.stdout) == found[0]
    assert run("feedback", "retry").stdout == "0 analyses are tried again\n"


def test_nothing_stored_is_said(run: Run) -> None:
    """No empty table."""
    assert run("feedback", "list").stdout == "No items.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("feedback", "import", "none.csv"), "none.csv: No such file"),
        (("feedback", "import", "-", "--consumer", "nobody"), "there is no consumer 'nobody'"),
        (("feedback", "show", "none"), "no such item"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """With exit 2."""
    done = run(*arguments, given='{"text": "a"}')

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
