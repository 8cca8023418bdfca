"""`prompts eval` and `prompts calibrate`, end to end on the embedded model."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TEXTS = {
    "bug": "the export crashes with an error every time",
    "praise": "I love the new search, it is wonderful",
    "question": "how do I change my password",
    "feature request": "please add a dark mode to the app",
}


def rows(count: int, *, wrong_every: int = 0) -> list[dict[str, Any]]:
    """Rows of the configured categories; some have a label that no text gives."""
    found = []
    for number in range(count):
        label = list(TEXTS)[number % len(TEXTS)]
        claimed = "other" if wrong_every and number % wrong_every == 0 else label
        found.append({"text": f"{TEXTS[label]} ({number})", "label": claimed})
    return found


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_a_prompt_is_measured_on_labelled_rows(run: Run, tmp_path: Path) -> None:
    """Beside the majority, with every figure."""
    rows = [("I love it, it is great", "positive"), ("I hate it, it is awful", "negative")] * 4 + [("x y", "positive")]
    lines = "\n".join(f"{text},{label}" for text, label in [("text", "label"), *[(f'"{a}"', b) for a, b in rows]])
    (tmp_path / "rows.csv").write_text(lines)

    done = run("prompts", "eval", "sentiment", "--data", "rows.csv", "--baseline", "1")

    assert done.returncode == 0
    assert done.stdout.startswith("sentiment on rows: 9 rows, 2 labels\n")
    for said in ("(always the most frequent label: 0.556)", "cost  0 USD", "failed rows  0", "precision", "(+0.000)"):
        assert said in done.stdout


def test_measuring_without_data_is_wrong_usage(run: Run) -> None:
    """One line that says what is needed."""
    done = run("prompts", "eval", "sentiment")

    assert done.returncode == 2
    assert "needs a TASK and --data FILE, or --all FOLDER" in done.stderr


def test_a_report_comes_as_json_and_as_a_page(run: Run, tmp_path: Path) -> None:
    """Every figure for machines, and a file for people, beside what is printed."""
    write(tmp_path / "rows.jsonl", rows(24, wrong_every=5))

    done = run("prompts", "eval", "categorize", "--data", "rows.jsonl", "--format", "json", "--html", "page.html")

    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "written: page.html\n")
    assert (report["rows"], report["answered_by"]) == (24, "version 1, embedded/student")
    assert report["macro_f1_interval"][0] <= report["macro_f1"] <= report["macro_f1_interval"][1]
    assert sum(cell["rows"] for cell in report["confusion"]) == 24
    assert sum(one["rows"] for one in report["reliability"]) == 24
    assert report["evidence"]["valid"] == report["evidence"]["quotes"] > 0
    assert {"calibration_error", "cost_usd", "latency_ms", "schema_failures"} < set(report)
    assert "<title>categorize on rows</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_two_models_are_compared_row_by_row(run: Run, tmp_path: Path) -> None:
    """One that is not there answers nothing: each right row is one gained."""
    (tmp_path / "gateway.yaml").write_text(
        """
model_list:
  - {model_name: default, litellm_params: {model: embedded/student}}
  - {model_name: away, litellm_params: {model: hosted_vllm/away, api_base: "http://127.0.0.1:9/v1"}}
retry: {attempts: 1, deadline: 5s}
"""
    )
    write(tmp_path / "rows.jsonl", [{"text": f"I love it {number}", "label": "positive"} for number in range(8)])

    done = run(
        "prompts", "eval", "sentiment", "--data", "rows.jsonl", "--baseline-model", "away", "--html", "page.html"
    )

    assert done.returncode == 0
    assert "8 rows improved and 0 worsened of 8; chance alone splits them as unevenly with p = 0.0078" in done.stdout
    assert done.stdout.count("  improved  positive  —         positive  I love it") == 8
    assert "8 rows improved" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_calibration_is_measured_written_and_used(run: Run, tmp_path: Path) -> None:
    """From labelled rows of the configured categories to the confidence that is returned."""
    write(tmp_path / "rows.jsonl", rows(160, wrong_every=4))

    done = run("prompts", "calibrate", "categorize", "--data", "rows.jsonl", "--precision", "0.5", "--write", "c.json")

    assert done.returncode == 0
    assert done.stderr == "written: c.json; name it in tasks.categorize.calibration\n"
    assert "80 rows fit the mapping and order the thresholds, 80 others test both" in done.stdout
    assert "threshold for 50.0%" in done.stdout
    (kept,) = json.loads((tmp_path / "c.json").read_text())["calibrations"]
    (tmp_path / "gateway.yaml").write_text("tasks: {categorize: {calibration: c.json}}\n")
    line = run("classify", "--task", "categorize", given='{"text": "the export crashes again"}\n').stdout
    result = json.loads(line)["result"]
    assert result["confidence_source"] == "calibrated"
    assert kept["points"][0][1] <= result["confidence"] <= kept["points"][-1][1]


def test_what_a_target_takes_is_told_where_the_labels_prove_none(run: Run, tmp_path: Path) -> None:
    """The threshold that is nearest, more labels or none, and the share that a person must see."""
    write(tmp_path / "rows.jsonl", rows(48, wrong_every=2))
    command = ("prompts", "calibrate", "categorize", "--data", "rows.jsonl", "--precision", "0.95")

    table, found = run(*command), json.loads(run(*command, "--format", "json").stdout)

    assert table.returncode == 0
    assert "threshold for 95.0%  none: the labels prove none" in table.stdout
    assert "least review share" in table.stdout
    assert table.stdout.splitlines()[-1].split() == ["59", "93", "124"]
    assert (found["certified"], found["calibration"]["review_below"]) == (None, None)
    assert found["least_review_share"] > 0.4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["severity", "--data", "rows.jsonl"], "answers of severity state no confidence in the label"),
        (["categorize", "--data", "few.jsonl"], "8 labelled rows are too few to calibrate; 20 are the least"),
        (["categorize", "--data", "rows.jsonl", "--write", "no/c.json"], "no is no folder; create it first"),
    ],
)
def test_what_cannot_be_calibrated_is_wrong_usage(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    """One line that says why."""
    write(tmp_path / "rows.jsonl", rows(24))
    write(tmp_path / "few.jsonl", rows(8))

    done = run("prompts", "calibrate", *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_calibration_that_cannot_be_read_stops_the_start(run: Run, tmp_path: Path) -> None:
    """With the file and the mend."""
    (tmp_path / "gateway.yaml").write_text("tasks: {categorize: {calibration: c.json}}\n")

    done = run("classify", "--task", "categorize", given='{"text": "a"}\n')

    assert done.returncode == 2
    assert "c.json: No such file or directory" in done.stderr
