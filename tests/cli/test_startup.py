"""The command line starts fast, and says what it can do."""

import subprocess
import sys
from collections.abc import Callable

import pytest

HEAVY = (
    "litellm",
    "numpy",
    "sqlalchemy",
    "fastapi",
    "onnxruntime",
    "pydantic",
    "uvicorn",
    "jinja2",
    "rich",
    "prometheus_client",
    "opentelemetry",
)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_help_imports_nothing_heavy() -> None:
    """What a command needs is imported when it runs."""
    code = (
        "import sys\n"
        "from feedback_gateway.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_no_command_shows_what_there_is(run: Run) -> None:
    """The help as it is, not squeezed into one line."""
    bare, asked = run(), run("--help")

    assert (bare.returncode, bare.stdout) == (2, "")
    assert bare.stderr == asked.stdout


def test_help_names_the_commands(run: Run) -> None:
    """All that there are."""
    done = run("--help")

    assert done.returncode == 0
    for command in ("serve", "worker", "demo", "classify", "prompts", "usage", "doctor"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clasify"], "No such command 'clasify'. Did you mean 'classify'? There are: serve, worker, demo, classify, "),
        (["keys", "crate"], "No such command 'crate'. Did you mean 'create', 'rotate'? There are: create, list, "),
        (["classify", "--ouput", "x"], "No such option: --ouput. Did you mean --output? There are: --task, --format, "),
        (["serve", "--quiet"], "No such option: --quiet. There are: --host, --port, --workers, --config, --help"),
    ],
)
def test_what_there_is_not_is_wrong_usage(run: Run, words: list[str], said: str) -> None:
    """One line with what was probably meant and all that there is, exit 2."""
    done = run(*words)

    assert done.returncode == 2
    assert done.stderr.startswith(f"feedback-gateway: {said}")
    assert done.stderr.count("\n") == 1


def test_the_version_is_shown(run: Run) -> None:
    """For bug reports."""
    assert run("--version").stdout.startswith("feedback-gateway 0.")
