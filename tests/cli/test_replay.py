"""`replay`: the cost first, then every item once more through another version; what differs, and what was booked."""

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from feedback_gateway.llm.scripted_server import Heard, Play, ScriptedServer
from tests.api.conftest import MOOD
from tests.cli.conftest import COMMAND, Start

Run = Callable[..., "subprocess.CompletedProcess[str]"]

COUNT = 24
DEADLINE_S = 60.0
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
CALL_USD = 100 * 0.000001 + 20 * 0.000002


def play(heard: Heard, *, delay_s: float = 0.0) -> Play:
    """Version 1 finds everything good; version 2 finds what begins with a B bad."""
    system, user = (message["content"] for message in heard.body["messages"][:2])
    is_bad = "second way" in system and "B" in user
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": json.dumps({"mood": "bad" if is_bad else "good"})},
    }
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    return Play(body=body, delay_s=delay_s)


@pytest.fixture
def provider() -> Iterator[ScriptedServer]:
    """A provider on loopback."""
    server = ScriptedServer(play)
    with start_blocking_portal("asyncio") as portal:
        portal.call(server.start)
        yield server
        portal.call(server.stop)


@pytest.fixture
def settings(tmp_path: Path, provider: ScriptedServer) -> dict[str, Any]:
    """Two versions of one prompt; the first serves."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(MOOD)
    (folder / "mood.v2.prompt").write_text(MOOD.replace("Tell the mood.", "Tell the mood a second way."))
    params = {
        "model": "openai/m",
        "api_base": provider.url,
        "api_key": "none",
        "input_cost_per_token": "0.000001",
        "output_cost_per_token": "0.000002",
    }
    settings = {
        "model_list": [{"model_name": "default", "litellm_params": params}],
        "tasks": {"mood": {"version": 1}},
        "limits": {"concurrency": 4},
        "log": {"payloads": "full"},
        "retry": {"attempts": 2},
    }
    write(tmp_path, settings)
    rows = [{"id": number, "text": f"{'B' if number % 4 == 0 else 'a'}{number}"} for number in range(COUNT)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return settings


def write(folder: Path, settings: dict[str, Any]) -> None:
    """Make these the settings."""
    (folder / "gateway.yaml").write_text(json.dumps(settings))


def by_purpose(run: Run) -> dict[str, dict[str, Any]]:
    """The report of costs, by what calls were for."""
    done = run("usage", "--by", "purpose", "--format", "json")
    return {row["purpose"]: row for row in json.loads(done.stdout)["data"]}


REPLAY = ("replay", "--since", "1h", "--task", "mood", "--prompt-version", "2")


@pytest.mark.usefixtures("settings")
def test_cost_is_shown_before_anything_is_asked(run: Run, provider: ScriptedServer) -> None:
    """Without --yes and without a terminal nothing is."""
    run("classify", "rows.jsonl", "--task", "mood", "--output", "out.jsonl")
    heard = len(provider.heard)

    refused = run(*REPLAY)

    assert heard == COUNT
    assert refused.returncode == 2
    assert f"{COUNT} items, {COUNT} calls" in refused.stderr
    assert f"cost: {COUNT * CALL_USD:.5f} USD expected, " in refused.stderr
    assert "(2 attempts a call)" in refused.stderr
    assert "add --yes" in refused.stderr
    assert len(provider.heard) == heard


@pytest.mark.usefixtures("settings")
def test_period_is_replayed_through_another_version_and_what_differs_is_listed(
    run: Run, provider: ScriptedServer
) -> None:
    """Each text once, never from the cache, booked as replays, and part of the report of disagreements."""
    run("classify", "rows.jsonl", "--task", "mood", "--output", "out.jsonl")
    run("classify", "rows.jsonl", "--task", "mood", "--output", "again.jsonl")

    done = run(*REPLAY, "--yes", "--format", "json")
    again = run(*REPLAY, "--yes")

    report = json.loads(done.stdout)
    (one,) = report["comparisons"]
    assert done.returncode == 0, done.stderr
    assert f"left out: {COUNT} the same text again" in done.stderr
    assert (one["compared"], one["agreed"]) == (COUNT, COUNT * 3 // 4)
    assert one["fields"][0]["changes"] == [{"answered": "good", "beside": "bad", "count": COUNT // 4}]
    assert (report["calls"], report["cost_usd"]) == (COUNT, f"{COUNT * CALL_USD:.5f}")
    assert "mood: good → bad" in again.stdout
    assert len(provider.heard) == 4 * COUNT
    usage = by_purpose(run)
    assert (usage["replay"]["calls"], usage["replay"]["cost_usd"]) == (2 * COUNT, f"{2 * COUNT * CALL_USD:.5f}")
    assert f"{2 * COUNT} pairs, {2 * COUNT} compared" in run("prompts", "disagreements", "mood").stdout


@pytest.mark.usefixtures("settings")
def test_file_is_compared_with_the_answers_in_it_or_with_new_ones(run: Run, provider: ScriptedServer) -> None:
    """What `classify` wrote is not asked again of the version that answered; bare rows are asked of both."""
    run("classify", "rows.jsonl", "--task", "mood", "--output", "out.jsonl")
    before = len(provider.heard)

    answered = run("replay", "--file", "out.jsonl", "--task", "mood", "--prompt-version", "2", "--yes")
    after = len(provider.heard)
    bare = run("replay", "--file", "rows.jsonl", "--task", "mood", "--prompt-version", "2", "--yes")

    assert after - before == COUNT
    assert f"{COUNT} items, {COUNT} calls" in answered.stderr
    assert f"{COUNT} items, {2 * COUNT} calls" in bare.stderr
    asked = len(provider.heard)
    run("replay", "--file", "rows.jsonl", "--task", "mood", "--yes")
    assert len(provider.heard) - asked == 2 * COUNT  # the very same requests, none from the cache
    for done in (answered, bare):
        assert done.returncode == 0
        assert f"the same in every label: {COUNT * 3 // 4} = 75.0%" in done.stdout


def test_killed_replay_is_booked_and_goes_on_where_it_was(
    run: Run, start: Start, settings: dict[str, Any], provider: ScriptedServer, tmp_path: Path
) -> None:
    """SIGKILL in the middle: every request that a provider heard is paid for, and few are made twice."""
    write(tmp_path, settings | {"cache": {"max_entries": 0}})
    run("classify", "rows.jsonl", "--task", "mood", "--output", "out.jsonl")
    provider.script = lambda heard: play(heard, delay_s=0.2)
    process = start(*REPLAY, "--yes")
    deadline = time.monotonic() + DEADLINE_S
    while len(provider.heard) < COUNT + 12:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)

    process.kill()
    process.wait()
    killed = len(provider.heard) - COUNT
    done = run(*REPLAY, "--yes", "--resume", "--format", "json")

    asked = len(provider.heard) - COUNT
    report = json.loads(done.stdout)
    usage = by_purpose(run)
    assert process.returncode == -signal.SIGKILL
    assert killed < COUNT
    assert report["comparisons"][0]["compared"] == COUNT
    taken_over = int(done.stderr.split("answered by an earlier replay: ")[1].split()[0])
    assert taken_over >= 1
    assert asked == killed + COUNT - taken_over
    assert usage["answer"]["calls"] == COUNT
    # Those whose end was not written down when it died are charged at their bound, by whoever starts next.
    replays = usage["replay"]
    assert replays["calls"] >= asked
    assert replays["calls"] - replays["failed_calls"] == COUNT
    assert replays["unknown_cost_calls"] == replays["failed_calls"] >= 1
    charged = run("ledger", "list", "--limit", "1000")
    assert charged.stdout.count("  orphan  ") == replays["failed_calls"]


def test_masked_texts_are_replayed_masked_and_said_to_be(
    run: Run, settings: dict[str, Any], provider: ScriptedServer, tmp_path: Path
) -> None:
    """What the log does not have cannot be asked again."""
    write(tmp_path, settings | {"log": {"payloads": "redacted"}})
    (tmp_path / "one.jsonl").write_text('{"text": "mail bob.miller@example.com about it"}\n')
    run("classify", "one.jsonl", "--task", "mood", "--output", "out.jsonl")

    done = run(*REPLAY, "--yes")

    assert "masked text is replayed as it is, masked" in done.stderr
    assert "bob.miller@example.com" in json.dumps(provider.heard[0].body)
    assert "bob.miller@example.com" not in json.dumps(provider.heard[1].body)


def test_without_payloads_there_is_nothing_to_replay(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    """And it says why."""
    write(tmp_path, settings | {"log": {"payloads": "none"}})
    run("classify", "rows.jsonl", "--task", "mood", "--output", "out.jsonl")

    done = run(*REPLAY, "--yes")

    assert done.returncode == 0
    assert "log.payloads is `none`" in done.stderr
    assert "There is nothing to replay." in done.stderr


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("typed", "asked", "code"), [(b"n\n", 0, 130), (b"y\n", COUNT, 0), (None, 0, 130)])
def test_on_a_terminal_it_asks(  # noqa: PLR0917
    run: Run, provider: ScriptedServer, tmp_path: Path, typed: bytes | None, asked: int, code: int
) -> None:
    """No, yes, and an interrupt in place of either."""
    run("classify", "rows.jsonl", "--task", "mood", "--output", "out.jsonl")
    before = len(provider.heard)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *REPLAY], cwd=tmp_path, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    )
    shown = b""
    while b"Begin?" not in shown:
        shown += os.read(ours, 10_000)
    if typed is None:
        process.send_signal(signal.SIGINT)
    else:
        os.write(ours, typed)
    ended = process.wait(DEADLINE_S)
    os.close(ours)
    os.close(theirs)

    assert f"{COUNT} calls".encode() in shown
    assert len(provider.heard) - before == asked
    assert ended == code


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "replay needs --since"),
        (("--since", "1h", "--file", "rows.jsonl"), "replay needs --since"),
        (("--since", "1h", "--prompt-version", "2"), "--prompt-version needs --task"),
        (("--file", "rows.jsonl", "--task", "mood", "--prompt-version", "9"), "no prompt version 9"),
        (("--file", "rows.jsonl", "--task", "mood", "--model", "nobody"), "no model 'nobody'"),
    ],
)
def test_wrong_usage_is_told_in_one_line(run: Run, arguments: tuple[str, ...], told: str) -> None:
    """Before anything is asked."""
    done = run("replay", *arguments, "--yes")

    assert done.returncode == 2
    assert told in done.stderr
