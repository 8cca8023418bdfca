"""`prompts`, `usage` and `doctor`."""

import csv
import io
import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from feedback_gateway.calls.reports import UsageRow
from feedback_gateway.cli.checkup import each_once, redis
from feedback_gateway.cli.usage import usage_table
from feedback_gateway.settings import DeploymentParams, ModelEntry, Settings

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_prompts_are_listed_with_their_versions(run: Run) -> None:
    """All eight of them."""
    done = run("prompts", "list")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2 + 8
    assert "root-cause-suggest  1         1" in done.stdout


def test_prompts_in_order_are_said_to_be(run: Run) -> None:
    """The built-in ones are."""
    done = run("prompts", "check")

    assert (done.returncode, done.stdout) == (0, "8 prompts are in order.\n")


def test_every_broken_prompt_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    """All of them, not the first alone."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.v1.prompt").write_text("no front matter\n")
    (tmp_path / "mine" / "b.prompt").write_text("")

    done = run("prompts", "check", "mine")

    assert done.returncode == 1
    assert [line.rsplit(": ", 1)[0] for line in done.stdout.splitlines()] == ["mine/a.v1.prompt:1", "mine/b.prompt:1"]


def test_a_folder_that_is_none_is_wrong_usage(run: Run) -> None:
    """One line, exit 2."""
    done = run("prompts", "check", "gone")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_usage_comes_straight_from_the_database(run: Run) -> None:
    """In three formats, grouped as asked."""
    run("classify", "--task", "severity", given='{"text": "a crash"}\n{"text": "b"}\n')

    table = run("usage", "--by", "task")
    data = json.loads(run("usage", "--by", "consumer,task", "--format", "json").stdout)["data"]
    rows = list(csv.DictReader(io.StringIO(run("usage", "--format", "csv").stdout)))

    assert table.stdout.splitlines()[2].split()[:2] == ["severity", "2"]
    assert [(row["consumer"], row["calls"], row["cost_usd"]) for row in data] == [("local", 2, "0")]
    assert [(row["task"], row["model"], row["calls"]) for row in rows] == [("severity", "default", "2")]
    assert run("usage", "--since", "2999-01-01").stdout == "No calls.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "foo"], "--by foo: takes consumer, task, model, day, purpose, each once"),
        (["--since", "x"], "--since: write a time such as 24h, 7d, 2026-03-01 or 2026-03-01T12:00:00Z"),
    ],
)
def test_a_question_about_usage_that_cannot_be_answered(run: Run, arguments: list[str], said: str) -> None:
    """One line that names the option and says once what it takes; exit 2."""
    done = run("usage", *arguments)

    assert (done.returncode, done.stderr, done.stdout) == (2, f"feedback-gateway: {said}\n", "")


def test_figures_that_are_0_make_room_on_a_narrow_terminal() -> None:
    """Calls and cost always stand."""
    row = UsageRow(
        group={"task": "classify", "model": "x" * 60},
        calls=3,
        cached_calls=0,
        failed_calls=1,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
        cost_usd=Decimal(0),
        saved_usd=Decimal(0),
        unknown_cost_calls=0,
    )

    narrow, wide = (usage_table(["task", "model"], [row], width=width) for width in (70, None))

    assert narrow.splitlines()[0].split() == ["task", "model", "calls", "failed", "cost", "USD"]
    assert max(map(len, narrow.splitlines())) == 70
    assert "cached input" in wide


def test_a_fresh_installation_is_in_order(run: Run) -> None:
    """Every line is ok."""
    done = run("doctor")

    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}


def test_what_is_wrong_is_said_with_the_mend_and_no_key(run: Run, tmp_path: Path) -> None:
    """Placeholders, unknown prices, inert settings and a database that cannot be opened."""
    (tmp_path / "gateway.yaml").write_text(
        """
model_list:
  - {model_name: default, litellm_params: {model: openai/gpt-4o-mini, api_key: your-key-here}}
  - {model_name: default, litellm_params: {model: openai/nobody-knows, api_key: secret-1234}}
  - {model_name: default, litellm_params: {model: gpt-4o, api_key: secret-1234}}
