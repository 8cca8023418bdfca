"""`demo` shows the whole product on bundled feedback that may be passed on."""

import json
import re
import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rich.cells import cell_len

from feedback_gateway.cli.demo_run import read_sample

Start = Callable[..., "subprocess.Popen[bytes]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
LICENSED = {"banking77", "gitbugs-hadoop", "mams", "nezha"}


def test_the_demonstration_prints_a_table_a_digest_and_the_cost(run: Run, tmp_path: Path) -> None:
    """In 80 columns, and leaves nothing behind."""
    done = run("demo")

    lines = done.stdout.splitlines()
    rows = [row for row in read_sample() if "logs" not in row]
    assert (done.returncode, done.stderr) == (0, "")
    assert max(cell_len(line) for line in lines) <= 80
    assert lines[2].split() == ["?", "feedback", "sentiment", "category", "severity"]
    flagged = sum(line.startswith("?  ") for line in lines[4 : 4 + len(rows)])
    assert f"  for a person to look at (?): {flagged}" in lines
    assert any(line.startswith("Marked with ? are those that a person should look at: ") for line in lines)
    assert f"Digest of {len(rows)} items" in lines
    assert lines[-1].startswith(f"Cost: 0 USD for {len(rows) + 2} calls")
    assert list(tmp_path.iterdir()) == []


def test_key_points_are_quotes_of_the_items_they_name(run: Run) -> None:
    """Of the first one; the others say much the same. Nothing in the digest is invented."""
    texts = {row["id"]: row["text"] for row in read_sample()}

    output = run("demo").stdout.replace("\n    ", " ")

    points = [line.strip().removeprefix("- “") for line in output.splitlines() if line.startswith("  - “")]
    assert len(points) == 5
    for point in points:
        quote, _, ids = point.rpartition("” [")
        source = ids.rstrip("]").split("; ")[0]
        assert quote in " ".join(texts[source].split())


def test_every_sample_row_names_a_source_whose_licence_is_noted() -> None:
    """Nothing is bundled that may not be."""
    note = (Path(__file__).parents[2] / "src/feedback_gateway/cli/sample.md").read_text(encoding="utf-8")

    assert {row["source"] for row in read_sample()} == LICENSED
    assert all(f"`{source}`" in note for source in LICENSED)


def test_two_hundred_corrections_make_the_rest_of_a_file_better(run: Run, tmp_path: Path) -> None:
    """Also the rows that nobody corrected, by more than the intervals are wide; it leaves nothing behind."""
    done = run("demo", "--learn")

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert max(cell_len(line) for line in lines) <= 82
    figures = re.compile(r"(\d+) +(0\.\d+) +(\S+) to (\S+) +(0\.\d+) +(\S+) to (\S+)$")
    found = [match for line in lines if (match := figures.search(line))]
    assert [int(match[1]) for match in found] == [616, 416]
    assert all(float(match[4]) < float(match[6]) for match in found)
    assert list(tmp_path.iterdir()) == []


def test_the_tour_of_the_gateway_shows_failover_cache_budget_and_ledger(run: Run, tmp_path: Path) -> None:
    """In front of scripted providers, whose own account is what the ledger says; it leaves nothing behind."""
    done = run("demo", "--gateway")

    lines = [line.strip() for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert max(cell_len(line) for line in done.stdout.splitlines()) <= 80
    assert "attempt 1: openai/main: provider-unavailable (HTTP 503)" in lines
    assert "attempt 2: openai/backup: ok" in lines
    assert any(line.startswith("200, cache hit,") and ", 0 USD:" in line for line in lines)
    assert any(line.startswith("100 answers, 1 request to a provider,") for line in lines)
    assert "402 Budget exceeded, 0 requests to a provider:" in lines
    account = re.fullmatch(r"The providers billed (\S+) USD; the ledger has (\S+) USD\.", lines[-1])
    assert account is not None
    assert account[1] == account[2] != "0"
    assert list(tmp_path.iterdir()) == []


def test_the_tour_stays_where_that_is_wanted(start: Start) -> None:
    """What it says to try works, until it is ended."""
    process = start("demo", "--gateway", "--keep")
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "api_base: " not in lines[-1]:
        line = process.stdout.readline().decode()
        assert line, "it ended"
        lines.append(line.strip())
    command = next(place for place, line in enumerate(lines) if line.startswith("curl") and line.endswith("\\"))
    words = shlex.split(lines[command].removesuffix("\\") + lines[command + 1])

    name, value = words[4].split(": ")
    with urllib.request.urlopen(urllib.request.Request(words[2], words[6].encode(), {name: value})) as answer:
        said = json.load(answer)
    process.send_signal(signal.SIGINT)

    assert said["choices"][0]["message"]["content"]
    assert process.wait(timeout=30) == 130
