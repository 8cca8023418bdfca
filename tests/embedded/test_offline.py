"""The embedded model tells nobody anything, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feedback_gateway.embedded.embedders import use_path

ASK = """
from feedback_gateway.embedded.student import Student
student = Student.load()
print(student.embedder.name, student.answer("sentiment", {"text": "I love it."}, None).value["label"])
"""


@pytest.mark.skipif(not use_path().is_file(), reason="the embedder's file is not here; `make setup` fetches it")
def test_the_embedder_s_runtime_sends_and_stores_no_telemetry(tmp_path: Path) -> None:
    """It would begin at its import with a file about the machine, unless a variable `CI` says that nobody is there."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == "use positive\n"
    assert list(tmp_path.rglob("*")) == []