database_url: sqlite:////nowhere/at/all.db
alerts: [{when: "severity == 'critical'"}]
tasks: {sentiment: {version: 9}}
"""
    )

    done = run("doctor")

    assert done.returncode == 1
    assert "secret-1234" not in done.stdout + done.stderr
    states = {line.split(": ")[0].split(maxsplit=1)[1]: line for line in done.stdout.splitlines()}
    assert states["database"].startswith("fail")
    assert states["alerts"].startswith("warn")
    assert states["tasks.sentiment"].startswith("fail")
    assert "api_key is a placeholder → give the key" in states["deployment openai/gpt-4o-mini (default)"]
    assert "its price is not known" in states["deployment openai/nobody-knows (default)"]
    assert "the model names no provider → write openai/gpt-4o" in states["deployment gpt-4o (default)"]


def test_deployments_that_can_hardly_work_are_told(run: Run, tmp_path: Path) -> None:
    """Providers that nobody knows, servers without an address, time limits that no call reaches, misspelt names."""
    (tmp_path / "gateway.yaml").write_text(
        """
model_list:
  - {model_name: a, litellm_params: {model: opnai/gpt-4o, api_key: k-1, timeout: 5}}
  - {model_name: b, litellm_params: {model: hosted_vllm/own, timeout: 5}}
  - {model_name: c, litellm_params: {model: openai/gpt-4o, api_key: k-2, timeout: 90}}
  - {model_name: e, litellm_params: {model: openai/gpt-4o, api_key: k-2, wieght: 3}}
  - {model_name: d, litellm_params: {model: openai/gpt-4o-mini, api_key: k-2, timeout: 5}}
prompts: nowhere
"""
    )

    done = run("doctor")

    said = done.stdout
    assert done.returncode == 0
    assert "ok    configuration: read from ./gateway.yaml\n" in said
    assert "warn  deployment opnai/gpt-4o (a): the provider 'opnai' is not known → did you mean openai" in said
    assert "warn  deployment hosted_vllm/own (b): no api_base" in said
    assert "warn  timeout of openai/gpt-4o (c): an attempt may take 90 s, but a call ends after 30 s" in said
    assert "→ set retry.deadline to 100s, say, or lower litellm_params.timeout" in said
    assert "(e): litellm_params.wieght goes to the provider → did you mean weight?" in said
    assert "warn  prompts: there is no folder nowhere" in said
    assert [line.split()[:3] for line in said.splitlines() if "gpt-4o-mini" in line] == [
        ["ok", "deployment", "openai/gpt-4o-mini"]
    ]


def test_redis_is_asked_whether_it_answers(run: Run, tmp_path: Path) -> None:
    """The URL, which may hold a password, is not shown; limits of deployments are no longer without effect."""
    (tmp_path / "gateway.yaml").write_text(
        """
model_list:
  - {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: k-1, rpm: 5, tpm: 1000}}
redis_url: redis://:hidden@127.0.0.1:1/0
"""
    )

    done = run("doctor")

    assert done.returncode == 1
    assert "fail  redis: does not answer within 1 s (ConnectionError): each process goes on alone" in done.stdout
    assert "→ start Redis, or correct or remove redis_url" in done.stdout
    assert "hidden" not in done.stdout
    assert "no effect" not in done.stdout


@pytest.mark.anyio
async def test_redis_that_answers_is_in_order(redis_url: str) -> None:
    """And what is no URL of one is not."""
    good = [finding async for finding in redis(Settings(redis_url=SecretStr(redis_url)))]
    bad = [finding async for finding in redis(Settings(redis_url=SecretStr("http://:hidden@127.0.0.1")))]

    assert [(finding.state, finding.part) for finding in [*good, *bad]] == [("ok", "redis"), ("fail", "redis")]
    assert "hidden" not in bad[0].message


def test_what_every_attempt_failed_with_is_told_once() -> None:
    """Without the names that stand before it."""
    entry = ModelEntry(model_name="a", litellm_params=DeploymentParams(model="openai/x"))
    detail = "model 'a': openai/x: provider-timeout: none; openai/x: provider-down: no; openai/x: provider-down: no"

    assert each_once(detail, entry) == "provider-timeout: none; then provider-down: no"


def test_a_configuration_that_cannot_be_read_is_the_only_finding(run: Run, tmp_path: Path) -> None:
    """Everything else depends on it."""
    (tmp_path / "gateway.yaml").write_text("retry: {attemps: 3}\n")

    done = run("doctor")

    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "retry.attemps" in done.stdout
