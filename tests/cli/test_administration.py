"""`consumers`, `keys` and `ledger`: straight on the database, with the usual exit codes."""

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_consumer_from_the_first_to_the_last_day(run: Run) -> None:
    """Added, changed, listed, disabled, enabled."""
    added = run("consumers", "add", "support", "--budget", "25", "--task-budget", "classify=1.50", "--task", "classify")
    twice = run("consumers", "add", "support")
    changed = run("consumers", "update", "support", "--requests-per-minute", "60", "--budget", "none")
    listed = run("consumers", "list")
    disabled = run("consumers", "disable", "support")
    state = run("consumers", "list")
    enabled = run("consumers", "enable", "support")

    assert [one.returncode for one in (added, changed, listed, disabled, enabled)] == [0] * 5
    assert (twice.returncode, twice.stderr.count("\n")) == (2, 1)
    assert "classify: 0 of 1.5 USD a month" in listed.stdout
    assert "25" not in listed.stdout
    assert "60 requests" in listed.stdout
    assert "disabled" in state.stdout


def test_a_key_from_the_first_to_the_last_day(run: Run) -> None:
    """The key alone stands on standard output, once; lists show its start only."""
    run("consumers", "add", "support")
    made = run("keys", "create", "--consumer", "support", "--expires", "90d")
    listed = run("keys", "list")
    key_id = listed.stdout.splitlines()[2].split()[0]
    rotated = run("keys", "rotate", key_id, "--grace", "24h")
    revoked = run("keys", "revoke", key_id)
    ended = run("keys", "list")

    assert made.stdout.startswith("fg_")
    assert len(made.stdout.split()) == 1
    assert made.stdout.strip() not in made.stderr + listed.stdout
    assert rotated.stdout.startswith("fg_")
    assert rotated.stdout != made.stdout
    assert (revoked.returncode, "revoked" in ended.stdout) == (0, True)


def test_the_ledger_is_shown_and_corrected(run: Run) -> None:
    """A call that is not there is wrong usage."""
    shown = run("ledger", "list")
    corrected = run("ledger", "correct", "01M87V85ER8NY5AV504BCKWY4G", "--cost-usd", "1", "--reason", "wrong price")

    assert (shown.returncode, shown.stdout) == (0, "No charges.\n")
    assert corrected.returncode == 2
    assert corrected.stderr == "feedback-gateway: there is no call 01M87V85ER8NY5AV504BCKWY4G in the log\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create"), "name whose key it is"),
        (("keys", "create", "--consumer", "nobody"), "there is no consumer 'nobody'"),
        (("keys", "create", "--admin", "--expires", "soon"), "--expires soon"),
        (("keys", "create", "--admin", "--expires", "2020-01-01"), "lies in the past"),
        (("keys", "rotate", "x"), "there is no key 'x'"),
        (("keys", "revoke", "x"), "there is no key 'x'"),
        (("consumers", "add", "a", "--budget", "much"), "limit_usd"),
        (("consumers", "add", "a", "--budget", "-1"), "limit_usd"),
        (("consumers", "disable", "nobody"), "there is no consumer 'nobody'"),
        (("ledger", "correct", "x", "--cost-usd", "much", "--reason", "y"), "cost_usd"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """With exit 2, and what is wrong in it."""
    done = run(*arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
