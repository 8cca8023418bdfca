"""Libraries with large tables, imported when a text first needs one, so that importing this folder costs little."""

from functools import lru_cache
from importlib import import_module
from typing import Any


@lru_cache(maxsize=64)
def stdnum(module: str) -> Any:
    """A module of python-stdnum by its name there, such as `es.nif`."""
    return import_module(f"stdnum.{module}")


@lru_cache(maxsize=1)
def phonenumbers() -> Any:
    """The port of libphonenumber to Python."""
    return import_module("phonenumbers")
