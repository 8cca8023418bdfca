"""An output is replaced as a whole or not at all."""

from pathlib import Path

import pytest

from feedback_gateway.cli.redoing import replacing
from feedback_gateway.cli.resume import open_output
from feedback_gateway.errors import ConfigurationError


def test_an_output_is_as_it_was_where_its_replacement_fails(tmp_path: Path) -> None:
    """Nothing of the attempt stays."""
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")

    def fail() -> None:
        with replacing(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert path.read_text() == "precious\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_output_keeps_its_link_and_its_lock(tmp_path: Path) -> None:
    """Whoever comes meanwhile is refused as before."""
    path, link = tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    path.write_text("old\n")
    link.symlink_to(path)

    with replacing(link) as stream:
        stream.write(b"new\n")
        stream.flush()

    with pytest.raises(ConfigurationError, match="another run writes to it"):
        open_output(path, on_existing="resume")
    stream.close()
    assert link.is_symlink()
    assert path.read_text() == "new\n"
