"""`classify` as its users run it: every row answered in its place, whatever is wrong with others."""

import csv
import io
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.cli import classify_rows
from feedback_gateway.cli.classify import ClassifyOptions
from feedback_gateway.cli.progress import Tally
from feedback_gateway.settings import Settings

Start = Callable[..., "subprocess.Popen[bytes]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def parsed(text: str) -> list[dict[str, Any]]:
    """The rows of JSON Lines."""
    return [json.loads(line) for line in text.splitlines()]


def lasting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what differs from call to call."""
    return [{name: row[name] for name in row if name not in {"call_id", "latency_ms"}} for row in rows]


def wait_for_rows(path: Path, count: int) -> None:
    """Until an output has so many lines, for at most a minute."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the output does not grow"
        time.sleep(0.005)


def test_rows_are_answered_in_order_and_bad_ones_in_their_place(run: Run) -> None:
    """Ids, other columns and duplicates are kept; exit 1 because some rows failed."""
    lines = [
        '{"id": 1, "text": "It crashes", "author": "ann"}',
        "broken",
        '{"id": "x", "text": " "}',
        '{"id": 1, "text": "I love it"}',
        '{"text": "half \\ud83d"}',
        '{"id": "no text"}',
    ]

    done = run("classify", "--task", "severity", given="\n".join(lines))

    rows = parsed(done.stdout)
    assert done.returncode == 1
    assert [row["id"] for row in rows] == [1, None, "x", 1, None, "no text"]
    assert ["error" in row for row in rows] == [False, True, True, False, True, True]
    assert [row.get("line") for row in rows] == [None, 2, 3, None, 5, 6]
    assert rows[0]["author"] == "ann"
    assert rows[0]["usage"]["cost_usd"] == "0"
    counts, *reasons, place = done.stderr.splitlines()
    assert counts == "6 rows, 4 failed, cost 0 USD"
    assert reasons[0] == "  1 row: 422 Invalid request: no valid JSON: Expecting value at column 1"
    assert reasons[3] == "  1 row: 422 Invalid request: the item does not fit the task 'severity': text: is required"
    assert place == "each failed row on standard output says why, in `error` and `line`"


def test_progress_follows_the_rows_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what was read ahead: after each row the position is that row's end."""
    lines = [json.dumps({"text": f"It crashed {number}"}) + "\n" for number in range(300)]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    shown: list[tuple[int, int]] = []

    class Recorder:
        def show(self, tally: Tally, *, position: int) -> None:
            shown.append((tally.rows, position))

    monkeypatch.setattr(classify_rows, "display", lambda _size: nullcontext(Recorder()))
    options = ClassifyOptions(
        file=tmp_path / "in.jsonl",
        task="severity",
        output_format="jsonl",
        output=tmp_path / "out.jsonl",
        resume=False,
        retry_failed=False,
        force=False,
        text_column="text",
        input_format=None,
        encoding=None,
        model=None,
        prompt_version=None,
        concurrency=None,
    )

    classify_rows.classify_file(options, Settings(database_url=f"sqlite:///{tmp_path}/calls.db"))

    assert shown == [(count, sum(map(len, lines[:count]))) for count in range(1, 301)]


def test_rows_on_a_terminal_are_not_torn_by_a_bar(tmp_path: Path) -> None:
    """Where both go there the rows alone are shown."""
    (tmp_path / "in.jsonl").write_text('{"text": "It crashes"}\n' * 3)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "feedback_gateway", "classify", "in.jsonl", "--format", "table"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)

    seen = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(ours, 1 << 16):
            seen += part
    os.close(ours)

    assert process.wait(timeout=60) == 0
    lines = seen.decode().replace("\r", "").splitlines()
    assert len(lines) == 2 + 3 + 1
    assert lines[-1] == "3 rows, 0 failed, cost 0 USD"
    assert "\x1b" not in seen.decode()


def test_the_name_of_the_output_asks_for_its_format(run: Run, tmp_path: Path) -> None:
    """Unless --format does."""
    run("classify", "--task", "severity", "--output", "a.csv", given='{"text": "a"}')
    run("classify", "--task", "severity", "--output", "b.csv", "--format", "jsonl", given='{"text": "a"}')

    assert (tmp_path / "a.csv").read_text().startswith('"id","text"')
    assert len(parsed((tmp_path / "b.csv").read_text())) == 1


