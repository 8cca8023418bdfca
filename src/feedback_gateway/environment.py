"""What libraries read in the environment, and nowhere else: the one place that writes it. No setting is read here."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


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
    In memory where that can be: a disk that is full ends whoever writes to a mapped file of it.
    """
    if processes == 1:
        yield
        return
    memory = Path("/dev/shm")  # noqa: S108 the folder made in it is this process's own
    parent = memory if os.access(memory, os.W_OK) else None
    owner, directory = os.getpid(), tempfile.mkdtemp(prefix="feedback-gateway-metrics-", dir=parent)
    os.environ[METRICS_DIRECTORY] = directory
    try:
        yield
    finally:
        if os.getpid() == owner:  # and not a child that was forked within
            shutil.rmtree(directory, ignore_errors=True)
            del os.environ[METRICS_DIRECTORY]


def prepare_litellm_environment() -> None:
    """Set, before litellm is imported, what keeps it from reading `.env` files and from the network.

    It reads these three nowhere else.
    """
    os.environ.update(LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_OFFLINE_MODE="true")
