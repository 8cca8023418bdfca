"""What libraries read in the environment, and nowhere else: the one place that writes it. No setting is read here."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
METRICS_NAME = "feedback-gateway-metrics-"


def metrics_directory() -> Path | None:
    """Where the processes of this server count together, None where there is one alone."""
    named = os.environ.get(METRICS_DIRECTORY)
    if not named:
        return None
    directory = Path(named)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def shared_metrics(processes: int) -> Iterator[None]:
    """Within, this process and its children count together, if there are several: in a directory that goes at the end.

    To be entered before Prometheus's library is imported, which reads the directory's name from the environment.
    In memory where that can be: a disk that is full ends whoever writes to a mapped file of it. What a server that was
    killed has left there goes now.
    """
    memory = Path("/dev/shm")  # noqa: S108 the folder made in it is this process's own
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    remove_abandoned(parent)
    if processes == 1:
        yield
        return
    owner, (directory, lock) = os.getpid(), locked_directory(parent)
    os.environ[METRICS_DIRECTORY] = str(directory)
    try:
        yield
    finally:
        if os.getpid() == owner:  # and not a child that was forked within
            shutil.rmtree(directory, ignore_errors=True)
            os.environ.pop(METRICS_DIRECTORY, None)
        os.close(lock)


def locked_directory(parent: Path) -> tuple[Path, int]:
    """A new directory, and the lock on it, which the kernel lets go when this process and all its forks have ended."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=f"{METRICS_NAME}{os.getpid()}-", dir=parent))
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if directory.exists():
            return directory, lock
        os.close(lock)  # somebody took it for abandoned before it was locked


def remove_abandoned(parent: Path) -> None:
    """Remove the directories in `parent` that nobody living has locked; others' are not ours to remove."""
    for directory in parent.glob(f"{METRICS_NAME}[0-9]*-*"):
        with suppress(OSError):
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)


def prepare_litellm_environment() -> None:
    """Set, before litellm is imported, what keeps it from reading `.env` files and from the network.

    It reads these three nowhere else.
    """
    os.environ.update(LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_OFFLINE_MODE="true")