def test_a_csv_file_comes_back_with_its_columns(run: Run, tmp_path: Path) -> None:
    """Any dialect in, safe commas out, ragged rows told."""
    (tmp_path / "in.csv").write_bytes('id;comment;model\n1;"=cmd; größer";A\n2;short\n3;I love it;B\n'.encode())

    done = run("classify", "in.csv", "--task", "sentiment", "--text-column", "comment", "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert done.returncode == 1
    assert [row["id"] for row in rows] == ["1", "", "3"]
    assert rows[0]["comment"] == "'=cmd; größer"
    assert [row["input_model"] for row in rows] == ["A", "", "B"]
    assert rows[1]["error.status"] == "422"
    assert rows[1]["error.detail"] == "line 3: 2 cells where the header has 3"
    assert rows[2]["result.label"] == "positive"


def test_a_table_is_for_people(run: Run) -> None:
    """No escape sequence of a user reaches the terminal, no markup is read."""
    done = run("classify", "--task", "sentiment", "--format", "table", given='{"id": 1, "text": "\\u001b[31m[b]fine"}')

    assert done.returncode == 0
    assert "[31m[b]fine" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        ([], "a;b\n1;2\n", "has no column 'text'; it has: a, b. Name the one with the text in --text-column"),
        (["gone.jsonl"], "", "gone.jsonl: No such file"),
        (["--resume"], "", "--resume needs --output"),
        (["--retry-failed"], "", "--retry-failed needs --output"),
        (["--task", "nothing"], '{"text": "a"}', "no task 'nothing'; there are: "),
        (["--model", "nothing"], '{"text": "a"}', "--model nothing: no such model; there are: default"),
        (["--format", "xml"], "", "Invalid value for '--format': 'xml' is not one of 'jsonl', 'csv', 'table'"),
        (["--config", "gone.yaml"], "", "gone.yaml: No such file"),
        ([], '[{"text": "a"}]', "a JSON array"),
        (["--prompt-version", "9"], '{"text": "a"}', ": the task 'classify' has no prompt version 9; there are: 1\n"),
        (["--task", "translate"], "text\na\n", "translate: each row needs a column `target_language`; standard input"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run: Run, arguments: list[str], given: str, said: str) -> None:
    """No traceback, and the setting is named."""
    done = run("classify", *arguments, given=given)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_output_is_not_overwritten_unasked(run: Run, tmp_path: Path) -> None:
    """It may have cost money."""
    (tmp_path / "out.jsonl").write_text("precious\n")

    done = run("classify", "--output", "out.jsonl", given='{"text": "a"}')

    assert done.returncode == 2
    assert "add --resume to go on with it or --force to overwrite it" in done.stderr
    assert (tmp_path / "out.jsonl").read_text() == "precious\n"


@pytest.mark.parametrize("output_format", ["jsonl", "csv"])
def test_a_killed_run_goes_on_where_it_was(start: Start, run: Run, tmp_path: Path, output_format: str) -> None:
    """Killed twice at random moments and torn once, it ends as an uninterrupted run does."""
    lines = [json.dumps({"id": n % 50, "text": f"It crashed\n{n} times" if n % 9 else ""}) for n in range(1500)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    arguments = ["classify", "in.jsonl", "--task", "severity", "--format", output_format, "--output"]
    chance = random.Random(11)

    for least in (chance.randrange(5, 200), chance.randrange(300, 600)):
        process = start(*arguments, "cut", "--resume")
        wait_for_rows(tmp_path / "cut", least)
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = (tmp_path / "cut").read_bytes()
        (tmp_path / "cut").write_bytes(content[: -chance.randrange(1, 40)])
    resumed = run(*arguments, "cut", "--resume")
    whole = run(*arguments, "whole")

    assert resumed.stderr.replace("in cut", "in whole") == whole.stderr
    assert resumed.returncode == whole.returncode == 1
    cut, uncut = ((tmp_path / name).read_text() for name in ("cut", "whole"))
    if output_format == "jsonl":
        assert lasting(parsed(cut)) == lasting(parsed(uncut))
    else:
        readers = [csv.DictReader(io.StringIO(text, newline="")) for text in (cut, uncut)]
        assert lasting(list(readers[0])) == lasting(list(readers[1]))


def test_a_finished_run_has_nothing_to_go_on_with(run: Run, tmp_path: Path) -> None:
    """And still says that rows failed, and why."""
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\nbroken\nbroken\n')
    run("classify", "in.jsonl", "--task", "severity", "--output", "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()

    done = run("classify", "in.jsonl", "--task", "severity", "--output", "out.jsonl", "--resume")

    assert done.returncode == 1
    counts, reason, place = done.stderr.splitlines()
    assert counts == "0 rows to do; 3 are there already, 2 of them failed"
    assert reason == "  2 rows: 422 Invalid request: no valid JSON: Expecting value at column 1"
    assert place.startswith("each failed row in out.jsonl says why, in `error` and `line`; ")
    assert place.endswith("the same command with --retry-failed asks again about them")
    assert (tmp_path / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize("output_format", ["jsonl", "csv"])
def test_failed_rows_are_asked_about_again_in_their_place(run: Run, tmp_path: Path, output_format: str) -> None:
    """Once the cause is mended; what was answered stays byte for byte, and the rows that were never reached follow."""
    lines = [json.dumps({"id": n, "text": f"It crashed\n{'again ' * (n % 3)}"}) for n in range(9)]
    arguments = ["classify", "in.jsonl", "--task", "severity", "--format", output_format, "--output", "out"]
    (tmp_path / "gateway.yaml").write_text("limits: {text_chars: 20}\n")
    (tmp_path / "in.jsonl").write_text("\n".join(lines[:8]))
    first = run(*arguments)
    kept = (tmp_path / "out").read_bytes()
    (tmp_path / "gateway.yaml").write_text("")
    (tmp_path / "in.jsonl").write_text("\n".join(lines))

    again = run(*arguments, "--retry-failed")
    run(*arguments[:-1], "whole")

    assert (first.returncode, again.returncode) == (1, 0)
    assert "  2 rows: 422 Invalid request: the item does not fit" in first.stderr
    assert again.stderr == "9 rows, 0 failed, cost 0 USD\n"
    texts = [(tmp_path / name).read_text() for name in ("out", "whole")]
    if output_format == "jsonl":
        redone, uncut = (lasting(parsed(text)) for text in texts)
    else:
        redone, uncut = (lasting(list(csv.DictReader(io.StringIO(text, newline="")))) for text in texts)
    assert redone == uncut
    assert (tmp_path / "out").read_bytes().startswith(kept[: kept.index(b"again")])
    assert sorted(file.name for file in tmp_path.glob("out*")) == ["out"]


@pytest.mark.parametrize(
    ("changed", "task"),
    [('{"text": "other"}\n{"text": "b"}\n', "severity"), ("", "severity"), ('{"text": "a"}\n', "sentiment")],
)
def test_a_changed_input_is_not_gone_on_with(run: Run, tmp_path: Path, changed: str, task: str) -> None:
    """Another text, a shorter file or another task: refused, and the output is left alone."""
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    run("classify", "in.jsonl", "--task", "severity", "--output", "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "in.jsonl").write_text(changed)

    done = run("classify", "in.jsonl", "--task", task, "--output", "out.jsonl", "--resume")

    assert done.returncode == 2
    assert "row 1 of the output is no answer of" in done.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_two_runs_do_not_write_to_one_output(run: Run, start: Start, tmp_path: Path) -> None:
    """The second is refused before it asks anything, and the first goes on."""
    (tmp_path / "in.jsonl").write_text('{"text": "It crashes"}\n' * 50_000)
    first = start("classify", "in.jsonl", "--task", "severity", "--output", "out.jsonl")
    wait_for_rows(tmp_path / "out.jsonl", 5)

    second = run("classify", "in.jsonl", "--task", "severity", "--output", "out.jsonl", "--resume")
    is_running = first.poll() is None
    first.kill()
    first.communicate()

    assert (second.returncode, is_running) == (2, True)
    assert second.stderr == "feedback-gateway: --output out.jsonl: another run writes to it; wait for its end\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_between_rows(start: Start, tmp_path: Path, number: int, code: int) -> None:
    """Every line that was written is whole."""
    (tmp_path / "in.jsonl").write_text('{"text": "It crashes"}\n' * 50_000)
    process = start("classify", "in.jsonl", "--task", "severity", "--output", "out.jsonl")
    wait_for_rows(tmp_path / "out.jsonl", 5)

    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (code, b"stopped; the same command with --resume goes on\n")
    assert all("result" in row for row in parsed((tmp_path / "out.jsonl").read_text()))


def test_a_signal_ends_a_run_that_waits_for_input(start: Start) -> None:
    """A pipe that nobody writes to holds nothing up."""
    process = start("classify", "--task", "severity", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"id": 1, "text": "It crashes"}\n')
    process.stdin.flush()

    row = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)

    assert row["id"] == 1
    assert process.wait(timeout=30) == 143
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_closed_pipe_is_no_reason_to_complain(start: Start, tmp_path: Path) -> None:
    """`| head` closes it."""
    (tmp_path / "in.jsonl").write_text('{"text": "It crashes"}\n' * 5_000)
    process = start("classify", "in.jsonl", "--task", "severity")
    assert process.stdout is not None

    process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
